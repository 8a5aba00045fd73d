//! What a store and its threads share.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use redb::Durability;
use store_core::backend::{GroupCommit, Operation};
use store_core::{Clock, Error, Limits, Loaded, OwnedRecord, Record};

use super::engine::{Engine, TransactionError};
use super::flusher::FlushState;
use super::format::{Instant, to_instant};
use super::open_tables::OpenTables;
use super::read;
use super::tables::Tables;
use super::write::{Write, WriteResult};

/// What a store and its threads share. The threads hold this and never the store.
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) tables: Tables,
    pub(super) limits: Limits,
    pub(super) clock: Arc<dyn Clock>,
    /// How long a write waits for those of other threads.
    pub(super) contention_timeout: Duration,
    /// How much the cleanup removes in one transaction.
    pub(super) batch_size: usize,
    /// Who makes commits durable.
    pub(super) flush_state: Arc<FlushState>,
    /// redb has one writer at a time. All writes of the store, the cleanup's among them, queue here
    /// and share transactions.
    pub(super) group_commit: GroupCommit<Write<'static>, WriteResult>,
}

/// Why the transaction of several writes failed.
struct TransactionFailed {
    error: Error,
    /// The write that is the cause, if nothing was changed and the others may succeed without it.
    of_one: Option<usize>,
}

impl Shared {
    /// The time, as the tables have it.
    pub(super) fn now(&self) -> Instant {
        to_instant(self.clock.now())
    }

    pub(super) fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        self.engine.read(|snapshot| {
            // The time is from after the wait for a database that is compacted or opened again.
            let (token, now) = (token.as_bytes(), self.now());
            read::find_live(&self.tables, snapshot, token, now, |_, data| data.to_vec())
        })
    }

    /// On one snapshot: a rotation between two would show the token neither live nor rotated.
    pub(super) fn load(&self, token: &str) -> Result<Loaded, Error> {
        self.engine
            .read(|snapshot| read::load(&self.tables, snapshot, token.as_bytes(), self.now()))
    }

    pub(super) fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        self.engine
            .read(|snapshot| read::find_by_subject(&self.tables, snapshot, subject, self.now()))
    }

    pub(super) fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        self.engine
            .read(|snapshot| read::subject_of(&self.tables, snapshot, token.as_bytes(), self.now()))
    }

    pub(super) fn count(&self) -> Result<u64, Error> {
        self.engine.read(|snapshot| read::count(&self.tables, snapshot, self.now()))
    }

    /// On one snapshot, because tokens are the only order that the table has: a walk page by page
    /// would miss a session that is rotated to a token behind it, and meet one twice that is
    /// rotated ahead.
    pub(super) fn for_each(
        &self,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        // Once, and before the snapshot: a session that is given a later expiry while the walk goes
        // on is live all the time, though the snapshot has its earlier expiry.
        let now = self.now();
        let snapshot = self.engine.snapshot()?;
        read::for_each(&self.tables, &snapshot, now, visit)
    }

    /// Does an operation, and returns how many sessions it changed.
    pub(super) fn execute(&self, operation: Operation<'_>) -> Result<u64, Error> {
        self.write(&Write::Operation(operation)).map(|done| done.sessions)
    }

    /// Makes durable what was committed without waiting for the disk, and what is being committed:
    /// it waits for a transaction that is in progress.
    pub(super) fn flush(&self) -> Result<(), Error> {
        self.write(&Write::Flush).map(drop)
    }

    pub(super) fn compact(&self) -> Result<bool, Error> {
        self.engine.compact()
    }

    /// Executes a write, in one transaction with those of concurrent threads.
    pub(super) fn write(&self, write: &Write<'_>) -> WriteResult {
        // Another process has none of the threads that it may have to wait for.
        self.engine.open.owner().check()?;
        let (queue, timeout) = (&self.group_commit, self.contention_timeout);
        let run_one = || self.write_one(write);
        let to_job = || write.to_static();
        let run_batch = |writes: Vec<_>| self.write_batch(&writes);
        let result = if write.is_background() {
            queue.submit_background(timeout, run_one, to_job, run_batch)
        } else {
            queue.submit(timeout, run_one, to_job, run_batch)
        };
        result.unwrap_or_else(|error| Err(error.into()))
    }

    fn write_one(&self, write: &Write<'_>) -> WriteResult {
        self.transact(&[write])
            .map_err(|failed| failed.error)?
            .pop()
            .expect("each write has one result")
    }

    /// Executes the writes in one transaction. If one of them fails, the error is its own, and the
    /// others are executed again without it: what failed before the commit is rolled back in
    /// memory, and the disk is waited for once.
    pub(super) fn write_batch(&self, writes: &[Write<'static>]) -> Vec<WriteResult> {
        let mut left: Vec<_> = writes.iter().enumerate().collect();
        let mut results: Vec<_> = writes.iter().map(|_| None).collect();
        while !left.is_empty() {
            let writes: Vec<_> = left.iter().map(|(_, write)| *write).collect();
            match self.transact(&writes) {
                Ok(done) => {
                    for ((index, _), result) in left.drain(..).zip(done) {
                        results[index] = Some(result);
                    }
                }
                Err(TransactionFailed { error, of_one: Some(one) }) => {
                    let (index, _) = left.remove(one);
                    results[index] = Some(Err(error));
                }
                Err(TransactionFailed { error, of_one: None }) => {
                    for (index, _) in left.drain(..) {
                        results[index] = Some(Err(error.clone()));
                    }
                }
            }
        }
        results.into_iter().map(|result| result.expect("none is left")).collect()
    }

    /// Executes the writes in one transaction.
    fn transact(&self, writes: &[&Write<'_>]) -> Result<Vec<WriteResult>, TransactionFailed> {
        // The write that is being executed.
        let current = Cell::new(None);
        let outcome = self.engine.write(|transaction| {
            current.set(None);
            // The time is from after the wait for the write transaction. An earlier one could take
            // a session for live that has expired during the wait.
            let now = self.now();
            let mut tables = OpenTables::new(&self.tables, transaction)?;
            let results = writes.iter().enumerate().map(|(index, write)| {
                current.set(Some(index));
                write.execute(&mut tables, now)
            });
            let results = results.collect::<Result<_, _>>()?;
            current.set(None);
            let must_be_durable =
                writes.iter().any(|write| write.must_be_durable()) || tables.has_shortened;
            drop(tables);
            if !must_be_durable && self.flush_state.defer() {
                transaction
                    .set_durability(Durability::None)
                    .expect("only savepoints forbid it, and the store makes none");
            }
            Ok(results)
        });
        outcome.map_err(|TransactionError { error, may_be_of_one }| TransactionFailed {
            error,
            of_one: current.get().filter(|_| may_be_of_one),
        })
    }
}

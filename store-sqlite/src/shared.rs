//! What a store and its cleanup thread share: the database, and the queue of writers.

use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Result as SqliteResult, Transaction, TransactionBehavior};
use store_core::backend::{Batch, GroupCommit, Operation};
use store_core::{Clock, Error, Limits};

use crate::batch_sizer::{BatchSizer, BatchTiming};
use crate::database::Database;
use crate::julian;
use crate::tables::Tables;
use crate::write::{BatchSize, Write, WriteResult};

/// The cleanup thread holds this and never the store.
pub(crate) struct Shared {
    pub(crate) database: Database,
    pub(crate) limits: Limits,
    clock: Arc<dyn Clock>,
    batch_size: i64,
    batch_sizer: BatchSizer,
    /// SQLite has one writer at a time, and lets the others poll for its lock, which starves some
    /// of them under load. The writers of a store, cleanup runs among them, queue and share
    /// transactions.
    queue: GroupCommit<Write<'static>, WriteResult>,
}

impl Shared {
    /// `batch_size` is the most that a batch of a cleanup run removes.
    pub(crate) fn new(
        database: Database,
        limits: Limits,
        clock: Arc<dyn Clock>,
        batch_size: usize,
    ) -> Self {
        let batch_size = i64::try_from(batch_size).unwrap_or(i64::MAX);
        let batch_sizer = BatchSizer::new(batch_size);
        Self {
            database,
            limits,
            clock,
            batch_size,
            batch_sizer,
            queue: GroupCommit::new(Write::bytes),
        }
    }

    /// Runs a statement that reads, with the time.
    pub(crate) fn read<T>(
        &self,
        operation: impl Fn(&Tables, &Connection, f64) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        let now = self.now();
        self.database.read(|connection| operation(&self.database.tables, connection, now))
    }

    /// Does an operation whose values have been checked, together with those of other threads that
    /// come at the same time. Returns how many sessions it changed.
    pub(crate) fn write(&self, operation: Operation<'_>) -> Result<u64, Error> {
        let write = Write::Operation(operation);
        self.queue
            .submit(
                self.database.contention_timeout(),
                || self.write_one(&write),
                || write.to_static(),
                |writes| self.write_batch(&writes),
            )?
            .map(|done| done.sessions)
    }

    /// Removes one batch of what has expired.
    pub(crate) fn remove_batch(&self) -> Result<Batch, Error> {
        let size = BatchSize { rows: self.batch_sizer.rows(), searched: self.batch_size };
        let write = Write::RemoveExpired(size);
        let done = self.queue.submit_background(
            self.database.contention_timeout(),
            || self.write_one(&write),
            || write.to_static(),
            |writes| self.write_batch(&writes),
        )??;
        let has_more = done.removal.is_some_and(|removal| removal.has_more);
        Ok(Batch { removed: done.sessions, has_more })
    }

    fn write_one(&self, write: &Write<'_>) -> WriteResult {
        let tables = &self.database.tables;
        if write.is_single_statement(tables) {
            let execute = |connection: &_| write.execute(tables, connection, self.now());
            return self.database.write(execute)?;
        }
        let (mut results, commit) = self.transact(slice::from_ref(write))?;
        self.record_removals(&results, commit, self.queue.has_waiting());
        results.pop().expect("each write has one result")
    }

    /// Does the writes in one transaction. If one of them fails, each is tried in a transaction of
    /// its own, so that each has its own error, and none fails because of another. If the database
    /// was locked, all of them have waited for it.
    fn write_batch(&self, writes: &[Write<'static>]) -> Vec<WriteResult> {
        match self.transact(writes) {
            Ok((results, commit)) => {
                // Even if it is one write: it has queued behind another thread's.
                self.record_removals(&results, commit, true);
                results
            }
            Err(error) if error.is_retryable() => {
                writes.iter().map(|_| Err(error.clone())).collect()
            }
            Err(_) => writes.iter().map(|write| self.write_one(write)).collect(),
        }
    }

    /// Does the writes in one transaction, with the time at which it has the database for itself. A
    /// time from before the wait for that could take a session for live that has expired since.
    ///
    /// Returns how long the commit took as well.
    fn transact(&self, writes: &[Write<'_>]) -> Result<(Vec<WriteResult>, Duration), Error> {
        self.database.write(|connection| {
            let transaction =
                Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let now = self.now();
            let execute = |write: &Write<'_>| write.execute(&self.database.tables, connection, now);
            let results = writes.iter().map(execute).collect::<SqliteResult<_>>()?;
            let started = Instant::now();
            transaction.commit()?;
            Ok((results, started.elapsed()))
        })
    }

    /// Adapts the next batch of a cleanup run to how long those in a transaction took.
    fn record_removals(&self, results: &[WriteResult], commit: Duration, is_contended: bool) {
        for removal in results.iter().flatten().filter_map(|done| done.removal) {
            if removal.is_full {
                let removal = removal.duration;
                self.batch_sizer.record(BatchTiming { removal, commit, is_contended });
            }
        }
    }

    fn now(&self) -> f64 {
        julian::from_instant(self.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::error::Error as StdError;
    use std::num::NonZeroU32;
    use std::sync::Barrier;
    use std::thread;

    use chrono::{TimeDelta, Utc};
    use store_core::{Change, CleanupOptions, Loaded, Rotation, Store};

    use super::*;
    use crate::SqliteOptions;

    #[test]
    fn readers_go_on_while_a_writer_waits_for_another_process() -> Result<(), Box<dyn StdError>> {
        const READERS: usize = 4;
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("app.db");
        // One slot for readers, and two connections in the pool.
        let store = SqliteOptions::new()
            .with_max_connections(NonZeroU32::MIN.saturating_add(2))
            .with_checkout_timeout(Duration::from_secs(10))
            .with_contention_timeout(Duration::from_secs(60))
            .with_cleanup(CleanupOptions::disabled())
            .open(&path)?;
        let in_an_hour = Utc::now() + TimeDelta::hours(1);
        store.commit("token", b"data", in_an_hour)?;
        let mut other = Connection::open(&path)?;
        let transaction = other.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let start = Barrier::new(READERS);
        thread::scope(|scope| {
            let writer = scope.spawn(|| store.commit("token", b"new", in_an_hour));
            while store.shared.database.pool.state().idle_connections > 0 {
                thread::yield_now();
            }
            let readers: Vec<_> = (0..READERS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        (0..500).try_for_each(|_| {
                            let found = store.find("token")?;
                            assert_eq!(found.as_deref(), Some(&b"data"[..]));
                            Ok::<_, Error>(())
                        })
                    })
                })
                .collect();
            for reader in readers {
                reader.join().expect("no panic")?;
            }
            transaction.commit()?;
            writer.join().expect("no panic")?;
            assert_eq!(store.find("token")?.as_deref(), Some(&b"new"[..]));
            Ok(())
        })
    }

    #[test]
    fn refused_operations_spoil_no_transaction_that_they_share() -> Result<(), Error> {
        let in_an_hour = Utc::now() + TimeDelta::hours(1);
        let store = SqliteOptions::new().with_cleanup(CleanupOptions::disabled()).in_memory()?;
        for token in ["taken", "other", "first", "second", "third"] {
            store.create(token, b"data", in_an_hour, Some(token))?;
        }
        let update = |token: &'static str, change: Change<'static>| {
            let (token, current, change) = (token.into(), b"data".into(), Cow::Owned(change));
            Write::Operation(Operation::Update { token, current, change })
        };
        let login = |new_token: &'static str| {
            Change::new(b"new", in_an_hour)
                .with_rotation(Rotation::new(new_token))
                .with_subject(Some("user"))
        };
        let results = store.shared.write_batch(&[
            update("first", login("taken").absorbing("other", b"data")),
            update("first", login("new").absorbing("other", b"stale")),
            update("first", login("new").absorbing("first", b"data")),
            update("first", login("other").absorbing("other", b"data")),
            Write::Operation(Operation::Create {
                token: "taken".into(),
                data: b"new".into(),
                expiry: in_an_hour,
                subject: None,
            }),
            update("second", login("second-new")),
            update("second", login("late")),
            Write::Operation(Operation::Delete { token: "second".into() }),
            update("third", login("third-new").absorbing("taken", b"data")),
        ]);
        let sessions: Vec<_> =
            results.iter().map(|result| result.as_ref().map(|done| done.sessions)).collect();
        assert!(
            matches!(
                sessions[..],
                [
                    Err(Error::TokenTaken),
                    Ok(0),
                    Ok(0),
                    Err(Error::TokenTaken),
                    Err(Error::TokenTaken),
                    Ok(1),
                    Ok(0),
                    Ok(1),
                    Ok(1)
                ]
            ),
            "{sessions:?}"
        );
        for token in ["first", "other"] {
            let of_token = store.find_by_subject(token)?;
            assert_eq!((&*of_token[0].token, &*of_token[0].data), (token, &b"data"[..]));
        }
        assert_eq!(store.find_by_subject("user")?[0].token, "third-new");
        assert_eq!(store.count()?, 3);
        assert_eq!(store.load("second")?, Loaded::Missing);
        assert!(matches!(store.load("third")?, Loaded::Rotated { .. }));
        Ok(())
    }
}

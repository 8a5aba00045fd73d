//! What a store and its cleanup thread share: the database, and the queue of writers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Result as SqliteResult, Transaction, TransactionBehavior};
use store_core::backend::{GroupCommit, Operation};
use store_core::{Clock, Error, Limits};

use crate::batch_sizer::{BatchSizer, BatchTiming};
use crate::database::Database;
use crate::retry::Deadline;
use crate::tables::Tables;
use crate::write::{Write, WriteResult};
use crate::{error, julian};

/// A write of another thread, and how long it may wait.
struct Queued {
    write: Write<'static>,
    deadline: Deadline,
}

/// The cleanup thread holds this and never the store.
pub(crate) struct Shared {
    pub(crate) database: Database,
    pub(crate) limits: Limits,
    clock: Arc<dyn Clock>,
    pub(crate) batch_size: i64,
    pub(crate) batch_sizer: BatchSizer,
    /// SQLite has one writer at a time, and lets the others poll for its lock, which starves some
    /// of them under load. The writers of a store, cleanup runs among them, queue and share
    /// transactions.
    queue: GroupCommit<Queued, WriteResult>,
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
            queue: GroupCommit::new(|queued: &Queued| queued.write.bytes()),
        }
    }

    /// Runs a statement that reads, with the time.
    pub(crate) fn read<T>(
        &self,
        operation: impl Fn(&Tables, &Connection, f64) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        self.database.open.owner().check()?;
        let now = self.now();
        self.database.read(|connection| operation(&self.database.tables, connection, now))
    }

    /// Does an operation whose values have been checked, together with those of other threads that
    /// come at the same time. Returns how many sessions it changed.
    pub(crate) fn write(&self, operation: Operation<'_>) -> Result<u64, Error> {
        // Before the queue, whose locks other threads of the parent may have held.
        self.database.open.owner().check()?;
        let write = Write::Operation(operation);
        self.batch_sizer.count_write();
        self.submit(&write, false, self.deadline()).map(|done| done.rows)
    }

    /// When a write that begins now has waited for the contention timeout.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.database.contention_timeout())
    }

    /// Does a write, alone or together with those of other threads.
    pub(crate) fn submit(
        &self,
        write: &Write<'_>,
        is_background: bool,
        deadline: Deadline,
    ) -> WriteResult {
        loop {
            let run_one = || self.write_one(write, deadline);
            let to_job = || Queued { write: write.to_static(), deadline };
            let run_batch = |queued| self.write_queued(queued, deadline);
            let timeout = deadline.left();
            let result = if is_background {
                self.queue.submit_background(timeout, run_one, to_job, run_batch)
            } else {
                self.queue.submit(timeout, run_one, to_job, run_batch)
            };
            match result? {
                // A transaction waits for other processes until the first of its writes has no time
                // left. The others go on waiting, unless they have hardly any: otherwise each of
                // many that came at nearly the same time would end a transaction of all others.
                Err(Error::Contended { .. })
                    if deadline.left() > self.database.contention_timeout() / 10 => {}
                result => return result,
            }
        }
    }

    /// Does writes of other threads, and maybe of this one, none of which waits for longer than it
    /// may, nor keeps this thread for longer.
    fn write_queued(&self, queued: Vec<Queued>, deadline: Deadline) -> Vec<WriteResult> {
        let deadline =
            queued.iter().fold(deadline, |deadline, queued| deadline.earlier(queued.deadline));
        let writes: Vec<_> = queued.into_iter().map(|queued| queued.write).collect();
        self.write_batch(&writes, deadline)
    }

    fn write_one(&self, write: &Write<'_>, deadline: Deadline) -> WriteResult {
        let tables = &self.database.tables;
        if write.may_be_single_statement(tables) {
            let execute =
                |connection: &_| write.execute_single_statement(tables, connection, self.now());
            if let Some(result) = self.database.write(deadline, execute)? {
                return result;
            }
        }
        match self.transact(&[write], Isolation::None, deadline)? {
            Transacted::Committed { mut results, commit } => {
                self.record_removals(&results, commit, self.queue.has_waiting());
                results.pop().expect("each write has one result")
            }
            Transacted::Failed { error, .. } | Transacted::NotCommitted { error, .. } => Err(error),
        }
    }

    /// Does the writes in one transaction. One that fails, because a trigger refuses it for
    /// example, is rolled back alone: its error is its own, and the others are committed together.
    fn write_batch(&self, writes: &[Write<'static>], deadline: Deadline) -> Vec<WriteResult> {
        self.write_together(&writes.iter().collect::<Vec<_>>(), Isolation::None, deadline)
    }

    fn write_together(
        &self,
        writes: &[&Write<'static>],
        isolation: Isolation,
        deadline: Deadline,
    ) -> Vec<WriteResult> {
        match self.transact(writes, isolation, deadline) {
            Ok(Transacted::Committed { results, commit }) => {
                // Even if it is one write: it has queued behind another thread's.
                self.record_removals(&results, commit, true);
                results
            }
            // Nothing is written. A second attempt isolates what fails. So only groups in which
            // something does pay for savepoints, and with time alone: what is rolled back
            // doesn't wait for the disk.
            Ok(Transacted::Failed { .. }) if isolation == Isolation::None && writes.len() > 1 => {
                self.write_together(writes, Isolation::Savepoints, deadline)
            }
            // It has ended the transaction, as `RAISE(ROLLBACK)` and I/O errors do.
            Ok(Transacted::Failed { index, error }) => {
                let mut others = writes.to_vec();
                others.remove(index);
                let mut results = self.write_together(&others, isolation, deadline);
                results.insert(index, Err(error));
                results
            }
            // A deferred constraint, or a write that the disk has no room for. SQLite doesn't say
            // which write it is, so the halves are tried; a few transactions find it.
            Ok(Transacted::NotCommitted { may_be_of_one: true, .. }) if writes.len() > 1 => {
                let (first, second) = writes.split_at(writes.len() / 2);
                let mut results = self.write_together(first, isolation, deadline);
                results.extend(self.write_together(second, isolation, deadline));
                results
            }
            // Nothing is written, and each write is as much to blame.
            Ok(Transacted::NotCommitted { error, .. }) | Err(error) => {
                writes.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }

    /// Does the writes in one transaction, with the time at which it has the database for itself. A
    /// time from before the wait for that could take a session for live that has expired since.
    fn transact(
        &self,
        writes: &[&Write<'_>],
        isolation: Isolation,
        deadline: Deadline,
    ) -> Result<Transacted, Error> {
        let tables = &self.database.tables;
        self.database.write(deadline, |connection| {
            let explain = |error| tables.explain(error, connection);
            let transaction =
                Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let now = self.now();
            let mut results = Vec::with_capacity(writes.len());
            for (index, write) in writes.iter().enumerate() {
                isolation.begin(connection)?;
                match write.execute(tables, connection, now) {
                    Ok(result) => {
                        isolation.keep(connection)?;
                        results.push(result);
                    }
                    // The whole transaction is repeated.
                    Err(error) if error::is_contention(&error) => return Err(error),
                    Err(error) => {
                        let can_go_on =
                            isolation == Isolation::Savepoints && !connection.is_autocommit();
                        if !can_go_on {
                            return Ok(Transacted::Failed { index, error: explain(error) });
                        }
                        isolation.undo(connection)?;
                        results.push(Err(explain(error)));
                    }
                }
            }
            let started = Instant::now();
            match transaction.commit() {
                Ok(()) => Ok(Transacted::Committed { results, commit: started.elapsed() }),
                Err(error) if error::is_contention(&error) => Err(error),
                Err(error) => {
                    let may_be_of_one = error::may_be_of_one_write(&error);
                    Ok(Transacted::NotCommitted { error: explain(error), may_be_of_one })
                }
            }
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

    /// The clock that decides what is live.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn now(&self) -> f64 {
        julian::from_instant(self.clock.now())
    }
}

/// What became of a transaction. Unless it was committed, nothing is written.
enum Transacted {
    Committed {
        results: Vec<WriteResult>,
        commit: Duration,
    },
    /// A write has failed.
    Failed {
        index: usize,
        error: Error,
    },
    /// The writes succeeded, and the commit failed.
    NotCommitted {
        error: Error,
        /// Whether one of the writes may be the reason, so that the others succeed without it.
        may_be_of_one: bool,
    },
}

/// Whether a write that fails is rolled back without those that share its transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Isolation {
    /// It ends the transaction.
    None,
    /// Each write has a savepoint, unlike in SQLite's own rollback of a statement also if it has
    /// several statements, or a trigger leaves a statement half done by `RAISE(FAIL)`.
    Savepoints,
}

impl Isolation {
    fn begin(self, connection: &Connection) -> SqliteResult<()> {
        self.run(connection, "SAVEPOINT session_write")
    }

    fn keep(self, connection: &Connection) -> SqliteResult<()> {
        self.run(connection, "RELEASE session_write")
    }

    fn undo(self, connection: &Connection) -> SqliteResult<()> {
        self.run(connection, "ROLLBACK TO session_write; RELEASE session_write")
    }

    fn run(self, connection: &Connection, sql: &str) -> SqliteResult<()> {
        match self {
            Self::None => Ok(()),
            Self::Savepoints => connection.execute_batch(sql),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::error::Error as StdError;
    use std::num::NonZeroU32;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Barrier, mpsc};
    use std::thread;

    use chrono::{TimeDelta, Utc};
    use r2d2::Pool;
    use r2d2_sqlite::SqliteConnectionManager;
    use store_core::{Change, CleanupOptions, Loaded, Rotation, Store};
    use tempfile::TempDir;

    use super::*;
    use crate::cleanup::CleanupRun;
    use crate::{SqliteOptions, SqliteStore};

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
            while store.shared.database.connections.pool.state().idle_connections > 0 {
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
        let writes = [
            update("first", login("taken").absorbing("other", b"data")),
            update("first", login("new").absorbing("other", b"stale")),
            update("first", login("new").absorbing("first", b"data")),
            update("first", login("other").absorbing("other", b"data")),
            Write::Operation(Operation::Create {
                token: "taken".into(),
                change: Cow::Owned(Change::new(b"new", in_an_hour)),
            }),
            update("second", login("second-new")),
            update("second", login("late")),
            Write::Operation(Operation::Delete { token: "second".into() }),
            update("third", login("third-new").absorbing("taken", b"data")),
        ];
        let results = store.shared.write_batch(&writes, store.shared.deadline());
        let sessions: Vec<_> =
            results.iter().map(|result| result.as_ref().map(|done| done.rows)).collect();
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

    /// A store on a file with an application's schema next to it, and how many transactions its
    /// connections have committed since.
    fn counted(schema: &str) -> Result<(TempDir, SqliteStore, Arc<AtomicU64>), Box<dyn StdError>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("app.db");
        let commits = Arc::new(AtomicU64::new(0));
        let manager = SqliteConnectionManager::file(&path).with_init({
            let commits = Arc::clone(&commits);
            move |connection| {
                connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA journal_mode = WAL")?;
                let commits = Arc::clone(&commits);
                connection.commit_hook(Some(move || {
                    commits.fetch_add(1, Ordering::Relaxed);
                    false
                }))
            }
        });
        let pool = Pool::builder().max_size(2).build(manager)?;
        SqliteStore::create_table(&pool)?;
        pool.get()?.execute_batch(schema)?;
        let store = SqliteOptions::new()
            .with_contention_timeout(Duration::from_secs(60))
            .with_cleanup(CleanupOptions::disabled())
            .build(pool)?;
        commits.store(0, Ordering::Relaxed);
        Ok((directory, store, commits))
    }

    fn commit_of(token: String) -> Write<'static> {
        let expiry = Utc::now() + TimeDelta::hours(1);
        Write::Operation(Operation::Commit { token: token.into(), data: b"data".into(), expiry })
    }

    #[test]
    fn writers_whose_group_has_refused_members_share_one_commit() -> Result<(), Box<dyn StdError>> {
        const WRITERS: usize = 16;
        for action in ["ABORT", "FAIL", "ROLLBACK"] {
            let (directory, store, commits) = counted(&format!(
                "CREATE TRIGGER refusal AFTER INSERT ON sessions WHEN new.token LIKE 'refused%'
                     BEGIN SELECT RAISE({action}, 'refused'); END"
            ))?;
            let mut other = Connection::open(directory.path().join("app.db"))?;
            let in_an_hour = Utc::now() + TimeDelta::hours(1);
            // Whoever comes first needs no transaction of several statements.
            let token =
                |n| if n % 4 == 1 { format!("refused-{n}") } else { format!("accepted-{n}") };
            let accepted = (0..WRITERS).map(token).filter(|token| token.starts_with("accepted"));
            for token in accepted.chain(["leader".to_owned()]) {
                store.commit(&token, b"", in_an_hour)?;
            }
            commits.store(0, Ordering::Relaxed);
            let transaction = other.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcomes: Vec<_> = thread::scope(|scope| {
                let store = &store;
                let leader = scope.spawn(move || store.commit("leader", b"data", in_an_hour));
                let writers: Vec<_> = (0..WRITERS)
                    .map(|n| {
                        let token = token(n);
                        scope.spawn(move || store.commit(&token, b"data", in_an_hour))
                    })
                    .collect();
                // One waits for the other connection, and the others for that one.
                while !format!("{:?}", store.shared.queue).contains(&format!("waiting: {WRITERS}"))
                {
                    thread::yield_now();
                }
                transaction.commit()?;
                let threads = std::iter::once(leader).chain(writers);
                Ok::<_, rusqlite::Error>(
                    threads.map(|thread| thread.join().expect("no panic")).collect(),
                )
            })?;
            let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
            let sessions = store.all()?;
            assert_eq!((refused, sessions.len()), (WRITERS / 4, 1 + WRITERS - WRITERS / 4));
            assert!(sessions.keys().all(|token| !token.starts_with("refused")), "{action}");
            // The first writer's own, and one for all others, unless the first was refused.
            assert!(commits.load(Ordering::Relaxed) <= 2, "{action}: {commits:?}");
        }
        Ok(())
    }

    #[test]
    fn refused_operation_of_several_statements_is_undone_alone() -> Result<(), Box<dyn StdError>> {
        for action in ["ABORT", "FAIL", "ROLLBACK"] {
            let (_directory, store, commits) = counted(&format!(
                "CREATE TRIGGER refusal AFTER INSERT ON sessions_subjects
                     WHEN new.subject = 'refused'
                     BEGIN SELECT RAISE({action}, 'refused'); END"
            ))?;
            let in_an_hour = Utc::now() + TimeDelta::hours(1);
            for token in ["first", "second"] {
                store.create(token, b"data", in_an_hour, Some("old"))?;
            }
            commits.store(0, Ordering::Relaxed);
            let login = |token: &'static str, new_token: &'static str, subject: &'static str| {
                let change = Change::new(b"new", in_an_hour)
                    .with_rotation(Rotation::new(new_token))
                    .with_subject(Some(subject));
                let (token, current, change) = (token.into(), b"data".into(), Cow::Owned(change));
                Write::Operation(Operation::Update { token, current, change })
            };
            let writes = [
                commit_of("before".to_owned()),
                login("first", "first-new", "refused"),
                login("second", "second-new", "accepted"),
            ];
            let results = store.shared.write_batch(&writes, store.shared.deadline());
            assert!(matches!(&results[..], [Ok(_), Err(Error::Backend { .. }), Ok(_)]), "{action}");
            assert_eq!(commits.load(Ordering::Relaxed), 1, "{action}");
            let mut tokens: Vec<_> = store.all()?.into_keys().collect();
            tokens.sort();
            assert_eq!(tokens, ["before", "first", "second-new"], "{action}");
            assert_eq!(store.find_by_subject("old")?[0].token, "first", "{action}");
            assert!(store.find_by_subject("refused")?.is_empty(), "{action}");
        }
        Ok(())
    }

    #[test]
    fn write_that_fails_at_the_commit_spoils_few_transactions() -> Result<(), Box<dyn StdError>> {
        let (_directory, store, commits) = counted(
            "CREATE TABLE carts (token TEXT REFERENCES sessions (token) DEFERRABLE INITIALLY DEFERRED)",
        )?;
        let in_an_hour = Utc::now() + TimeDelta::hours(1);
        store.commit("shopping", b"data", in_an_hour)?;
        store
            .shared
            .database
            .connections
            .pool
            .checkout()?
            .execute("INSERT INTO carts VALUES ('shopping')", [])?;
        commits.store(0, Ordering::Relaxed);
        let mut writes: Vec<_> = (0..63).map(|n| commit_of(format!("token-{n}"))).collect();
        writes.insert(41, Write::Operation(Operation::Delete { token: "shopping".into() }));
        let results = store.shared.write_batch(&writes, store.shared.deadline());
        for (n, result) in results.iter().enumerate() {
            assert_eq!(result.is_err(), n == 41, "{n}");
        }
        assert_eq!(store.count()?, 64);
        assert_eq!(commits.load(Ordering::Relaxed), 6, "one for each time that 64 is halved");
        Ok(())
    }

    /// A store that waits for a day, and another connection that has the database.
    fn locked() -> Result<(TempDir, SqliteStore, Connection), Box<dyn StdError>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("app.db");
        let store = SqliteOptions::new()
            .with_contention_timeout(Duration::from_secs(24 * 60 * 60))
            .with_cleanup(CleanupOptions::disabled())
            .open(&path)?;
        let other = Connection::open(&path)?;
        other.execute_batch("BEGIN IMMEDIATE")?;
        Ok((directory, store, other))
    }

    #[test]
    fn transaction_waits_no_longer_than_each_thread_that_shares_it() -> Result<(), Box<dyn StdError>>
    {
        let (_directory, store, _other) = locked()?;
        let (past, tomorrow) = (Deadline::after(Duration::ZERO), store.shared.deadline());
        for (leader, others) in [(past, [tomorrow, tomorrow]), (tomorrow, [tomorrow, past])] {
            let queued = |deadline| Queued { write: commit_of("token".to_owned()), deadline };
            let (shared, (sender, receiver)) = (Arc::clone(&store.shared), mpsc::channel());
            thread::spawn(move || {
                sender.send(shared.write_queued(others.map(queued).into(), leader))
            });
            // Only ends what hangs.
            let results = receiver.recv_timeout(Duration::from_secs(60))?;
            assert!(results.iter().all(|result| matches!(result, Err(Error::Contended { .. }))));
        }
        Ok(())
    }

    #[test]
    fn write_goes_on_waiting_after_one_that_shared_its_transaction_has_given_up()
    -> Result<(), Box<dyn StdError>> {
        let (_directory, store, other) = locked()?;
        let in_an_hour = Utc::now() + TimeDelta::hours(1);
        thread::scope(|scope| {
            let shared = &store.shared;
            let leader = scope.spawn(|| {
                let deadline = Deadline::after(Duration::from_millis(100));
                shared.submit(&commit_of("leader".to_owned()), false, deadline)
            });
            let writer = scope.spawn(|| store.commit("token", b"data", in_an_hour));
            while !leader.is_finished() {
                thread::yield_now();
            }
            let is_given_up =
                matches!(leader.join().expect("no panic"), Err(Error::Contended { .. }));
            other.execute_batch("COMMIT")?;
            writer.join().expect("no panic")?;
            assert!(is_given_up, "the database was locked");
            Ok(())
        })
    }

    #[test]
    fn cleanup_run_catches_up_with_writers_that_never_pause() -> Result<(), Error> {
        const WRITES: usize = 100;
        let store = SqliteOptions::new().with_cleanup(CleanupOptions::disabled()).in_memory()?;
        let an_hour_ago = Utc::now() - TimeDelta::hours(1);
        let mut tokens = 0_u64..;
        let mut write = |writes: usize| {
            tokens.by_ref().take(writes).try_for_each(|n| {
                let token = format!("token-{n}");
                store.create(&token, b"data", an_hour_ago, Some("user"))
            })
        };
        write(1_000)?;
        let mut run = CleanupRun::default();
        let first = store.shared.remove_batch(&mut run)?;
        let mut left = 1_000 - first.removed;
        let mut has_more = first.has_more;
        while has_more {
            // More than the first batch has removed.
            write(WRITES)?;
            left += WRITES as u64;
            let batch = store.shared.remove_batch(&mut run)?;
            assert!(batch.removed >= left.min(2 * WRITES as u64), "{batch:?} of {left}");
            left -= batch.removed;
            has_more = batch.has_more;
        }
        assert_eq!(left, 0);
        Ok(())
    }
}

//! The store.

mod options;

mod format;

mod rotations;

mod write;

mod engine;

mod file;

mod flusher;

mod error;

#[cfg(test)]
mod disk_faults;

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use redb::{Database, ReadableTable};
use store_core::backend::{
    BackgroundThread, Batch, CleanupThread, GroupCommit, Operation, delete_in_batches,
};
use store_core::{
    Change, CleanupOptions, CleanupStatistics, Clock, Error, Limits, Loaded, OwnedRecord, Record,
    Store,
};

use self::engine::{Engine, Failure, contain};
use self::format::{Opened, Tables, find_live, instant, split, text, to_utc};
use self::rotations::find_rotated;
use self::write::{Write, Written, tokens_of};

pub use self::options::{Durability, QlOptions};

/// A session store in one file, in pure Rust, on the embedded database redb.
///
/// # What it keeps, and where
/// Eight tables of redb in one file, here with their default names; `docs/ql.md` has them byte by byte.
///
/// | table | key | value |
/// |---|---|---|
/// | `sessions` | the token | the expiry in 12 bytes, the data |
/// | `sessions_expiry` | the expiry in 12 bytes, the token | nothing |
/// | `sessions_subject` | the token | the subject |
/// | `sessions_by_subject` | the subject's length in a byte, the subject, the token | nothing |
/// | `sessions_rotation` | an old token | the grace's beginning and end in 12 bytes each, whether it opens the session in a byte, the newest token |
/// | `sessions_rotated` | the newest token's length in 4 bytes, the newest token, an old token | nothing |
/// | `sessions_rotation_end` | the grace's end in 12 bytes, an old token | nothing |
/// | `sessions_meta` | `format` | 1, the version of this format |
///
/// Every `DateTime<Utc>` can be an expiry, and is kept exactly. The clock of the process decides what
/// is live; time zones play no part. A file of a newer format is refused.
///
/// # Concurrency
/// Any number of threads may use a store; readers never wait for writers. Writers that come at the
/// same time share a transaction, and one wait for the disk. One process at a time can have the file
/// open, and one store in it: a second one gets [`Error::InUse`].
///
/// A walk goes through a snapshot: it sees the sessions as they are when it begins. redb doesn't use
/// the pages of a snapshot again while it is read, so the file grows by what is written during a
/// walk.
///
/// # Faults
/// After a fault of the disk the store opens its file again by itself, at the next request. A write
/// that returned an error may be there then, or not, but always as a whole.
///
/// # Examples
/// ```
/// use chrono::{TimeDelta, Utc};
/// use store_ql_compat::{QlStore, Store};
///
/// # let directory = tempfile::tempdir().map_err(store_ql_compat::Error::backend)?;
/// # let path = directory.path().join("sessions.redb");
/// let store = QlStore::open(&path)?;
/// store.commit("token", b"data", Utc::now() + TimeDelta::hours(24))?;
/// drop(store);
///
/// let store = QlStore::open(&path)?;
/// assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
/// # Ok::<(), store_ql_compat::Error>(())
/// ```
#[doc(alias = "qlstore")]
#[doc(alias = "QLStore")]
pub struct QlStore {
    // In this order: the threads end before the database is closed.
    cleanup: CleanupThread,
    flusher: BackgroundThread,
    backend: Arc<Backend>,
}

impl QlStore {
    /// A store in a database that the application has opened and keeps other tables in, swept every
    /// five minutes. The store's tables are made where they are missing.
    ///
    /// While the application holds a write transaction of its own, the store's writers wait for it,
    /// without limit; a thread that holds one must not call the store.
    ///
    /// # Errors
    /// As for [`QlOptions::build`].
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use store_ql_compat::redb::Database;
    /// use store_ql_compat::{Error, QlStore};
    ///
    /// # let directory = tempfile::tempdir().map_err(Error::backend)?;
    /// # let path = directory.path().join("app.redb");
    /// let database = Arc::new(Database::create(path).map_err(Error::backend)?);
    /// let store = QlStore::new(Arc::clone(&database))?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "New")]
    pub fn new(database: Arc<Database>) -> Result<Self, Error> {
        QlOptions::new().build(database)
    }

    /// As [`new`](Self::new), swept after each `interval`; zero means never.
    ///
    /// # Errors
    /// As for [`QlOptions::build`].
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use store_ql_compat::redb::Database;
    /// use store_ql_compat::{Error, QlStore};
    ///
    /// # let directory = tempfile::tempdir().map_err(Error::backend)?;
    /// # let path = directory.path().join("app.redb");
    /// let database = Arc::new(Database::create(path).map_err(Error::backend)?);
    /// let store = QlStore::with_cleanup_interval(database, Duration::from_secs(60))?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "NewWithCleanupInterval")]
    pub fn with_cleanup_interval(
        database: Arc<Database>,
        interval: Duration,
    ) -> Result<Self, Error> {
        QlOptions::new().with_cleanup(CleanupOptions::new().with_interval(interval)).build(database)
    }

    /// Opens a database file, and makes it and the tables where they are missing; see [`QlOptions::open`].
    ///
    /// # Errors
    /// As for [`QlOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        QlOptions::new().open(path)
    }

    /// A database in memory, gone with the store: for tests.
    ///
    /// # Errors
    /// [`Error::SpawnThread`] if the operating system gives no thread.
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::{QlStore, Store};
    ///
    /// let store = QlStore::in_memory()?;
    /// store.commit("token", b"data", chrono::DateTime::<chrono::Utc>::MAX_UTC)?;
    /// assert!(store.find("token")?.is_some());
    /// # Ok::<(), store_ql_compat::Error>(())
    /// ```
    #[doc(alias = "ql-mem")]
    pub fn in_memory() -> Result<Self, Error> {
        QlOptions::new().in_memory()
    }

    pub(crate) fn with_options(
        engine: Engine,
        tables: Tables,
        options: QlOptions,
    ) -> Result<Self, Error> {
        let backend = Arc::new(Backend {
            engine,
            tables,
            limits: options.limits,
            clock: options.clock,
            contention_timeout: options.contention_timeout,
            batch_size: options.cleanup.batch_size().get(),
            is_flushed_later: Arc::default(),
            is_flush_due: AtomicBool::new(false),
            line: GroupCommit::new(),
        });
        let flusher = match options.durability {
            Durability::Full => BackgroundThread::inactive(),
            Durability::Relaxed(interval) => {
                let flush = {
                    let backend = Arc::clone(&backend);
                    move || backend.flush()
                };
                let is_running = &backend.is_flushed_later;
                flusher::start(interval, is_running, options.on_flush_failure, flush)?
            }
        };
        let cleanup = CleanupThread::start(options.cleanup, {
            let backend = Arc::clone(&backend);
            move || backend.remove_batch()
        })?;
        Ok(Self { cleanup, flusher, backend })
    }

    /// Moves what is in the file to its beginning, and cuts the rest off. It says whether anything was moved.
    ///
    /// Every other operation waits meanwhile. On a two-core machine it took 0.3 seconds for 10,000
    /// sessions of 256 bytes,
    /// 0.7 for 50,000 and 1.1 for 100,000, however long the file was before; so call it at a quiet moment, and with more
    /// than 300,000 sessions set a longer [contention timeout](QlOptions::with_contention_timeout),
    /// or requests get [`Error::Contended`] meanwhile. A process that is killed meanwhile loses
    /// nothing.
    ///
    /// It is seldom needed, and never called by the store itself: pages of deleted sessions are used
    /// again, so under a steady load the file doesn't grow. It returns what is left of a peak to the
    /// file system.
    ///
    /// # Errors
    /// [`Error::Contended`] while somebody walks through the sessions, or where readers and writers
    /// don't end within the [contention timeout](QlOptions::with_contention_timeout).
    /// [`Error::Backend`] in a database that the application shares: it can compact the file itself,
    /// with `redb::Database::compact`, while it has the only handle. Otherwise faults of the system.
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::{QlStore, Store};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_ql_compat::Error::backend)?;
    /// # let path = directory.path().join("sessions.redb");
    /// let store = QlStore::open(path)?;
    /// store.delete_expired()?;
    /// store.compact()?;
    /// # Ok::<(), store_ql_compat::Error>(())
    /// ```
    pub fn compact(&self) -> Result<bool, Error> {
        self.backend.engine.compact()
    }
}

impl fmt::Debug for QlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QlStore")
            .field("table", &self.backend.tables.name())
            .field("limits", &self.backend.limits)
            .field("database", &self.backend.engine)
            .field("cleanup", &self.cleanup)
            .field("flusher", &self.flusher)
            .finish_non_exhaustive()
    }
}

impl Store for QlStore {
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        self.backend.find(token)
    }

    fn load(&self, token: &str) -> Result<Loaded, Error> {
        self.backend.load(token)
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        self.backend.limits.check_token(token)?;
        self.backend.limits.check_data(data)?;
        let (token, data) = (token.into(), data.into());
        self.backend.change(Operation::Commit { token, data, expiry }).map(drop)
    }

    fn create(
        &self,
        token: &str,
        data: &[u8],
        expiry: DateTime<Utc>,
        subject: Option<&str>,
    ) -> Result<(), Error> {
        self.backend.limits.check_token(token)?;
        self.backend.limits.check_data(data)?;
        subject.map_or(Ok(()), Limits::check_subject)?;
        let (token, data, subject) = (token.into(), data.into(), subject.map(Into::into));
        self.backend.change(Operation::Create { token, data, expiry, subject }).map(drop)
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        change.check(&self.backend.limits)?;
        let (token, current, change) = (token.into(), current.into(), Cow::Borrowed(change));
        Ok(self.backend.change(Operation::Update { token, current, change })? == 1)
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        Ok(self.backend.change(Operation::Touch { token: token.into(), expiry })? == 1)
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        self.backend.change(Operation::Delete { token: token.into() }).map(drop)
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        self.backend.find_by_subject(subject)
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        let except = except.map(Into::into);
        self.backend.change(Operation::DeleteBySubject { subject: subject.into(), except })
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        delete_in_batches(|| self.backend.remove_batch())
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        self.backend.walk(visit)
    }

    fn count(&self) -> Result<u64, Error> {
        self.backend.count()
    }

    /// Ends the cleanup thread and returns once it has ended. The store works on without it.
    ///
    /// With [`Durability::Relaxed`] it ends the thread that flushes as well, and flushes: everything
    /// that was committed is durable then, and whatever is committed later is durable by itself. A
    /// flush that has to wait longer than the [contention
    /// timeout](QlOptions::with_contention_timeout) is given up and reported. Called on one of the
    /// two threads, by a hook of the application's, it returns at once and they end after the hook.
    fn stop_cleanup(&self) {
        let threads = [self.cleanup.thread(), &self.flusher];
        let is_one_of_them = threads.iter().any(|thread| thread.is_current());
        for thread in threads {
            if is_one_of_them {
                // The other one's hook may be waiting for this one.
                thread.request_stop();
            } else {
                thread.stop();
            }
        }
    }

    fn cleanup_statistics(&self) -> CleanupStatistics {
        self.cleanup.statistics()
    }
}

/// What the store and its threads share. The threads hold this and never the store.
struct Backend {
    engine: Engine,
    tables: Tables,
    limits: Limits,
    clock: Arc<dyn Clock>,
    contention_timeout: Duration,
    batch_size: usize,
    /// Whether a thread makes durable what was committed without waiting for the disk.
    is_flushed_later: Arc<AtomicBool>,
    /// Whether something was committed that way since the last flush: a store that nobody writes to
    /// lets the disk rest.
    is_flush_due: AtomicBool,
    /// redb has one writer at a time; those of the store, the sweeps among them, line up and share
    /// transactions.
    line: GroupCommit<Write<'static>, Written>,
}

impl Backend {
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        self.engine.read(|snapshot| {
            // From after the wait for a database that is being compacted or opened again.
            let now = instant(self.clock.now());
            find_live(&self.tables, snapshot, token.as_bytes(), now, |_, data| data.to_vec())
        })
    }

    /// On one snapshot: a rotation between two would show the token neither live nor rotated.
    fn load(&self, token: &str) -> Result<Loaded, Error> {
        self.engine.read(|snapshot| {
            let now = instant(self.clock.now());
            let token = token.as_bytes();
            let to_live = |expiry, data: &[u8]| Loaded::Live { data: data.to_vec(), expiry };
            match find_live(&self.tables, snapshot, token, now, to_live)? {
                Some(live) => Ok(live),
                None => find_rotated(&self.tables, snapshot, token, now),
            }
        })
    }

    /// Does an operation, and returns how many sessions it changed.
    fn change(&self, operation: Operation<'_>) -> Result<u64, Error> {
        self.write(&Write::Operation(operation)).map(|done| done.sessions)
    }

    /// Does one write, together with those of other threads that come at the same time.
    fn write(&self, write: &Write<'_>) -> Written {
        let together = |writes: Vec<Write<'static>>| self.write_together(&writes);
        self.line
            .submit(
                self.contention_timeout,
                || self.write_alone(write),
                || write.to_static(),
                together,
            )
            .unwrap_or_else(|error| Err(error.into()))
    }

    fn write_alone(&self, write: &Write<'_>) -> Written {
        self.transact(std::slice::from_ref(write))
            .map_err(|failure| failure.error)?
            .pop()
            .expect("each write has one result")
    }

    /// Does the writes in one transaction. Where one of them can be the reason that it fails, each is
    /// tried in a transaction of its own, so that each has its own error, and none fails because of
    /// another.
    fn write_together(&self, writes: &[Write<'static>]) -> Vec<Written> {
        match self.transact(writes) {
            Ok(written) => written,
            Err(failure) if failure.may_be_of_one => {
                writes.iter().map(|write| self.write_alone(write)).collect()
            }
            Err(failure) => writes.iter().map(|_| Err(failure.error.clone())).collect(),
        }
    }

    /// Does the writes in one transaction, with the time at which it has the database for itself. A
    /// time from before the wait for that could take a session for live that has expired meanwhile.
    fn transact(&self, writes: &[Write<'_>]) -> Result<Vec<Written>, Failure> {
        self.engine.write(|transaction| {
            let now = instant(self.clock.now());
            let mut tables = Opened::new(&self.tables, transaction)?;
            let written = writes.iter().map(|write| write.execute(&mut tables, now));
            let written = written.collect::<Result<_, _>>()?;
            let is_durable = !self.is_flushed_later.load(Ordering::Acquire)
                || writes.iter().any(Write::must_be_durable)
                || tables.has_shortened;
            drop(tables);
            if !is_durable {
                let relaxed = transaction.set_durability(redb::Durability::None);
                relaxed.expect("only savepoints forbid it, and the store makes none");
                self.is_flush_due.store(true, Ordering::Release);
            }
            Ok(written)
        })
    }

    fn flush(&self) -> Result<(), Error> {
        // Before the flush: what is committed while it waits for its turn may come after it.
        if !self.is_flush_due.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let flushed = self.write(&Write::Flush).map(drop);
        if flushed.is_err() {
            self.is_flush_due.store(true, Ordering::Release);
        }
        flushed
    }

    fn remove_batch(&self) -> Result<Batch, Error> {
        let done = self.write(&Write::Sweep { batch_size: self.batch_size })?;
        Ok(Batch { removed: done.sessions, has_more: done.has_more })
    }

    /// On one snapshot, because tokens are the only order that the table has: a walk page by page
    /// would miss a session that is rotated to a token behind it, and meet one twice that is rotated
    /// ahead.
    fn walk(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        // Once, and before the snapshot: a session may be given a later expiry after it, and is live
        // all the while.
        let now = instant(self.clock.now());
        let snapshot = self.engine.snapshot()?;
        let sessions = contain(|| Ok(snapshot.open_table(self.tables.sessions())?))?;
        let mut rows = contain(|| Ok(sessions.iter()?))?;
        while let Some((token, value)) = contain(|| Ok(rows.next().transpose()?))? {
            // Where a row lies in its page is looked up only now, and may be damaged.
            let (token, value) = contain(|| Ok((token.value(), value.value())))?;
            let (expiry, data) = split(value).map_err(error::of_redb)?;
            if expiry <= now {
                continue;
            }
            let token = text(token).map_err(error::of_redb)?;
            let record = Record::new(token, data, to_utc(expiry).map_err(error::of_redb)?);
            if visit(record).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        self.engine.read(|snapshot| {
            let now = instant(self.clock.now());
            let by_subject = snapshot.open_table(self.tables.by_subject())?;
            let mut live = Vec::new();
            for token in tokens_of(&by_subject, subject.as_bytes())? {
                let to_session = |expiry, data: &[u8]| (data.to_vec(), expiry);
                let session = find_live(&self.tables, snapshot, &token, now, to_session)?;
                if let Some((data, expiry)) = session {
                    live.push(OwnedRecord::new(text(&token)?, data, expiry));
                }
            }
            Ok(live)
        })
    }

    fn count(&self) -> Result<u64, Error> {
        self.engine.read(|snapshot| {
            let now = instant(self.clock.now());
            let expiries = snapshot.open_table(self.tables.expiries())?;
            let mut live = 0;
            for row in expiries.range(&now[..]..)? {
                // Those that expire at this very instant are in the range, and live no more.
                if split(row?.0.value())?.0 > now {
                    live += 1;
                }
            }
            Ok(live)
        })
    }
}

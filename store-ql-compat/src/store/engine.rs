//! redb, opened again after it has failed.
//!
//! After an I/O error redb does nothing more until its file is closed and opened again. A store
//! that opened the file itself does that at the next request, after a failed sync with a copy of
//! the file, and what had been committed durably is there again. A database that the application
//! opened is the application's to open again.
//!
//! redb panics over some damaged files. The panics are caught: what a panic left half done is
//! dropped with the database, which is opened again, so no later operation sees it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{MappedRwLockReadGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use redb::{
    CompactionError, Database, Error as RedbError, ReadTransaction, ReadableDatabase,
    WriteTransaction,
};
use store_core::Error;
use store_core::backend::OpenStore;

use super::error::{catch_panic_in_open, ends_database, from_panic, from_redb};

/// Opens the file, and checks what is in it.
type Reopen = Box<dyn Fn() -> Result<Database, Error> + Send + Sync>;

/// The database, wherever it comes from.
pub(super) struct Engine {
    handle: Handle,
    pub(super) open: OpenStore,
    /// How long an operation waits while the database is compacted or opened again.
    timeout: Duration,
}

enum Handle {
    /// The application opened it and uses it, too.
    Shared(Arc<Database>),
    /// The store opened it.
    Owned(Owned),
}

struct Owned {
    /// Operations hold the lock for reading; what needs the database for itself holds it for
    /// writing.
    slot: RwLock<Slot>,
    /// Whether the database has to be opened again.
    is_broken: AtomicBool,
    /// A database in memory can't be opened again.
    reopen: Option<Reopen>,
}

struct Slot {
    database: Option<Database>,
    /// Why it couldn't be opened again, and when to try again.
    failed: Option<(Error, Instant)>,
}

impl Slot {
    /// Closing writes what can be written. What can't is repaired when the file is opened again.
    fn close(&mut self) {
        let database = self.database.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.close();
    }
}

/// Why a transaction failed.
pub(super) struct TransactionError {
    pub(super) error: Error,
    /// Whether nothing was changed, and the cause may be what the operation was doing when it
    /// failed, so that it may succeed without that. After an I/O error it wouldn't, and after a
    /// failed commit it is unknown what was changed.
    pub(super) may_be_of_one: bool,
}

/// Why an operation on redb failed.
enum EngineError {
    Redb(RedbError),
    /// The commit failed. Whether it is in the file is unknown until the file is opened again.
    Commit(RedbError),
    Panicked,
    /// The database wasn't available.
    Unavailable(Error),
}

impl From<RedbError> for EngineError {
    fn from(error: RedbError) -> Self {
        Self::Redb(error)
    }
}

impl EngineError {
    fn into_error(self) -> Error {
        match self {
            Self::Redb(error) | Self::Commit(error) => from_redb(error),
            Self::Panicked => from_panic(),
            Self::Unavailable(error) => error,
        }
    }
}

impl Engine {
    /// Returns the engine on a database of the application.
    pub(super) fn shared(open: OpenStore, database: Arc<Database>, timeout: Duration) -> Self {
        Self { handle: Handle::Shared(database), open, timeout }
    }

    /// Returns the engine on a database that the store opened. `reopen` opens it again.
    pub(super) fn owned(
        open: OpenStore,
        database: Database,
        reopen: Option<Reopen>,
        timeout: Duration,
    ) -> Self {
        let slot = RwLock::new(Slot { database: Some(database), failed: None });
        let owned = Owned { slot, is_broken: AtomicBool::new(false), reopen };
        Self { handle: Handle::Owned(owned), open, timeout }
    }

    /// Runs an operation that reads, on a snapshot.
    pub(super) fn read<T>(
        &self,
        operation: impl Fn(&ReadTransaction) -> Result<T, RedbError>,
    ) -> Result<T, Error> {
        self.open.owner().check()?;
        let attempt = || {
            self.run(|database| Ok(operation(&database.begin_read().map_err(RedbError::from)?)?))
        };
        // Nearly always the first attempt is the last one, and needs no clock.
        let mut deadline = None;
        loop {
            match attempt() {
                // A concurrent write has broken the database. That is no reason to fail a reader,
                // nor is that it happens again, as it does on a full disk.
                Err(EngineError::Redb(RedbError::PreviousIo | RedbError::DatabaseClosed))
                    if Instant::now()
                        < *deadline.get_or_insert_with(|| Instant::now() + self.timeout) => {}
                outcome => return outcome.map_err(EngineError::into_error),
            }
        }
    }

    /// Returns a snapshot that holds no lock. It is unusable once the database is opened again.
    pub(super) fn snapshot(&self) -> Result<ReadTransaction, Error> {
        self.open.owner().check()?;
        let snapshot = self.run(|database| Ok(database.begin_read().map_err(RedbError::from)?));
        snapshot.map_err(EngineError::into_error)
    }

    /// Runs an operation in a write transaction, and commits it. The caller is the store's only
    /// writer at the time.
    ///
    /// The operation decides how durable the commit must be.
    pub(super) fn write<T>(
        &self,
        operation: impl Fn(&mut WriteTransaction) -> Result<T, RedbError>,
    ) -> Result<T, TransactionError> {
        let reached_commit = AtomicBool::new(false);
        let attempt = || {
            self.run(|database| {
                let mut transaction = begin_write(database)?;
                let outcome = operation(&mut transaction)?;
                reached_commit.store(true, Ordering::Relaxed);
                transaction.commit().map_err(|error| EngineError::Commit(error.into()))?;
                Ok(outcome)
            })
        };
        let outcome = match attempt() {
            // An earlier write had broken the database, and this one has changed nothing yet.
            Err(EngineError::Redb(RedbError::PreviousIo | RedbError::DatabaseClosed))
                if !reached_commit.load(Ordering::Relaxed) =>
            {
                attempt()
            }
            outcome => outcome,
        };
        outcome.map_err(|error| {
            let may_be_of_one = match &error {
                EngineError::Redb(error) => !ends_database(error),
                EngineError::Panicked => !reached_commit.load(Ordering::Relaxed),
                EngineError::Commit(_) | EngineError::Unavailable(_) => false,
            };
            TransactionError { error: error.into_error(), may_be_of_one }
        })
    }

    /// Moves what is in the file to its beginning and truncates it. All other operations wait.
    pub(super) fn compact(&self) -> Result<bool, Error> {
        self.open.owner().check()?;
        let Handle::Owned(owned) = &self.handle else {
            let problem = "the application opened this database and shares it: it alone can \
                           compact it, with redb::Database::compact, while nothing else has a \
                           handle";
            return Err(Error::backend(problem));
        };
        drop(owned.usable(self.timeout)?);
        let mut slot = owned.lock(Instant::now() + self.timeout)?;
        let Some(database) = &mut slot.database else { return Err(busy()) };
        let outcome = catch(|| {
            database.compact().map_err(|error| match error {
                CompactionError::TransactionInProgress => {
                    EngineError::Unavailable(walk_in_progress())
                }
                CompactionError::Storage(error) => EngineError::Commit(error.into()),
                // A savepoint of the application that created the file: nothing has been changed.
                error => EngineError::Unavailable(from_redb(error.into())),
            })
        });
        if let Err(EngineError::Commit(_) | EngineError::Panicked) = &outcome {
            owned.is_broken.store(true, Ordering::Release);
        }
        outcome.map_err(EngineError::into_error)
    }

    /// Runs an operation on the database, and remembers if that has broken it.
    fn run<T>(
        &self,
        operation: impl FnOnce(&Database) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        match &self.handle {
            Handle::Shared(database) => {
                catch(|| operation(database)).map_err(|error| match error {
                    // It stays broken until the application opens it again: retrying doesn't help.
                    EngineError::Redb(
                        error @ (RedbError::PreviousIo | RedbError::DatabaseClosed),
                    ) => EngineError::Unavailable(Error::backend(error)),
                    error => error,
                })
            }
            Handle::Owned(owned) => {
                let database = owned.usable(self.timeout).map_err(EngineError::Unavailable)?;
                let outcome = catch(|| operation(&database));
                let is_broken = match &outcome {
                    Err(EngineError::Redb(error)) => ends_database(error),
                    Err(EngineError::Commit(_) | EngineError::Panicked) => true,
                    Ok(_) | Err(EngineError::Unavailable(_)) => false,
                };
                if is_broken {
                    // The read lock is still held, so it is this database that is marked and not
                    // one that has replaced it.
                    owned.is_broken.store(true, Ordering::Release);
                }
                outcome
            }
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.handle {
            Handle::Shared(_) => "Shared",
            Handle::Owned(_) => "Owned",
        })
    }
}

impl Owned {
    /// Returns the database, opened again if it has to be.
    fn usable(&self, timeout: Duration) -> Result<MappedRwLockReadGuard<'_, Database>, Error> {
        // Nearly always it is available at once, and that needs no clock.
        if let Some(database) = self.slot.try_read().and_then(|slot| self.healthy(slot)) {
            return Ok(database);
        }
        let deadline = Instant::now() + timeout;
        // A concurrent write may break it again after it was opened, as each does on a full disk,
        // so this is repeated until the deadline.
        loop {
            let slot = self.slot.try_read_until(deadline).ok_or_else(busy)?;
            if let Some(database) = self.healthy(slot) {
                return Ok(database);
            }
            self.open_again(deadline)?;
        }
    }

    /// Returns the database if it can be used. If it can't, the lock is released, because opening
    /// it again needs the lock for writing.
    fn healthy<'a>(
        &self,
        slot: RwLockReadGuard<'a, Slot>,
    ) -> Option<MappedRwLockReadGuard<'a, Database>> {
        let database = RwLockReadGuard::try_map(slot, |slot| slot.database.as_ref()).ok()?;
        (!self.is_broken.load(Ordering::Acquire)).then_some(database)
    }

    fn lock(&self, deadline: Instant) -> Result<RwLockWriteGuard<'_, Slot>, Error> {
        self.slot.try_write_until(deadline).ok_or_else(busy)
    }

    fn open_again(&self, deadline: Instant) -> Result<(), Error> {
        let mut slot = self.lock(deadline)?;
        if slot.database.is_some() && !self.is_broken.load(Ordering::Acquire) {
            return Ok(());
        }
        let Some(reopen) = &self.reopen else {
            return Err(Error::backend("the database in memory has failed, and is gone"));
        };
        if let Some((error, next_try)) = &slot.failed
            && Instant::now() < *next_try
        {
            return Err(error.clone());
        }
        slot.close();
        let started = Instant::now();
        match catch_panic_in_open(reopen) {
            Ok(database) => {
                slot.database = Some(database);
                slot.failed = None;
                self.is_broken.store(false, Ordering::Release);
                log::warn!(
                    "the session database had failed and was opened again; what was not durable \
                     yet is lost"
                );
                Ok(())
            }
            Err(error) => {
                // Opening a large file takes a while. At most half of the time is spent on it.
                let next_try = Instant::now() + started.elapsed();
                slot.failed = Some((error.clone(), next_try));
                Err(error)
            }
        }
    }
}

fn begin_write(database: &Database) -> Result<WriteTransaction, RedbError> {
    database.begin_write().map_err(|error| match error.into() {
        // Nothing was read yet. redb returns this if a failed transaction has left its allocator's
        // state inconsistent, which opening the file again repairs, as after an I/O error.
        RedbError::Corrupted(_) => RedbError::PreviousIo,
        error => error,
    })
}

fn walk_in_progress() -> Error {
    Error::Contended { source: "a walk through the sessions is in progress".into() }
}

fn busy() -> Error {
    Error::Contended { source: "the database is being compacted or opened again".into() }
}

/// What a panic of redb leaves behind is not used again: the caller drops the database, or, if that
/// is the application's, redb itself refuses to go on with poisoned locks.
fn catch<T>(operation: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(operation)).unwrap_or(Err(EngineError::Panicked))
}

//! redb, and what becomes of it when something goes wrong.
//!
//! After an I/O error redb does nothing more until its file was closed and opened again. A store that
//! opened the file itself does that at the next request; what had been committed durably is there
//! again. A database that the application opened is the application's to open again.
//!
//! redb panics over some damaged files. The panics are caught: what the panic left half done is
//! thrown away with the database, which is opened again, so nobody sees it.

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

use super::error;

/// Opens the file, and checks what is in it.
type Open = Box<dyn Fn() -> Result<Database, Error> + Send + Sync>;

/// The database, wherever it comes from.
pub(crate) struct Engine {
    place: Place,
    /// How long an operation waits while the database is closed, for a compaction or to be opened again.
    timeout: Duration,
}

enum Place {
    /// Other parts of the application use it, too.
    Shared(Arc<Database>),
    Owned(Owned),
}

struct Owned {
    /// Operations hold it for reading; it is written to for what needs the database for itself.
    slot: RwLock<Slot>,
    is_broken: AtomicBool,
    /// A database in memory can't be opened again.
    open: Option<Open>,
}

struct Slot {
    database: Option<Database>,
    /// Why it couldn't be opened again, and when to try the next time.
    failed: Option<(Error, Instant)>,
}

impl Slot {
    /// Closing writes what can be written. What can't be is what the next opening repairs.
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
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// Whether nothing has changed and the cause may be one of the changes, so that others may fare
    /// better alone. After an I/O error they wouldn't, and after a failed commit nobody knows what
    /// has changed.
    pub(crate) may_be_of_one: bool,
}

/// Why an operation on redb failed.
enum Trouble {
    Redb(RedbError),
    /// Whether the commit is in the file, only opening it again can tell.
    Commit(RedbError),
    Panicked,
    /// The database wasn't to be had.
    Ours(Error),
}

impl From<RedbError> for Trouble {
    fn from(error: RedbError) -> Self {
        Self::Redb(error)
    }
}

impl Trouble {
    fn into_error(self) -> Error {
        match self {
            Self::Redb(error) | Self::Commit(error) => error::of_redb(error),
            Self::Panicked => error::of_panic(),
            Self::Ours(error) => error,
        }
    }
}

impl Engine {
    /// On a database of the application.
    pub(crate) fn shared(database: Arc<Database>, timeout: Duration) -> Self {
        Self { place: Place::Shared(database), timeout }
    }

    /// On a database of its own, and the way to open it again.
    pub(crate) fn owned(database: Database, open: Option<Open>, timeout: Duration) -> Self {
        let slot = RwLock::new(Slot { database: Some(database), failed: None });
        Self {
            place: Place::Owned(Owned { slot, is_broken: AtomicBool::new(false), open }),
            timeout,
        }
    }

    /// Runs something that reads, on a snapshot.
    pub(crate) fn read<T>(
        &self,
        operation: impl Fn(&ReadTransaction) -> Result<T, RedbError>,
    ) -> Result<T, Error> {
        let attempt = || {
            self.run(|database| Ok(operation(&database.begin_read().map_err(RedbError::from)?)?))
        };
        // Nearly always the first attempt is the last one, and needs no clock.
        let mut deadline = None;
        loop {
            match attempt() {
                // Somebody else's write has broken the database meanwhile; that is no reason to fail
                // a reader, nor is that it happens again, as it does on a full disk.
                Err(Trouble::Redb(RedbError::PreviousIo | RedbError::DatabaseClosed))
                    if Instant::now()
                        < *deadline.get_or_insert_with(|| Instant::now() + self.timeout) => {}
                outcome => return outcome.map_err(Trouble::into_error),
            }
        }
    }

    /// A snapshot that holds no lock. It ends where the database has to be opened again.
    pub(crate) fn snapshot(&self) -> Result<ReadTransaction, Error> {
        let snapshot = self.run(|database| Ok(database.begin_read().map_err(RedbError::from)?));
        snapshot.map_err(Trouble::into_error)
    }

    /// Runs something that writes, in a transaction. Nobody else of the store may be writing.
    ///
    /// The operation says how durable the commit must be.
    pub(crate) fn write<T>(
        &self,
        operation: impl Fn(&mut WriteTransaction) -> Result<T, RedbError>,
    ) -> Result<T, Failure> {
        let reached_commit = AtomicBool::new(false);
        let attempt = || {
            self.run(|database| {
                let mut transaction = begin_write(database)?;
                let outcome = operation(&mut transaction)?;
                reached_commit.store(true, Ordering::Relaxed);
                transaction.commit().map_err(|error| Trouble::Commit(error.into()))?;
                Ok(outcome)
            })
        };
        let outcome = match attempt() {
            Err(Trouble::Redb(RedbError::PreviousIo | RedbError::DatabaseClosed))
                if !reached_commit.load(Ordering::Relaxed) =>
            {
                attempt()
            }
            outcome => outcome,
        };
        outcome.map_err(|trouble| {
            let may_be_of_one = match &trouble {
                Trouble::Redb(error) => !error::ends_database(error),
                Trouble::Panicked => !reached_commit.load(Ordering::Relaxed),
                Trouble::Commit(_) | Trouble::Ours(_) => false,
            };
            Failure { error: trouble.into_error(), may_be_of_one }
        })
    }

    /// Moves what is in the file to its beginning and cuts the rest off. Everybody waits meanwhile.
    pub(crate) fn compact(&self) -> Result<bool, Error> {
        let Place::Owned(owned) = &self.place else {
            let problem = "the application opened this database and shares it: it alone can compact it, with \
                           redb::Database::compact, while nobody else has a handle";
            return Err(Error::backend(problem));
        };
        drop(owned.usable(self.timeout)?);
        let mut slot = owned.lock(Instant::now() + self.timeout)?;
        let Some(database) = &mut slot.database else { return Err(busy()) };
        let outcome = catch(|| {
            database.compact().map_err(|error| match error {
                CompactionError::TransactionInProgress => Trouble::Ours(walked()),
                CompactionError::Storage(error) => Trouble::Commit(error.into()),
                // A savepoint of the application that made the file: nothing has been touched.
                error => Trouble::Ours(error::of_redb(error.into())),
            })
        });
        if let Err(Trouble::Commit(_) | Trouble::Panicked) = &outcome {
            owned.is_broken.store(true, Ordering::Release);
        }
        outcome.map_err(Trouble::into_error)
    }

    fn run<T>(
        &self,
        operation: impl FnOnce(&Database) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        match &self.place {
            Place::Shared(database) => {
                catch(|| operation(database)).map_err(|trouble| match trouble {
                    // It stays so until the application does something, and no repetition helps.
                    Trouble::Redb(error @ (RedbError::PreviousIo | RedbError::DatabaseClosed)) => {
                        Trouble::Ours(Error::backend(error))
                    }
                    trouble => trouble,
                })
            }
            Place::Owned(owned) => {
                let database = owned.usable(self.timeout).map_err(Trouble::Ours)?;
                let outcome = catch(|| operation(&database));
                let is_broken = match &outcome {
                    Err(Trouble::Redb(error)) => error::ends_database(error),
                    Err(Trouble::Commit(_) | Trouble::Panicked) => true,
                    Ok(_) | Err(Trouble::Ours(_)) => false,
                };
                if is_broken {
                    // While the database can't be exchanged: a later one must not be taken for broken.
                    owned.is_broken.store(true, Ordering::Release);
                }
                outcome
            }
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.place {
            Place::Shared(_) => "Shared",
            Place::Owned(_) => "Owned",
        })
    }
}

impl Owned {
    /// The database, opened again where it has to be.
    fn usable(&self, timeout: Duration) -> Result<MappedRwLockReadGuard<'_, Database>, Error> {
        // Nearly always it is there at once, and that needs no clock.
        if let Some(database) = self.slot.try_read().and_then(|slot| self.unbroken(slot)) {
            return Ok(database);
        }
        let deadline = Instant::now() + timeout;
        // As long as there is time, because somebody may break it between its opening and here: on a
        // full disk each writer does.
        loop {
            let slot = self.slot.try_read_until(deadline).ok_or_else(busy)?;
            if let Some(database) = self.unbroken(slot) {
                return Ok(database);
            }
            self.open_again(deadline)?;
        }
    }

    /// The database in its place. Where it can't be used, the place is given back, because the
    /// opening needs it for itself.
    fn unbroken<'a>(
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
        let Some(open) = &self.open else {
            return Err(Error::backend("the database in memory has failed, and is gone"));
        };
        if let Some((error, next_try)) = &slot.failed
            && Instant::now() < *next_try
        {
            return Err(error.clone());
        }
        slot.close();
        let started = Instant::now();
        match contain_opening(open) {
            Ok(database) => {
                slot.database = Some(database);
                slot.failed = None;
                self.is_broken.store(false, Ordering::Release);
                log::warn!(
                    "the session database had failed and was opened again; what was not durable yet is lost"
                );
                Ok(())
            }
            Err(error) => {
                // Opening a large file takes a while; half of the time it isn't tried.
                let next_try = Instant::now() + started.elapsed();
                slot.failed = Some((error.clone(), next_try));
                Err(error)
            }
        }
    }
}

fn begin_write(database: &Database) -> Result<WriteTransaction, RedbError> {
    database.begin_write().map_err(|error| match error.into() {
        // Nothing was read yet: redb says so where a transaction that failed has left its books in
        // disorder, which opening the file again puts right, as after an I/O error.
        RedbError::Corrupted(_) => RedbError::PreviousIo,
        error => error,
    })
}

fn walked() -> Error {
    Error::Contended { source: "somebody is walking through the sessions".into() }
}

fn busy() -> Error {
    Error::Contended { source: "the database is being compacted or opened again".into() }
}

/// Turns a panic of redb into an error.
pub(crate) fn contain<T>(operation: impl FnOnce() -> Result<T, RedbError>) -> Result<T, Error> {
    catch(|| Ok(operation()?)).map_err(Trouble::into_error)
}

/// As [`contain`], for what opens a database.
pub(crate) fn contain_opening<T>(open: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| Err(error::of_panic()))
}

/// What a panic of redb leaves behind is looked at by nobody: the caller throws the database away,
/// or, where that is the application's, redb itself refuses to go on with poisoned locks.
fn catch<T>(operation: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(operation)).unwrap_or(Err(Trouble::Panicked))
}

//! The store on redb.

mod options;

mod construction;

mod backup;

mod existing;

mod shared;

mod write;

mod cleanup;

mod read;

mod statistics;

mod open_tables;

mod rotations;

mod tables;

mod format;

mod engine;

mod file;

mod replacement;

mod watched;

mod named_file;

mod flusher;

mod error;

#[cfg(test)]
mod disk_faults;

use std::borrow::Cow;
use std::fmt;
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use store_core::backend::{BackgroundThread, CleanupThread, Operation, delete_in_batches};
use store_core::{Change, CleanupStatistics, Error, Loaded, OwnedRecord, Record, Store};

use self::cleanup::CleanupRun;
use self::shared::Shared;

pub use self::options::{Durability, QlOptions};

/// A session store on redb: in one file, in pure Rust, without a server.
///
/// # Tables
/// Six tables of redb in one file, here with their default names; [the
/// guide](crate::guide#the-format-byte-by-byte) describes them byte by byte.
///
/// | table | key | value |
/// |---|---|---|
/// | `sessions` | the token | the expiry in 12 bytes, the data |
/// | `sessions_subject` | the token | the subject |
/// | `sessions_by_subject` | the subject's length in a byte, the subject, the token | nothing |
/// | `sessions_rotation` | an old token | its grace, whether it opens, the newest token |
/// | `sessions_rotated` | the newest token's length, the newest token, an old token | nothing |
/// | `sessions_meta` | `format` | 1, the version of this format |
///
/// Every `DateTime<Utc>` can be an expiry, and is kept exactly. The clock of the process decides
/// what is live; time zones play no part. A file of a newer format is refused.
///
/// # Concurrency
/// Any number of threads may use a store; readers never wait for writers. Writes of concurrent
/// threads share a transaction, and one wait for the disk. One process at a time can have the file
/// open, and one store in it: a second one gets [`Error::InUse`].
///
/// A walk goes through a snapshot: it sees the sessions as they are when it begins. redb doesn't
/// reuse the pages of a snapshot while it is read, so the file grows by what is written during a
/// walk.
///
/// # Failures
/// After an I/O error the store opens its file again by itself, at the next request. A write that
/// returned an error may be in the file then, or not, but always as a whole. After a failed sync,
/// and if the file wasn't closed, it is [replaced by a copy](crate::guide#a-failed-sync) first.
///
/// A store must be opened after a fork, not before it.
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
#[doc(alias = "RedbStore")]
#[doc(alias = "qlstore")]
#[doc(alias = "QLStore")]
pub struct QlStore {
    // In this order: the threads end before the database is closed.
    threads: Option<Threads>,
    shared: Arc<Shared>,
}

/// Whether what isn't there is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Creation {
    IfMissing,
    Never,
}

struct Threads {
    cleanup: CleanupThread,
    flusher: BackgroundThread,
}

impl QlStore {
    /// Moves what is in the file to its beginning, and truncates it. Returns whether anything was
    /// moved.
    ///
    /// **All other operations wait while it runs.** On a two-core machine it took 0.3 seconds for
    /// 10,000 sessions of 256 bytes, 0.7 for 50,000 and 1.1 for 100,000, however long the file was
    /// before. So call it at a quiet moment, and with more than 300,000 sessions set a longer
    /// [contention timeout](QlOptions::with_contention_timeout), or requests get
    /// [`Error::Contended`] while it runs. A process that is killed while it runs loses nothing.
    ///
    /// It is seldom needed, and never called by the store itself: pages of deleted sessions are
    /// used again, so under a steady load the file doesn't grow. It returns what is left of a peak
    /// to the file system.
    ///
    /// # Errors
    /// [`Error::Contended`] while a walk through the sessions is in progress, or if readers and
    /// writers don't end within the [contention timeout](QlOptions::with_contention_timeout).
    /// [`Error::Backend`] in a database that the application shares: it can compact the file
    /// itself, with `redb::Database::compact`, while it has the only handle. Otherwise errors of
    /// the system.
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
    #[doc(alias = "vacuum")]
    pub fn compact(&self) -> Result<bool, Error> {
        self.shared.compact()
    }
}

impl Drop for QlStore {
    fn drop(&mut self) {
        if self.shared.engine.open.owner().is_forked() {
            // Dropping them would wait for threads that this process doesn't have, and end in the
            // file what the parent process has begun.
            mem::forget(self.threads.take());
            mem::forget(Arc::clone(&self.shared));
        }
    }
}

impl fmt::Debug for QlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QlStore")
            .field("table", &self.shared.tables.name())
            .field("limits", &self.shared.limits)
            .field("database", &self.shared.engine)
            .field("cleanup", &self.threads.as_ref().map(|threads| &threads.cleanup))
            .field("flusher", &self.threads.as_ref().map(|threads| &threads.flusher))
            .finish_non_exhaustive()
    }
}

impl Store for QlStore {
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        self.shared.find(token)
    }

    fn load(&self, token: &str) -> Result<Loaded, Error> {
        self.shared.load(token)
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        self.shared.limits.check_token(token)?;
        self.shared.limits.check_data(data)?;
        let (token, data) = (token.into(), data.into());
        self.shared.execute(Operation::Commit { token, data, expiry }).map(drop)
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        change.check_creation(token, &self.shared.limits)?;
        let (token, change) = (token.into(), Cow::Borrowed(change));
        Ok(self.shared.execute(Operation::Create { token, change })? == 1)
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        change.check(&self.shared.limits)?;
        let (token, current, change) = (token.into(), current.into(), Cow::Borrowed(change));
        Ok(self.shared.execute(Operation::Update { token, current, change })? == 1)
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        Ok(self.shared.execute(Operation::Touch { token: token.into(), expiry })? == 1)
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        self.shared.execute(Operation::Delete { token: token.into() }).map(drop)
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        self.shared.find_by_subject(subject)
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        self.shared.subject_of(token)
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        let except = except.map(Into::into);
        self.shared.execute(Operation::DeleteBySubject { subject: subject.into(), except })
    }

    fn delete_all(&self) -> Result<u64, Error> {
        self.shared.execute(Operation::DeleteAll)
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        let mut run = CleanupRun::default();
        delete_in_batches(|| self.shared.remove_batch(&mut run))
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        self.shared.for_each(visit)
    }

    fn count(&self) -> Result<u64, Error> {
        self.shared.count()
    }

    fn now(&self) -> DateTime<Utc> {
        self.shared.clock.now()
    }

    /// Ends the cleanup thread and returns once it has ended. The store works on without it.
    ///
    /// With [`Durability::Relaxed`] it ends the thread that flushes as well, and flushes:
    /// everything that was committed is durable then, and whatever is committed later is durable by
    /// itself. A flush that has to wait longer than the [contention
    /// timeout](QlOptions::with_contention_timeout) is given up and reported. Called on one of the
    /// two threads, by the application's hook, it returns at once and they end after the hook. In a
    /// process that was forked since the store was opened it does nothing.
    fn stop_cleanup(&self) {
        let Some(Threads { cleanup, flusher }) = &self.threads else { return };
        if self.shared.engine.open.owner().is_forked() {
            return;
        }
        let threads = [cleanup.thread(), flusher];
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
        let statistics = self.threads.as_ref().map(|threads| threads.cleanup.statistics());
        statistics.unwrap_or_default()
    }
}

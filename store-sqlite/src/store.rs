//! The store.

use std::borrow::Cow;
use std::fmt;
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use store_core::backend::{CleanupThread, Operation, delete_in_batches};
use store_core::{
    Change, CleanupOptions, CleanupStatistics, Error, Loaded, OwnedRecord, Record, Store,
};

use crate::cleanup::CleanupRun;
use crate::julian::check_expiry;
use crate::shared::Shared;
use crate::walk::{self, Page};

/// A session store on a SQLite table: the one of the Go store `sqlite3store`, unchanged.
///
/// # What it keeps, and how
/// [`CREATE_TABLE`](Self::CREATE_TABLE) is the table. An expiry is a Julian day, rounded down to
/// the millisecond, between 24 November 4714 BC and the end of the year 9999; any other is
/// [`Error::ExpiryOutOfRange`]. The clock of the process decides what is live; time zones play no
/// part. Go and Rust processes can use one table at the same time.
///
/// Rows that others wrote with an expiry that is no such day (NULL, text, a blob, infinity, a year
/// after 9999) count as expired: they are never found, and the next cleanup run removes them. Rows
/// whose token is no UTF-8 text, or whose data is NULL or a number, are no sessions either; they
/// stay until they expire, and until then [`count`](Store::count) counts them.
///
/// # The tables next to it
/// [`CREATE_SUBJECTS_TABLE`](Self::CREATE_SUBJECTS_TABLE) and
/// [`CREATE_ROTATIONS_TABLE`](Self::CREATE_ROTATIONS_TABLE) are the store's own, unknown to Go.
/// If one is missing when the store is made, the store creates it. If it can't, a warning is logged
/// and the store works without:
/// - without subjects what needs them is [`Error::TableMissing`], and the other operations don't
///   look for any;
/// - without rotations there is no grace: a token that was rotated is like one never written.
///
/// # Concurrency
/// Any number of threads and processes may use one file. A writer that finds the database locked
/// waits and tries again until the [contention
/// timeout](crate::SqliteOptions::with_contention_timeout); then the error is [`Error::Contended`].
/// Threads of one store queue instead of polling, so none of them starves, and share transactions.
/// Writes of more than one statement run in `IMMEDIATE` transactions; no lookup writes.
///
/// A walk meets each session once, also if it is overwritten, touched or rotated during the walk by
/// stores of this family. The Go store replaces a row by a new one: a session that a Go process
/// commits during the walk can be met a second time.
///
/// # Examples
/// ```
/// use chrono::{TimeDelta, Utc};
/// use store_sqlite::{SqliteStore, Store};
///
/// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
/// # let path = directory.path().join("sessions.db");
/// let store = SqliteStore::open(&path)?;
/// store.commit("token", b"data", Utc::now() + TimeDelta::hours(24))?;
/// drop(store);
///
/// let store = SqliteStore::open(&path)?;
/// assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
/// # Ok::<(), store_sqlite::Error>(())
/// ```
#[doc(alias = "SQLite3Store")]
#[doc(alias = "sqlite3store")]
pub struct SqliteStore {
    pub(crate) shared: Arc<Shared>,
    cleanup: CleanupThread,
}

impl SqliteStore {
    /// Starts the cleanup thread.
    pub(crate) fn start(shared: Shared, cleanup: CleanupOptions) -> Result<Self, Error> {
        let shared = Arc::new(shared);
        let cleanup = CleanupThread::start(cleanup, {
            let shared = Arc::clone(&shared);
            let mut run = CleanupRun::default();
            move || shared.remove_batch(&mut run)
        })?;
        Ok(Self { shared, cleanup })
    }

    /// Refuses a change that SQLite, or a store without an index of subjects, can't make.
    fn check_change(&self, change: &Change<'_>) -> Result<(), Error> {
        change.expiry.map_or(Ok(()), check_expiry)?;
        if change.needs_subjects() {
            self.shared.database.tables.subjects()?;
        }
        Ok(())
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        if self.shared.database.open.owner().is_forked() {
            // The connections are never closed here: SQLite would take the locks and the log for
            // its own, which are the parent's.
            mem::forget(Arc::clone(&self.shared));
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = &self.shared.database;
        f.debug_struct("SqliteStore")
            .field("table", &database.tables.name.as_str())
            .field("limits", &self.shared.limits)
            .field(
                "pool",
                &database.open.owner().check().ok().map(|()| database.connections.pool.state()),
            )
            .field("cleanup", &self.cleanup)
            .finish_non_exhaustive()
    }
}

impl Store for SqliteStore {
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        self.shared.read(|tables, connection, now| {
            let found = tables.sessions.find(connection, token, now)?;
            Ok(found.map(|(data, _)| data))
        })
    }

    fn load(&self, token: &str) -> Result<Loaded, Error> {
        self.shared.read(|tables, connection, now| tables.load(connection, token, now))
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        self.shared.limits.check_token(token)?;
        self.shared.limits.check_data(data)?;
        check_expiry(expiry)?;
        let (token, data) = (token.into(), data.into());
        self.shared.write(Operation::Commit { token, data, expiry }).map(drop)
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        change.check_creation(token, &self.shared.limits)?;
        self.check_change(change)?;
        let (token, change) = (token.into(), Cow::Borrowed(change));
        Ok(self.shared.write(Operation::Create { token, change })? == 1)
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        change.check(&self.shared.limits)?;
        self.check_change(change)?;
        let (token, current, change) = (token.into(), current.into(), Cow::Borrowed(change));
        Ok(self.shared.write(Operation::Update { token, current, change })? == 1)
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        check_expiry(expiry)?;
        Ok(self.shared.write(Operation::Touch { token: token.into(), expiry })? == 1)
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        self.shared.write(Operation::Delete { token: token.into() }).map(drop)
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        let subjects = self.shared.database.tables.subjects()?;
        self.shared.read(|_, connection, now| subjects.find(connection, subject, now))
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        let Some(subjects) = &self.shared.database.tables.subjects else { return Ok(None) };
        self.shared.read(|_, connection, now| subjects.subject(connection, token, now))
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        self.shared.database.tables.subjects()?;
        let (subject, except) = (subject.into(), except.map(Into::into));
        self.shared.write(Operation::DeleteBySubject { subject, except })
    }

    fn delete_all(&self) -> Result<u64, Error> {
        self.shared.write(Operation::DeleteAll)
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        let mut run = CleanupRun::default();
        delete_in_batches(|| self.shared.remove_batch(&mut run))
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let mut after = walk::START;
        loop {
            // The connection goes back to the pool before the visitor runs.
            let page = self.shared.read(|tables, connection, now| {
                Page::read(&tables.sessions, connection, after, now)
            })?;
            match page.visit(visit) {
                ControlFlow::Continue(row) => after = row,
                ControlFlow::Break(()) => return Ok(()),
            }
        }
    }

    /// Rows that are no sessions, because their token is no text or their data no bytes, are
    /// counted as well.
    fn count(&self) -> Result<u64, Error> {
        self.shared.read(|tables, connection, now| tables.sessions.count(connection, now))
    }

    fn now(&self) -> DateTime<Utc> {
        self.shared.clock().now()
    }

    /// A cleanup run that waits for a connection or a lock ends when it has got it, or with the
    /// timeout.
    fn stop_cleanup(&self) {
        self.cleanup.stop();
    }

    fn cleanup_statistics(&self) -> CleanupStatistics {
        self.cleanup.statistics()
    }
}

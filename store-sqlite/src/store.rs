//! The store and its statements.

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BlockingRetryable, ExponentialBuilder};
use chrono::{DateTime, Utc};
use parking_lot::RwLock;
use r2d2::{Pool, PooledConnection};
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::types::ValueRef;
use rusqlite::{
    Connection, OptionalExtension, Result as SqliteResult, Transaction, TransactionBehavior, params,
};
use store_core::backend::{Batch, CleanupThread, GroupCommit, Operation, delete_in_batches};
use store_core::{
    Change, CleanupOptions, CleanupStatistics, Clock, Error, Limits, Loaded, OwnedRecord, Record,
    Store,
};

use crate::batch_sizer::{Pace, Took};
use crate::options::SqliteOptions;
use crate::reader_connections::Readers;
use crate::rotations::Rotations;
use crate::subjects::SubjectIndex;
use crate::write::{self, WriteResult};
use crate::{error, julian, table};

// The statements, in the order of the trait; `{table}` is the qualified, quoted name. Tokens are compared
// byte for byte, whatever collation the column was declared with. A session is live where
// `expiry > now` and the expiry is a day that SQLite's calendar has: text and blobs, which compare greater
// than every number, NULL, and infinity are none. 5373484.5 is the first day of the year 10000.

const FIND: &str = "SELECT data, expiry FROM {table} \
    WHERE token = ?1 COLLATE BINARY AND expiry > ?2 AND expiry < 5373484.5";

// The alias, because a table may be named `excluded`.
const COMMIT: &str = "INSERT INTO {table} AS stored (token, data, expiry) VALUES (?1, ?2, ?3) \
    ON CONFLICT (token) DO UPDATE SET data = excluded.data, expiry = excluded.expiry";

// It replaces an expired session. What has no such expiry, even none at all, isn't live.
const CREATE: &str = "INSERT INTO {table} AS stored (token, data, expiry) VALUES (?1, ?2, ?3) \
    ON CONFLICT (token) DO UPDATE SET data = excluded.data, expiry = excluded.expiry \
    WHERE (stored.expiry > ?4 AND stored.expiry < 5373484.5) IS NOT TRUE";

// Others may have written the data as text; `find` gives its bytes, so they are what is compared.
const UPDATE: &str = "UPDATE {table} SET data = ?3, expiry = ?4 \
    WHERE token = ?1 COLLATE BINARY AND CAST(data AS BLOB) = ?2 AND expiry > ?5 AND expiry < 5373484.5";

const MATCHING_ROW: &str = "SELECT rowid FROM {table} \
    WHERE token = ?1 COLLATE BINARY AND CAST(data AS BLOB) = ?2 AND expiry > ?3 AND expiry < 5373484.5";

const IS_LIVE: &str = "SELECT 1 FROM {table} \
    WHERE token = ?1 COLLATE BINARY AND expiry > ?2 AND expiry < 5373484.5";

const ROTATE: &str = "UPDATE {table} SET token = ?2, data = ?3, expiry = ?4 WHERE rowid = ?1";

const TOUCH: &str = "UPDATE {table} SET expiry = ?2 \
    WHERE token = ?1 COLLATE BINARY AND expiry > ?3 AND expiry < 5373484.5";

const DELETE: &str = "DELETE FROM {table} WHERE token = ?1 COLLATE BINARY";

// Three ranges of the index rather than one OR, for which SQLite would read the whole index.
const DELETE_EXPIRED: &str = "DELETE FROM {table} WHERE rowid IN ( \
    SELECT rowid FROM {table} WHERE expiry <= ?1 \
    UNION ALL SELECT rowid FROM {table} WHERE expiry >= 5373484.5 \
    UNION ALL SELECT rowid FROM {table} WHERE expiry IS NULL LIMIT ?2)";

// In the order of rowids, which an upsert and a rotation leave alone, so that a walk meets a
// session once even if its token changes meanwhile. The plus keeps the index on expiry out of it.
const PAGE: &str = "SELECT rowid, token, data, expiry FROM {table} \
    WHERE rowid > ?1 AND +expiry > ?2 AND +expiry < 5373484.5 ORDER BY rowid";

const COUNT: &str = "SELECT count(*) FROM {table} WHERE expiry > ?1 AND expiry < 5373484.5";

/// A walk copies this many rows, or bytes of data, at a time.
const PAGE_ROWS: usize = 500;
const PAGE_BYTES: usize = 256 * 1024;

/// A session store on a SQLite table: the one of the Go store `sqlite3store`, as it stands.
///
/// # What it keeps, and how
/// [`CREATE_TABLE`](Self::CREATE_TABLE) is the table. An expiry is a Julian day, rounded down to the
/// millisecond, between 24 November 4714 BC and the end of the year 9999; any other is
/// [`Error::ExpiryOutOfRange`]. The clock of the process decides what is live; time zones play no part.
/// Go and Rust processes can use one table at the same time.
///
/// Rows that others wrote with an expiry that is no such day (NULL, text, a blob, infinity, a year
/// after 9999) count as expired: they are never found, and the next sweep removes them. Rows whose
/// token is no UTF-8 text, or whose data is NULL or a number, are no sessions either; they stay
/// until they expire, and until then [`count`](Store::count) counts them.
///
/// # The tables next to it
/// [`CREATE_SUBJECTS_TABLE`](Self::CREATE_SUBJECTS_TABLE) and
/// [`CREATE_ROTATIONS_TABLE`](Self::CREATE_ROTATIONS_TABLE) are the store's own, unknown to Go.
/// Where one is missing when the store is made, the store makes it. Where it can't, a warning is
/// logged and the store works without:
/// - without subjects what needs them is [`Error::TableMissing`], and the other operations don't
///   look for any;
/// - without rotations there is no grace: a token that was rotated is like one never written.
///
/// # Concurrency
/// Any number of threads and processes may use one file. A writer that finds the database locked
/// waits and tries again until the [contention timeout](SqliteOptions::with_contention_timeout); then
/// the error is [`Error::Contended`]. Threads of one store take turns instead of polling, so none of
/// them starves. Statements with more than one part run in `IMMEDIATE` transactions; no lookup
/// writes.
///
/// A walk meets each session once, also if it is overwritten, touched or rotated meanwhile by
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
    pub(crate) backend: Arc<Backend>,
    cleanup: CleanupThread,
}

impl SqliteStore {
    /// The DDL of the table and its index, which [`create_table`](Self::create_table) runs; the same as the
    /// Go store's.
    pub const CREATE_TABLE: &str = table::CREATE_TABLE;

    /// A store on a pool that the application already has, swept every five minutes.
    ///
    /// # Errors
    /// [`Error::TableMissing`] and [`Error::TableMismatch`], which say what to do, and faults of the
    /// system.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::r2d2::Pool;
    /// use store_sqlite::r2d2_sqlite::SqliteConnectionManager;
    /// use store_sqlite::{Error, SqliteStore};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// let pool = Pool::new(SqliteConnectionManager::file(path)).map_err(Error::backend)?;
    /// SqliteStore::create_table(&pool)?;
    /// let store = SqliteStore::new(pool)?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "New")]
    pub fn new(pool: Pool<SqliteConnectionManager>) -> Result<Self, Error> {
        SqliteOptions::new().build(pool)
    }

    /// As [`new`](Self::new), swept after each `interval`; zero means never.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    #[doc(alias = "NewWithCleanupInterval")]
    pub fn with_cleanup_interval(
        pool: Pool<SqliteConnectionManager>,
        interval: Duration,
    ) -> Result<Self, Error> {
        SqliteOptions::new().with_cleanup(CleanupOptions::new().with_interval(interval)).build(pool)
    }

    /// Opens a database file, and makes it and the table where they are missing; see
    /// [`SqliteOptions::open`].
    ///
    /// # Errors
    /// As for [`SqliteOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        SqliteOptions::new().open(path)
    }

    /// A store on a database in memory, for tests; see [`SqliteOptions::in_memory`].
    ///
    /// # Errors
    /// As for [`SqliteOptions::in_memory`].
    pub fn in_memory() -> Result<Self, Error> {
        SqliteOptions::new().in_memory()
    }

    /// The DDL of the index of subjects, which [`create_table`](Self::create_table) runs as well; Go
    /// programs know nothing of it.
    pub const CREATE_SUBJECTS_TABLE: &str = table::CREATE_SUBJECTS_TABLE;

    /// The DDL of the records of rotations, which [`create_table`](Self::create_table) runs as
    /// well; Go programs know nothing of them.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::SqliteStore;
    ///
    /// assert!(SqliteStore::CREATE_ROTATIONS_TABLE.contains("\"sessions_rotations\""));
    /// ```
    pub const CREATE_ROTATIONS_TABLE: &str = table::CREATE_ROTATIONS_TABLE;

    /// Makes the tables `sessions`, `sessions_subjects` and `sessions_rotations` and their indexes
    /// where they are missing.
    ///
    /// # Errors
    /// Faults of the system.
    pub fn create_table(pool: &Pool<SqliteConnectionManager>) -> Result<(), Error> {
        SqliteOptions::new().create_table(pool)
    }

    /// A store with options that were checked.
    pub(crate) fn with_options(
        pool: Pool<SqliteConnectionManager>,
        readers: Readers,
        options: SqliteOptions,
    ) -> Result<Self, Error> {
        let SqliteOptions { table, limits, cleanup, clock, contention_timeout, .. } = options;
        let Inspected { reader_turns, subjects, rotations } =
            inspect(&pool, &table, contention_timeout)?;
        let batch_size = i64::try_from(cleanup.batch_size().get()).unwrap_or(i64::MAX);
        let backend = Arc::new(Backend {
            statements: Statements::new(&table),
            readers,
            pool,
            table,
            limits,
            clock,
            contention_timeout,
            batch_size,
            pace: Pace::new(batch_size),
            turns: RwLock::new(()),
            reader_turns,
            subjects,
            rotations,
            line: GroupCommit::new(),
        });
        let cleanup = CleanupThread::start(cleanup, {
            let backend = Arc::clone(&backend);
            move || backend.remove_batch()
        })?;
        Ok(Self { backend, cleanup })
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("table", &self.backend.table)
            .field("limits", &self.backend.limits)
            .field("pool", &self.backend.pool.state())
            .field("cleanup", &self.cleanup)
            .finish_non_exhaustive()
    }
}

impl Store for SqliteStore {
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        let backend = &self.backend;
        let now = backend.now();
        backend.read(|connection| {
            let found = backend.find(connection, token, now)?;
            Ok(found.map(|(data, _)| data))
        })
    }

    fn load(&self, token: &str) -> Result<Loaded, Error> {
        let backend = &self.backend;
        let now = backend.now();
        backend.read(|connection| {
            if let Some((data, expiry)) = backend.find(connection, token, now)? {
                return Ok(Loaded::Live { data, expiry });
            }
            // The session may have come and gone since; what is read now is all that counts.
            match &backend.rotations {
                Some(rotations) => rotations.load(connection, token, now),
                None => Ok(Loaded::Missing),
            }
        })
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        let backend = &self.backend;
        backend.limits.check_token(token)?;
        backend.limits.check_data(data)?;
        julian::from_expiry(expiry)?;
        let (token, data) = (token.into(), data.into());
        backend.write(&Operation::Commit { token, data, expiry }).map(drop)
    }

    fn create(
        &self,
        token: &str,
        data: &[u8],
        expiry: DateTime<Utc>,
        subject: Option<&str>,
    ) -> Result<(), Error> {
        let backend = &self.backend;
        backend.limits.check_token(token)?;
        backend.limits.check_data(data)?;
        subject.map_or(Ok(()), Limits::check_subject)?;
        julian::from_expiry(expiry)?;
        if subject.is_some() {
            backend.subjects()?;
        }
        let (token, data, subject) = (token.into(), data.into(), subject.map(Into::into));
        backend.write(&Operation::Create { token, data, expiry, subject }).map(drop)
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        let backend = &self.backend;
        change.check(&backend.limits)?;
        julian::from_expiry(change.expiry)?;
        if matches!(change.subject, Some(Some(_))) {
            backend.subjects()?;
        }
        let (token, current, change) = (token.into(), current.into(), Cow::Borrowed(change));
        Ok(backend.write(&Operation::Update { token, current, change })? == 1)
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        julian::from_expiry(expiry)?;
        Ok(self.backend.write(&Operation::Touch { token: token.into(), expiry })? == 1)
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        self.backend.write(&Operation::Delete { token: token.into() }).map(drop)
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        let subjects = self.backend.subjects()?;
        let now = self.backend.now();
        self.backend.read(|connection| subjects.find(connection, subject, now))
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        self.backend.subjects()?;
        let (subject, except) = (subject.into(), except.map(Into::into));
        self.backend.write(&Operation::DeleteBySubject { subject, except })
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        delete_in_batches(|| self.backend.remove_batch())
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let mut last_row = i64::MIN;
        loop {
            // The connection goes back to the pool before the visitor runs.
            let page = self.backend.page(last_row)?;
            let (mut tokens, mut data) = (&*page.tokens, &*page.data);
            for row in &page.rows {
                let (token, other_tokens) = tokens.split_at(row.token_len);
                let (own, other_data) = data.split_at(row.data_len);
                if visit(Record::new(token, own, row.expiry)).is_break() {
                    return Ok(());
                }
                (tokens, data) = (other_tokens, other_data);
            }
            match page.more_after {
                Some(row) => last_row = row,
                None => return Ok(()),
            }
        }
    }

    /// Rows that are no sessions, because their token is no text or their data no bytes, are
    /// counted as well.
    fn count(&self) -> Result<u64, Error> {
        let backend = &self.backend;
        let now = backend.now();
        backend.read(|connection| {
            let mut statement = connection.prepare_cached(&backend.statements.count)?;
            let live: i64 = statement.query_row([now], |row| row.get(0))?;
            Ok(live.unsigned_abs())
        })
    }

    /// A sweep that waits for a connection or a lock ends when it has got it, or with the timeout.
    fn stop_cleanup(&self) {
        self.cleanup.stop();
    }

    fn cleanup_statistics(&self) -> CleanupStatistics {
        self.cleanup.statistics()
    }
}

/// What the store and its cleanup thread share. The thread holds this and never the store.
pub(crate) struct Backend {
    readers: Readers,
    pool: Pool<SqliteConnectionManager>,
    pub(crate) table: String,
    pub(crate) statements: Statements,
    limits: Limits,
    clock: Arc<dyn Clock>,
    contention_timeout: Duration,
    batch_size: i64,
    pace: Pace,
    /// SQLite has one writer at a time, and lets the others poll for their turn, which starves some of
    /// them under load. In this store they line up and share transactions instead (`line`), and where readers
    /// have to wait for writers they do it here, in a fair order.
    turns: RwLock<()>,
    reader_turns: ReaderTurns,
    /// The index of subjects, where its table was there when the store was made, or was made with
    /// it.
    pub(crate) subjects: Option<SubjectIndex>,
    /// The records of rotations, likewise.
    pub(crate) rotations: Option<Rotations>,
    line: GroupCommit<Operation<'static>, WriteResult>,
}

/// Whether readers, too, have to wait for writers.
enum ReaderTurns {
    /// In WAL mode they don't.
    None,
    /// In the other journal modes, and in a shared cache, they do.
    BetweenWriters,
}

/// The statements for one table.
pub(crate) struct Statements {
    find: String,
    pub(crate) commit: String,
    pub(crate) create: String,
    pub(crate) update: String,
    pub(crate) matching_row: String,
    pub(crate) is_live: String,
    pub(crate) rotate: String,
    pub(crate) touch: String,
    pub(crate) delete: String,
    delete_expired: String,
    page: String,
    count: String,
}

/// A part of a walk, copied so that no statement stays open while the visitor runs.
struct Page {
    /// Those of all rows, one after the other, and so is the data: a copy of each row for itself
    /// takes half as long again.
    tokens: String,
    data: Vec<u8>,
    rows: Vec<Row>,
    /// The last row of the page, if there may be more behind it.
    more_after: Option<i64>,
}

/// What a batch of a sweep has removed.
struct Removed {
    sessions: u64,
    /// Whether there may be more that has expired.
    is_full: bool,
    orphans: usize,
}

struct Row {
    token_len: usize,
    data_len: usize,
    expiry: DateTime<Utc>,
}

impl Statements {
    fn new(table: &str) -> Self {
        let on_table = |template: &str| template.replace("{table}", &table::qualified(table));
        Self {
            find: on_table(FIND),
            commit: on_table(COMMIT),
            create: on_table(CREATE),
            update: on_table(UPDATE),
            matching_row: on_table(MATCHING_ROW),
            is_live: on_table(IS_LIVE),
            rotate: on_table(ROTATE),
            touch: on_table(TOUCH),
            delete: on_table(DELETE),
            delete_expired: on_table(DELETE_EXPIRED),
            page: on_table(PAGE),
            count: on_table(COUNT),
        }
    }

    #[cfg(test)]
    fn all(&self) -> [&str; 12] {
        [
            &self.find,
            &self.commit,
            &self.create,
            &self.update,
            &self.matching_row,
            &self.is_live,
            &self.rotate,
            &self.touch,
            &self.delete,
            &self.delete_expired,
            &self.page,
            &self.count,
        ]
    }
}

impl Backend {
    pub(crate) fn now(&self) -> f64 {
        julian::from_now(self.clock.now())
    }

    /// The index of subjects.
    fn subjects(&self) -> Result<&SubjectIndex, Error> {
        self.subjects
            .as_ref()
            .ok_or_else(|| Error::TableMissing { table: table::subjects_name(&self.table) })
    }

    /// The data and the expiry of a live session.
    fn find(
        &self,
        connection: &Connection,
        token: &str,
        now: f64,
    ) -> SqliteResult<Option<(Vec<u8>, DateTime<Utc>)>> {
        let mut statement = connection.prepare_cached(&self.statements.find)?;
        let found = statement.query_row(params![token, now], |row| {
            let Some(data) = bytes(row.get_ref(0)?) else { return Ok(None) };
            Ok(Some((data.to_vec(), julian::to_instant(row.get(1)?))))
        });
        Ok(found.optional()?.flatten())
    }

    /// Runs an operation that reads, as often as contention makes necessary.
    fn read<T>(&self, operation: impl Fn(&Connection) -> SqliteResult<T>) -> Result<T, Error> {
        match self.reader_turns {
            ReaderTurns::None => match self.readers.place() {
                Some(mut place) => {
                    let connection = match &mut *place {
                        Some(connection) => connection,
                        empty => empty.insert(checkout(&self.pool)?),
                    };
                    self.run_on(connection, Duration::ZERO, operation)
                }
                None => self.run(Duration::ZERO, operation),
            },
            ReaderTurns::BetweenWriters => {
                let started = Instant::now();
                let _turn = self
                    .turns
                    .try_read_for(self.contention_timeout)
                    .ok_or_else(|| self.gave_up_waiting())?;
                self.run(started.elapsed(), operation)
            }
        }
    }

    /// Does one operation, together with those of other threads that come at the same time.
    fn write(&self, operation: &Operation<'_>) -> WriteResult {
        let together = |operations: Vec<Operation<'static>>| self.write_together(&operations);
        self.line
            .submit(
                self.contention_timeout,
                || self.write_alone(operation),
                || operation.to_static(),
                together,
            )
            .unwrap_or_else(|error| Err(error.into()))
    }

    fn write_alone(&self, operation: &Operation<'_>) -> WriteResult {
        let has_side_tables = self.subjects.is_some() || self.rotations.is_some();
        if write::is_single_statement(operation, has_side_tables) {
            self.write_on_connection(|connection| {
                write::execute(operation, self, connection, self.now())
            })?
        } else {
            self.transact(|connection, now| write::execute(operation, self, connection, now))?
        }
    }

    /// Does the operations in one transaction. Where one of them fails, each is tried in a
    /// transaction of its own, so that each has its own error, and none fails because of another.
    /// Where the database wasn't to be had, all of them have waited for it.
    fn write_together(&self, operations: &[Operation<'static>]) -> Vec<WriteResult> {
        let together = self.transact(|connection, now| {
            operations
                .iter()
                .map(|operation| write::execute(operation, self, connection, now))
                .collect::<SqliteResult<_>>()
        });
        match together {
            Ok(written) => written,
            Err(error) if error.is_retryable() => {
                operations.iter().map(|_| Err(error.clone())).collect()
            }
            Err(_) => operations.iter().map(|operation| self.write_alone(operation)).collect(),
        }
    }

    /// Runs an operation in a transaction, with the time at which it has the database for itself. A time from
    /// before the wait for that could take a session for live that has expired meanwhile.
    fn transact<T>(
        &self,
        operation: impl Fn(&Connection, f64) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        self.write_on_connection(|connection| {
            let transaction =
                Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let outcome = operation(connection, self.now())?;
            transaction.commit()?;
            Ok(outcome)
        })
    }

    fn write_on_connection<T>(
        &self,
        operation: impl Fn(&Connection) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        // Before the checkout, so that waiting writers leave the connections to the readers.
        let _turn = self
            .turns
            .try_write_for(self.contention_timeout)
            .ok_or_else(|| self.gave_up_waiting())?;
        self.run(started.elapsed(), operation)
    }

    /// Runs an operation as often as contention makes necessary, for what is left of the timeout.
    fn run<T>(
        &self,
        waited: Duration,
        operation: impl Fn(&Connection) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        let connection = checkout(&self.pool)?;
        self.run_on(&connection, waited, operation)
    }

    fn run_on<T>(
        &self,
        connection: &Connection,
        waited: Duration,
        operation: impl Fn(&Connection) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        if !connection.is_autocommit() {
            // What is written now would be gone with a transaction that isn't ours.
            return Err(Error::backend("the pool gave out a connection with an open transaction"));
        }
        retry_contention(self.contention_timeout.saturating_sub(waited), || operation(connection))
            .map_err(|error| {
                error::of_statement(error, connection, &self.table, &self.side_tables())
            })
    }

    /// The names of the tables beside the classic one that the store uses.
    fn side_tables(&self) -> Vec<String> {
        let subjects = self.subjects.iter().map(|_| table::subjects_name(&self.table));
        let rotations = self.rotations.iter().map(|_| table::rotations_name(&self.table));
        subjects.chain(rotations).collect()
    }

    fn gave_up_waiting(&self) -> Error {
        let timeout = self.contention_timeout;
        Error::Contended {
            source: format!("waited {timeout:?} for this process's other writers").into(),
        }
    }

    fn remove_batch(&self) -> Result<Batch, Error> {
        let rows = self.pace.rows();
        let (removed, began, removal) = self.transact(|connection, now| {
            let began = Instant::now();
            let removed = self.remove_expired(connection, now, rows)?;
            Ok((removed, began, began.elapsed()))
        })?;
        let commit = began.elapsed().saturating_sub(removal);
        let is_waited_for = self.line.is_busy();
        if removed.is_full {
            self.pace.learn(Took { removal, commit, is_waited_for });
        }
        let more = removed.is_full || removed.orphans > 0;
        Ok(Batch { removed: removed.sessions, has_more: more })
    }

    /// Removes expired sessions and their subjects, and then, within the same number of rows,
    /// records of rotations.
    fn remove_expired(
        &self,
        connection: &Connection,
        now: f64,
        rows: i64,
    ) -> SqliteResult<Removed> {
        if let Some(subjects) = &self.subjects {
            subjects.delete_expired(connection, now, rows)?;
        }
        let mut statement = connection.prepare_cached(&self.statements.delete_expired)?;
        let sessions = statement.execute(params![now, rows])? as u64;
        let left = rows.saturating_sub_unsigned(sessions);
        let mut removed = Removed { sessions, is_full: left <= 0, orphans: 0 };
        if removed.is_full {
            return Ok(removed);
        }
        if let Some(rotations) = &self.rotations {
            let records = rotations.delete_expired(connection, now, left)? as u64;
            removed.is_full = records >= left.unsigned_abs();
        }
        // Once the expired ones are gone.
        if let Some(subjects) = &self.subjects {
            removed.orphans = subjects.sweep_orphans(connection, self.batch_size)?;
        }
        Ok(removed)
    }

    fn page(&self, after: i64) -> Result<Page, Error> {
        let now = self.now();
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&self.statements.page)?;
            let mut found = statement.query(params![after, now])?;
            let (tokens, data, rows) = (String::new(), Vec::new(), Vec::with_capacity(PAGE_ROWS));
            let mut page = Page { tokens, data, rows, more_after: None };
            while let Some(row) = found.next()? {
                if let ValueRef::Text(token) = row.get_ref(1)?
                    && let Ok(token) = str::from_utf8(token)
                    && let Some(data) = bytes(row.get_ref(2)?)
                {
                    page.tokens.push_str(token);
                    page.data.extend_from_slice(data);
                    let expiry = julian::to_instant(row.get(3)?);
                    page.rows.push(Row { token_len: token.len(), data_len: data.len(), expiry });
                }
                if page.rows.len() >= PAGE_ROWS || page.data.len() >= PAGE_BYTES {
                    page.more_after = Some(row.get(0)?);
                    break;
                }
            }
            Ok(page)
        })
    }
}

/// The data of a session; others may have written it as text. NULL and numbers are none.
pub(crate) fn bytes(data: ValueRef<'_>) -> Option<&[u8]> {
    match data {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Some(bytes),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
    }
}

fn checkout(
    pool: &Pool<SqliteConnectionManager>,
) -> Result<PooledConnection<SqliteConnectionManager>, Error> {
    let started = Instant::now();
    pool.get().map_err(|error| error::of_checkout(error, pool, started.elapsed()))
}

/// What was found out about a database.
struct Inspected {
    reader_turns: ReaderTurns,
    subjects: Option<SubjectIndex>,
    rotations: Option<Rotations>,
}

/// Finds a table that can't keep sessions now, and not at the first request. Makes those beside it
/// where they are missing.
fn inspect(
    pool: &Pool<SqliteConnectionManager>,
    table: &str,
    contention_timeout: Duration,
) -> Result<Inspected, Error> {
    let connection = checkout(pool)?;
    let mode: String = retry_contention(contention_timeout, || {
        connection.pragma_query_value(None, "journal_mode", |row| row.get(0))
    })
    .map_err(error::of_sqlite)?;
    check_table(&connection, table, contention_timeout)?;
    let has = |name: &str, ddl: &str, statements: &[&str]| {
        let ddl = table::ddl_for(table, ddl);
        let exists = || table::exists_or_is_made(&connection, name, &ddl);
        let exists = retry_contention(contention_timeout, exists).map_err(error::of_sqlite)?;
        if exists {
            retry(contention_timeout, is_contended, || {
                table::check_side_table(&connection, name, &ddl, statements)
            })?;
        }
        Ok::<_, Error>(exists)
    };
    let subjects = SubjectIndex::new(table);
    let name = table::subjects_name(table);
    let has_subjects = has(&name, table::CREATE_SUBJECTS_TABLE, &subjects.statements())?;
    let rotations = Rotations::new(table);
    let name = table::rotations_name(table);
    let has_rotations = has(&name, table::CREATE_ROTATIONS_TABLE, &rotations.statements())?;

    let is_wal = mode.eq_ignore_ascii_case("wal");
    Ok(Inspected {
        reader_turns: if is_wal { ReaderTurns::None } else { ReaderTurns::BetweenWriters },
        subjects: has_subjects.then_some(subjects),
        rotations: has_rotations.then_some(rotations),
    })
}

/// As [`table::check`], as often as contention makes necessary.
pub(crate) fn check_table(
    connection: &Connection,
    table: &str,
    contention_timeout: Duration,
) -> Result<(), Error> {
    retry(contention_timeout, is_contended, || table::check(connection, table))
}

fn is_contended(error: &Error) -> bool {
    matches!(error, Error::Contended { .. })
}

/// Repeats what another connection was in the way of, until the timeout.
pub(crate) fn retry_contention<T>(
    timeout: Duration,
    operation: impl FnMut() -> SqliteResult<T>,
) -> SqliteResult<T> {
    retry(timeout, error::is_contention, operation)
}

fn retry<T, E>(
    timeout: Duration,
    is_contention: impl Fn(&E) -> bool,
    mut operation: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    // Nearly always the first attempt is the last one, and needs no clock.
    match operation() {
        Err(error) if is_contention(&error) => {}
        outcome => return outcome,
    }
    let started = Instant::now();
    // Often, because another process may leave the lock free for microseconds only; and cheap,
    // because of a store's writers one at a time waits like this.
    let backoff = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(1))
        .with_max_delay(Duration::from_millis(5))
        .without_max_times()
        .with_jitter();
    operation
        .retry(backoff)
        .when(|error| is_contention(error) && started.elapsed() < timeout)
        .call()
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;
    use std::num::NonZeroU32;
    use std::sync::Barrier;
    use std::thread;

    use chrono::TimeDelta;
    use store_core::Rotation;

    use super::*;
    use crate::options::STATEMENTS;

    #[test]
    fn readers_go_on_while_a_writer_waits_for_another_process() -> Result<(), Box<dyn StdError>> {
        const READERS: usize = 4;
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("app.db");
        // One place for readers, and two connections in the pool.
        let store = SqliteOptions::new()
            .with_max_connections(NonZeroU32::MIN.saturating_add(2))
            .with_connection_timeout(Duration::from_secs(10))
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
            while store.backend.pool.state().idle_connections > 0 {
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
        let update = |token: &'static str, change: Change<'static>| Operation::Update {
            token: token.into(),
            current: b"data".into(),
            change: Cow::Owned(change),
        };
        let login = |new_token: &'static str| {
            Change::new(b"new", in_an_hour)
                .with_rotation(Rotation::new(new_token))
                .with_subject(Some("user"))
        };
        let written = store.backend.write_together(&[
            update("first", login("taken").absorbing("other", b"data")),
            update("first", login("new").absorbing("other", b"stale")),
            update("first", login("new").absorbing("first", b"data")),
            update("first", login("other").absorbing("other", b"data")),
            Operation::Create {
                token: "taken".into(),
                data: b"new".into(),
                expiry: in_an_hour,
                subject: None,
            },
            update("second", login("second-new")),
            update("second", login("late")),
            Operation::Delete { token: "second".into() },
            update("third", login("third-new").absorbing("taken", b"data")),
        ]);
        let written: Vec<_> = written.iter().map(Result::as_ref).collect();
        assert!(
            matches!(
                written[..],
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
            "{written:?}"
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

    #[test]
    fn every_statement_finds_its_rows_by_an_index() -> SqliteResult<()> {
        // The Go store's table without its NOT NULL, which turns `expiry IS NULL` into a constant that
        // the plan shows as a scan; and one whose token has no type.
        let classic = table::CREATE_TABLE.replace(" NOT NULL", "");
        for ddl in [&classic, &classic.replace("token TEXT", "token")] {
            let connection = Connection::open_in_memory()?;
            connection.execute_batch(ddl)?;
            connection.execute_batch(table::CREATE_SUBJECTS_TABLE)?;
            connection.execute_batch(table::CREATE_ROTATIONS_TABLE)?;
            let (statements, subjects, rotations) = (
                Statements::new("sessions"),
                SubjectIndex::new("sessions"),
                Rotations::new("sessions"),
            );
            let all = [&statements.all()[..], &subjects.statements(), &rotations.statements()];
            let all = all.concat();
            assert!(all.len() <= STATEMENTS);
            for sql in all {
                let plan = plan(&connection, sql)?;
                // The page of the index of subjects is read from end to end.
                let is_page_end = sql.contains("max(token)");
                let scans = plan.iter().any(|step| {
                    step.contains("SCAN") && !(is_page_end && step.contains("SCAN (sub"))
                });
                assert!(!scans, "{sql}: {plan:?}");
                assert!(!plan.iter().any(|step| step.contains("AUTOMATIC")), "{sql}: {plan:?}");
                assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{sql}: {plan:?}");
            }
        }
        Ok(())
    }

    fn plan(connection: &Connection, sql: &str) -> SqliteResult<Vec<String>> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
        statement.raw_query().mapped(|row| row.get(3)).collect()
    }
}

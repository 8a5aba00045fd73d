//! The store and its statements.

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
    CachedStatement, Connection, OptionalExtension, Result as SqliteResult, Transaction,
    TransactionBehavior, params,
};
use store_core::{
    Batch, Cleanup, CleanupOptions, CleanupStatistics, Clock, Error, GroupCommit, Limits, Record,
    Store, sweep,
};

use crate::options::SqliteOptions;
use crate::pace::{Pace, Took};
use crate::readers::Readers;
use crate::subjects::SubjectIndex;
use crate::write::{self, Change, Written};
use crate::{fault, julian, table};

// The statements, in the order of the trait; `{table}` is the qualified, quoted name. Tokens are compared
// byte for byte, whatever collation the column was declared with. A session is live where
// `expiry > now` and the expiry is a day that SQLite's calendar has: text and blobs, which compare greater
// than every number, NULL, and infinity are none. 5373484.5 is the first day of the year 10000.

const FIND: &str = "SELECT data, expiry FROM {table} \
    WHERE token = ?1 COLLATE BINARY AND expiry > ?2 AND expiry < 5373484.5";

// The alias, because a table may be named `excluded`.
const COMMIT: &str = "INSERT INTO {table} AS stored (token, data, expiry) VALUES (?1, ?2, ?3) \
    ON CONFLICT (token) DO UPDATE SET data = excluded.data, expiry = excluded.expiry";

// Others may have written the data as text; `find` gives its bytes, so they are what is compared.
const REPLACE: &str = "UPDATE {table} SET data = ?3, expiry = ?4 \
    WHERE token = ?1 COLLATE BINARY AND CAST(data AS BLOB) = ?2 AND expiry > ?5 AND expiry < 5373484.5";

const TOUCH: &str = "UPDATE {table} SET expiry = ?2 \
    WHERE token = ?1 COLLATE BINARY AND expiry > ?3 AND expiry < 5373484.5";

const IS_LIVE: &str = "SELECT 1 FROM {table} \
    WHERE token = ?1 COLLATE BINARY AND expiry > ?2 AND expiry < 5373484.5";

const RENAME: &str = "UPDATE {table} SET token = ?2 WHERE token = ?1 COLLATE BINARY";

const DELETE: &str = "DELETE FROM {table} WHERE token = ?1 COLLATE BINARY";

// Three ranges of the index rather than one OR, for which SQLite would read the whole index.
const DELETE_EXPIRED: &str = "DELETE FROM {table} WHERE rowid IN ( \
    SELECT rowid FROM {table} WHERE expiry <= ?1 \
    UNION ALL SELECT rowid FROM {table} WHERE expiry >= 5373484.5 \
    UNION ALL SELECT rowid FROM {table} WHERE expiry IS NULL LIMIT ?2)";

// In the order of rowids, which an upsert and a rename leave alone, so that a walk meets a session once
// even if its token changes meanwhile. The plus keeps the index on expiry out of it.
const PAGE: &str = "SELECT rowid, token, data, expiry FROM {table} \
    WHERE rowid > ?1 AND +expiry > ?2 AND +expiry < 5373484.5 ORDER BY rowid";

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
/// Rows that others wrote with an expiry that is no such day (NULL, text, a blob, infinity, a year after
/// 9999) count as expired: they are never found, and the next sweep removes them. Rows whose token is no
/// UTF-8 text, or whose data is NULL or a number, are no sessions either; they stay until they expire.
///
/// # Concurrency
/// Any number of threads and processes may use one file. A writer that finds the database locked waits and
/// tries again until the [contention timeout](SqliteOptions::with_contention_timeout); then the error is
/// [`Error::Contended`]. Threads of one store take turns instead of polling, so none of them starves. Statements with more than one part run in `IMMEDIATE` transactions; no lookup
/// writes.
///
/// A walk meets each session once, also if it is overwritten, touched or renamed meanwhile by stores of
/// this family. The Go store replaces a row by a new one: a session that a Go process commits during the
/// walk can be met a second time.
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
    cleanup: Cleanup,
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

    /// The DDL of the index of subjects, which [`create_table`](Self::create_table) runs as well; Go programs know
    /// nothing of it.
    pub const CREATE_SUBJECTS_TABLE: &str = table::CREATE_SUBJECTS_TABLE;

    /// Makes the tables `sessions` and `sessions_subjects` and their indexes where they are missing.
    ///
    /// # Errors
    /// Faults of the system.
    pub fn create_table(pool: &Pool<SqliteConnectionManager>) -> Result<(), Error> {
        SqliteOptions::new().create_table(pool)
    }

    /// Ends the cleanup thread and returns once it has ended; see [`Cleanup::stop`]. Dropping the store
    /// does the same. A sweep that waits for a connection or a lock ends when it has got it, or with the
    /// timeout.
    #[doc(alias = "StopCleanup")]
    pub fn stop_cleanup(&self) {
        self.cleanup.stop();
    }

    /// What the cleanup thread has done so far.
    #[must_use]
    pub fn cleanup_statistics(&self) -> CleanupStatistics {
        self.cleanup.statistics()
    }

    /// A store with options that were checked.
    pub(crate) fn with_options(
        pool: Pool<SqliteConnectionManager>,
        readers: Readers,
        options: SqliteOptions,
    ) -> Result<Self, Error> {
        let SqliteOptions { table, limits, cleanup, clock, contention_timeout, .. } = options;
        let (reader_turns, has_subjects) = inspect(&pool, &table, contention_timeout)?;
        let batch_size = i64::try_from(cleanup.batch_size().get()).unwrap_or(i64::MAX);
        let subjects = has_subjects.then(|| SubjectIndex::new(&table));
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
            line: GroupCommit::new(),
        });
        let cleanup = Cleanup::start(cleanup, {
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
    fn find_with_expiry(&self, token: &str) -> Result<Option<(Vec<u8>, DateTime<Utc>)>, Error> {
        let backend = &self.backend;
        let now = backend.now();
        backend.read(&backend.statements.find, |statement| {
            let found = statement.query_row(params![token, now], |row| {
                let Some(data) = bytes(row.get_ref(0)?) else { return Ok(None) };
                Ok(Some((data.to_vec(), julian::to_instant(row.get(1)?))))
            });
            Ok(found.optional()?.flatten())
        })
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        let backend = &self.backend;
        backend.limits.check_token(token)?;
        backend.limits.check_data(data)?;
        let expiry = julian::from_expiry(expiry)?;
        backend.write(&Change::Commit { token: token.into(), data: data.into(), expiry }).map(drop)
    }

    fn replace(
        &self,
        token: &str,
        current: &[u8],
        data: &[u8],
        expiry: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let backend = &self.backend;
        backend.limits.check_data(data)?;
        let expiry = julian::from_expiry(expiry)?;
        let (token, current, data) = (token.into(), current.into(), data.into());
        Ok(backend.write(&Change::Replace { token, current, data, expiry })? == 1)
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        let expiry = julian::from_expiry(expiry)?;
        Ok(self.backend.write(&Change::Touch { token: token.into(), expiry })? == 1)
    }

    fn rename(&self, token: &str, new_token: &str) -> Result<bool, Error> {
        self.backend.limits.check_token(new_token)?;
        let (token, new_token) = (token.into(), new_token.into());
        Ok(self.backend.write(&Change::Rename { token, new_token })? == 1)
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        self.backend.write(&Change::Delete { token: token.into() }).map(drop)
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        sweep(|| self.backend.remove_batch())
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
    /// The index of subjects, where its table was there when the store was made.
    pub(crate) subjects: Option<SubjectIndex>,
    line: GroupCommit<Change<'static>, Written>,
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
    pub(crate) replace: String,
    pub(crate) touch: String,
    is_live: String,
    pub(crate) rename: String,
    pub(crate) delete: String,
    delete_expired: String,
    page: String,
}

/// A part of a walk, copied so that no statement stays open while the visitor runs.
struct Page {
    /// Those of all rows, one after the other, and so is the data: a copy of each row for itself takes half as long again.
    tokens: String,
    data: Vec<u8>,
    rows: Vec<Row>,
    /// The last row of the page, if there may be more behind it.
    more_after: Option<i64>,
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
            replace: on_table(REPLACE),
            touch: on_table(TOUCH),
            is_live: on_table(IS_LIVE),
            rename: on_table(RENAME),
            delete: on_table(DELETE),
            delete_expired: on_table(DELETE_EXPIRED),
            page: on_table(PAGE),
        }
    }
}

impl Backend {
    pub(crate) fn now(&self) -> f64 {
        julian::from_now(self.clock.now())
    }

    /// Runs a statement that reads, as often as contention makes necessary.
    pub(crate) fn read<T>(
        &self,
        sql: &str,
        operation: impl Fn(&mut CachedStatement<'_>) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        let operation = |connection: &Connection| operation(&mut connection.prepare_cached(sql)?);
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

    /// Does one change, together with those of other threads that come at the same time.
    pub(crate) fn write(&self, change: &Change<'_>) -> Written {
        let together = |changes: Vec<Change<'static>>| self.write_together(&changes);
        self.line
            .submit(
                self.contention_timeout,
                || self.write_alone(change),
                || change.to_owned(),
                together,
            )
            .unwrap_or_else(|error| Err(error.into()))
    }

    fn write_alone(&self, change: &Change<'_>) -> Written {
        if write::is_single_statement(change, self.subjects.is_some()) {
            self.write_on_connection(|connection| {
                write::execute(change, self, connection, self.now())
            })?
        } else {
            self.transact(|connection, now| write::execute(change, self, connection, now))?
        }
    }

    /// Does the changes in one transaction. Where one of them fails, each is tried in a transaction of its own, so that
    /// each has its own error, and none fails because of another. Where the database wasn't to be had, all of them have
    /// waited for it.
    fn write_together(&self, changes: &[Change<'static>]) -> Vec<Written> {
        let together = self.transact(|connection, now| {
            changes
                .iter()
                .map(|change| write::execute(change, self, connection, now))
                .collect::<SqliteResult<_>>()
        });
        match together {
            Ok(written) => written,
            Err(error) if error.is_retryable() => {
                let error = Arc::new(error);
                changes.iter().map(|_| Err(Error::shared(&error))).collect()
            }
            Err(_) => changes.iter().map(|change| self.write_alone(change)).collect(),
        }
    }

    pub(crate) fn is_live(
        &self,
        connection: &Connection,
        token: &str,
        now: f64,
    ) -> SqliteResult<bool> {
        connection.prepare_cached(&self.statements.is_live)?.exists(params![token, now])
    }

    /// Runs an operation in a transaction, with the time at which it has the database for itself. A time from
    /// before the wait for that could take a session for live that has expired meanwhile.
    pub(crate) fn transact<T>(
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
            .map_err(|error| fault::of_statement(error, connection, &self.table))
    }

    fn gave_up_waiting(&self) -> Error {
        let timeout = self.contention_timeout;
        Error::Contended {
            source: format!("waited {timeout:?} for this process's other writers").into(),
        }
    }

    fn remove_batch(&self) -> Result<Batch, Error> {
        let rows = self.pace.rows();
        let (removed, orphans, began, removal) = self.transact(|connection, now| {
            let began = Instant::now();
            if let Some(subjects) = &self.subjects {
                subjects.delete_expired(connection, now, rows)?;
            }
            let mut statement = connection.prepare_cached(&self.statements.delete_expired)?;
            let removed = statement.execute(params![now, rows])? as u64;
            let removal = began.elapsed();
            let orphans = match &self.subjects {
                // Once the expired ones are gone.
                Some(subjects) if removed < rows.unsigned_abs() => {
                    subjects.sweep_orphans(connection, self.batch_size)?
                }
                _ => 0,
            };
            Ok((removed, orphans, began, removal))
        })?;
        let commit = began.elapsed().saturating_sub(removal);
        let is_waited_for = self.line.is_led();
        let is_full = removed >= rows.unsigned_abs();
        if is_full {
            self.pace.learn(Took { removal, commit, is_waited_for });
        }
        Ok(Batch { removed, more: is_full || orphans > 0 })
    }

    fn page(&self, after: i64) -> Result<Page, Error> {
        let now = self.now();
        self.read(&self.statements.page, |statement| {
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
fn bytes(data: ValueRef<'_>) -> Option<&[u8]> {
    match data {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Some(bytes),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
    }
}

fn checkout(
    pool: &Pool<SqliteConnectionManager>,
) -> Result<PooledConnection<SqliteConnectionManager>, Error> {
    let started = Instant::now();
    pool.get().map_err(|error| fault::of_checkout(error, pool, started.elapsed()))
}

/// Finds a table that can't keep sessions now, and not at the first request.
fn inspect(
    pool: &Pool<SqliteConnectionManager>,
    table: &str,
    contention_timeout: Duration,
) -> Result<(ReaderTurns, bool), Error> {
    let connection = checkout(pool)?;
    let mode: String = retry_contention(contention_timeout, || {
        connection.pragma_query_value(None, "journal_mode", |row| row.get(0))
    })
    .map_err(fault::of_sqlite)?;
    check_table(&connection, table, contention_timeout)?;
    let has_subjects =
        retry_contention(contention_timeout, || table::has_subjects(&connection, table))
            .map_err(fault::of_sqlite)?;
    let is_wal = mode.eq_ignore_ascii_case("wal");
    let reader_turns = if is_wal { ReaderTurns::None } else { ReaderTurns::BetweenWriters };
    Ok((reader_turns, has_subjects))
}

/// As [`table::check`], as often as contention makes necessary.
pub(crate) fn check_table(
    connection: &Connection,
    table: &str,
    contention_timeout: Duration,
) -> Result<(), Error> {
    let is_contention = |error: &Error| matches!(error, Error::Contended { .. });
    retry(contention_timeout, is_contention, || table::check(connection, table))
}

/// Repeats what another connection was in the way of, until the timeout.
pub(crate) fn retry_contention<T>(
    timeout: Duration,
    operation: impl FnMut() -> SqliteResult<T>,
) -> SqliteResult<T> {
    retry(timeout, fault::is_contention, operation)
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
    let backoff = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(1))
        .with_max_delay(Duration::from_millis(50))
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

    use super::*;

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
    fn every_statement_finds_its_rows_by_an_index() -> SqliteResult<()> {
        let connection = Connection::open_in_memory()?;
        // The Go store's table without its NOT NULL, which turns `expiry IS NULL` into a constant that
        // the plan shows as a scan.
        connection.execute_batch(&table::CREATE_TABLE.replace(" NOT NULL", ""))?;
        let Statements {
            find,
            commit,
            replace,
            touch,
            is_live,
            rename,
            delete,
            delete_expired,
            page,
        } = Statements::new("sessions");
        for sql in [find, commit, replace, touch, is_live, rename, delete, delete_expired, page] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let plan: Vec<String> =
                statement.raw_query().mapped(|row| row.get(3)).collect::<SqliteResult<_>>()?;
            assert!(!plan.iter().any(|step| step.contains("SCAN")), "{sql}: {plan:?}");
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{sql}: {plan:?}");
        }
        Ok(())
    }
}

//! The store and its statements.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use mysql::prelude::Queryable;
use mysql::{Result as DriverResult, Row, Value};
use r2d2::Pool;
use store_core::{
    Batch, Cleanup, CleanupOptions, CleanupStatistics, Error, Limits, Record, Store, TokenProblem,
    sweep,
};

use crate::attempts::{Attempts, Ended, Repetition, checkout};
use crate::connection::{Changed, Connection, MARK, Sql};
use crate::fault::{self, Outcome};
use crate::manager::{MysqlConnectionManager, Servers};
use crate::options::MysqlOptions;
use crate::subjects::SubjectIndex;
use crate::table::{self, Table, TableVariant};
use crate::time;

// The statements, in the order of the trait; `{table}` is the quoted name. The server's clock decides what is live:
// `expiry > UTC_TIMESTAMP(6)`. All of them run in the time zone +00:00.
//
// `{is_token}` compares bytes, which the column itself may not: on the classic table `a`, `A` and `á` are the same token.
// `{mark}` is true, and says in the server's reply that a row was matched; see `MARK`. It stands in an assignment, which is
// computed for such rows alone, while the parts of a WHERE are computed in any order.

const FIND: &str =
    "SELECT token, data, expiry FROM {table} WHERE token = ? AND expiry > UTC_TIMESTAMP(6)";

// Values are bound twice, because what VALUES() and a row alias are called differs from server to server. Where the row that
// is in the way is another token's, the last number is too large for any type, which is an error in every mode; one that no
// trigger can hide, as it could a mark.
const COMMIT: &str = "INSERT INTO {table} (token, data, expiry) VALUES (?, ?, ?) \
    ON DUPLICATE KEY UPDATE data = ?, expiry = ?, \
        token = IF({is_token}, token, 18446744073709551615 + CHAR_LENGTH(token))";

// The expiry is always set, because old MariaDB sets a TIMESTAMP to the present wherever it isn't.
const REPLACE: &str = "UPDATE {table} SET data = ?, expiry = ?, token = IF({mark}, token, token) \
    WHERE token = ? AND {is_token} AND data = ? AND expiry > UTC_TIMESTAMP(6)";

const TOUCH: &str = "UPDATE {table} SET expiry = ?, token = IF({mark}, token, token) \
    WHERE token = ? AND {is_token} AND data IS NOT NULL AND expiry > UTC_TIMESTAMP(6)";

const RENAME: &str = "UPDATE {table} SET expiry = expiry, token = IF({mark}, ?, token) \
    WHERE token = ? AND {is_token} AND expiry > UTC_TIMESTAMP(6)";

const IS_LIVE: &str = "SELECT token FROM {table} \
    WHERE token = ? AND data IS NOT NULL AND expiry > UTC_TIMESTAMP(6) FOR UPDATE";

// Whatever token of the column's collation is in the way.
const DELETE_IF_EXPIRED: &str =
    "DELETE FROM {table} WHERE token = ? AND expiry <= UTC_TIMESTAMP(6)";

const DELETE: &str = "DELETE FROM {table} WHERE token = ? AND {is_token}";

// A page of keys first, and then those keys alone: a DELETE that looks for its rows by the expiry locks what lies between
// them and deadlocks with writers, with a LIMIT all the more.
const EXPIRED: &str = "SELECT token FROM {table} \
    WHERE expiry <= UTC_TIMESTAMP(6) AND token IS NOT NULL ORDER BY expiry LIMIT ?";

const DELETE_EXPIRED: &str =
    "DELETE FROM {table} WHERE token IN ({tokens}) AND expiry <= UTC_TIMESTAMP(6)";

const PAGE: &str = "SELECT token, data, expiry FROM {table} FORCE INDEX (`{token_index}`) \
    WHERE token > ? AND expiry > ? ORDER BY token LIMIT 500";

/// A statement has at most 65,535 parameters.
const MAX_BATCH: usize = 10_000;

/// A session store on a table of MySQL or MariaDB: the one of the Go store `mysqlstore`, as it stands, or the hardened one
/// that [`create_table`](Self::create_table) makes.
///
/// # What it keeps, and how
/// The server's clock decides what is live. An expiry is a date and time in UTC, rounded down to the digits of the column
/// (microseconds in the documented tables); `replace` makes it up to a millisecond earlier, to know its own write again.
/// Neither the time zone nor the `sql_mode` of the server plays a part, because each connection sets its own. What the
/// columns can't hold unchanged is refused: see [`limits`](Self::limits) and [`TableVariant`]. Tokens are visible ASCII characters without spaces (as every session manager makes them); any other is
/// [`Error::InvalidToken`], and finds nothing.
///
/// # Round trips
/// `find`, `commit`, `replace`, `touch` and `delete` take one each.
///
/// # Trouble
/// A deadlock, a lock that is waited for too long, a server that restarts and a connection that the server closed are
/// tried again, until the [operation timeout](MysqlOptions::with_operation_timeout). A write whose reply was lost is made again
/// only where twice is the same as once; `replace` and `rename` look first. A connection whose reply didn't come in time is never
/// used again.
///
/// # Examples
/// ```no_run
/// use chrono::{TimeDelta, Utc};
/// use store_mysql::{MysqlStore, Store};
///
/// let store = MysqlStore::connect("mysql://app:secret@db.example/app")?;
/// store.commit("token", b"data", Utc::now() + TimeDelta::hours(24))?;
/// assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
/// # Ok::<(), store_mysql::Error>(())
/// ```
#[doc(alias = "MySQLStore")]
#[doc(alias = "mysqlstore")]
pub struct MysqlStore {
    pub(crate) backend: Arc<Backend>,
    cleanup: Cleanup,
}

impl MysqlStore {
    /// The DDL of the hardened table, which [`create_table`](Self::create_table) runs. The Go store can use it unchanged.
    pub const CREATE_TABLE: &str = table::CREATE_TABLE;

    /// The DDL of the index of subjects, which [`create_table`](Self::create_table) runs as well; Go programs know nothing
    /// of it.
    pub const CREATE_SUBJECTS_TABLE: &str = table::CREATE_SUBJECTS_TABLE;

    /// Connects to a server, or to the nodes of a cluster, and uses the table `sessions` there; see
    /// [`MysqlOptions::connect`].
    ///
    /// # Errors
    /// As for [`MysqlOptions::connect`].
    pub fn connect(url: &str) -> Result<Self, Error> {
        MysqlOptions::new().connect(url)
    }

    /// A store on a pool that the application has made, swept every five minutes.
    ///
    /// # Errors
    /// [`Error::TableMissing`] and [`Error::TableMismatch`], which say what to do, and faults of the system.
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::r2d2::Pool;
    /// use store_mysql::{Error, MysqlConnectionManager, MysqlStore};
    ///
    /// let manager = MysqlConnectionManager::new("mysql://app:secret@db.example/app")?;
    /// let pool = Pool::new(manager).map_err(Error::backend)?;
    /// let store = MysqlStore::new(pool)?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "New")]
    pub fn new(pool: Pool<MysqlConnectionManager>) -> Result<Self, Error> {
        MysqlOptions::new().build(pool)
    }

    /// As [`new`](Self::new), swept after each `interval`; zero means never.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    #[doc(alias = "NewWithCleanupInterval")]
    pub fn with_cleanup_interval(
        pool: Pool<MysqlConnectionManager>,
        interval: Duration,
    ) -> Result<Self, Error> {
        MysqlOptions::new().with_cleanup(CleanupOptions::new().with_interval(interval)).build(pool)
    }

    /// Makes the tables `sessions` and `sessions_subjects` where they are missing, and says which variant is there now; a
    /// table that is there already stays as it is.
    ///
    /// # Errors
    /// As for [`MysqlOptions::create_table`].
    pub fn create_table(pool: &Pool<MysqlConnectionManager>) -> Result<TableVariant, Error> {
        MysqlOptions::new().create_table(pool)
    }

    /// Which table the store has found.
    #[must_use]
    pub fn table_variant(&self) -> TableVariant {
        self.backend.table.variant
    }

    /// The largest token and data that the store takes: what the options allow, the columns hold, and the server's
    /// `max_allowed_packet` lets through.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.backend.table.limits
    }

    /// Ends the cleanup thread and returns once it has ended; see [`Cleanup::stop`]. Dropping the store does the same. A
    /// sweep that waits for the server ends when it has the reply, or with the timeout.
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
        pool: Pool<MysqlConnectionManager>,
        options: MysqlOptions,
    ) -> Result<Self, Error> {
        let MysqlOptions { table, limits, cleanup, operation_timeout, .. } = options;
        let mut connection = checkout(&pool, pool.connection_timeout())?;
        let table = table::inspect(&mut connection, &table, limits)?;
        let servers = Arc::clone(connection.servers());
        drop(connection);
        log::debug!(
            "sessions are kept in {:?}, {:?}, within {:?}",
            table.name,
            table.variant,
            table.limits
        );
        let batch_size = cleanup.batch_size().get().min(MAX_BATCH).min(table.max_batch);
        let subjects = table.has_subjects.then(|| SubjectIndex::new(&table, batch_size));
        let backend = Arc::new(Backend {
            statements: Statements::new(&table, batch_size),
            subjects,
            pool,
            servers,
            table,
            requested_limits: limits,
            operation_timeout,
            batch_size,
        });
        let cleanup = Cleanup::start(cleanup, {
            let backend = Arc::clone(&backend);
            move || backend.remove_batch()
        })?;
        Ok(Self { backend, cleanup })
    }
}

impl fmt::Debug for MysqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlStore")
            .field("table", &self.backend.table.name)
            .field("variant", &self.backend.table.variant)
            .field("limits", &self.backend.table.limits)
            .field("pool", &self.backend.pool.state())
            .field("cleanup", &self.cleanup)
            .finish_non_exhaustive()
    }
}

impl Store for MysqlStore {
    fn find_with_expiry(&self, token: &str) -> Result<Option<(Vec<u8>, DateTime<Utc>)>, Error> {
        self.backend.find(&mut self.backend.attempts(), token)
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        let backend = &self.backend;
        backend.check_token(token)?;
        backend.table.limits.check_data(data)?;
        let expiry = backend.table.range.expiry(expiry)?;
        for _ in 0..2 {
            let is_in_the_way = backend.run(Repetition::Idempotent, |connection| {
                let (token, data, expiry) = (Value::from(token), Value::from(data), expiry.clone());
                let params = vec![token.clone(), data.clone(), expiry.clone(), data, expiry, token];
                match connection.change(&backend.statements.commit, params) {
                    Ok(_) => Ok(false),
                    Err(error) if is_out_of_range(&error) => Ok(true),
                    Err(error) => Err(error),
                }
            })?;
            if !is_in_the_way {
                return Ok(());
            }
            // The row of another token is in the way, which doesn't matter where it has expired.
            backend.run(Repetition::Idempotent, |connection| {
                connection.change(&backend.statements.delete_if_expired, vec![token.into()])
            })?;
        }
        Err(Error::InvalidToken(TokenProblem::Unrepresentable))
    }

    fn replace(
        &self,
        token: &str,
        current: &[u8],
        data: &[u8],
        expiry: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let backend = &self.backend;
        backend.table.limits.check_data(data)?;
        let expiry = backend.table.range.imprinted(expiry)?;
        if backend.check_token(token).is_err() {
            return Ok(false);
        }
        // Others may have written more than this store would, but not more than can be asked for.
        let (len, max) = (current.len(), backend.table.max_value);
        if len > max {
            return Err(Error::DataTooLarge { len, max });
        }
        let mut attempts = backend.attempts();
        let mut lost = None;
        loop {
            let replaced = attempts.run(Repetition::AfterALook, |connection| {
                let params =
                    vec![data.into(), expiry.clone(), token.into(), token.into(), current.into()];
                connection.change(&backend.statements.replace, params)
            });
            let (ended, may_repeat) = match (replaced, lost.take()) {
                (Ok(changed), _) if changed.has_matched() => return Ok(true),
                (Ok(_), None) => return Ok(false),
                // The attempt that was lost may have been what has changed the data meanwhile.
                (Ok(_), Some(lost)) => (lost, false),
                (Err(ended), _) if ended.is_lost() => (ended, attempts.may_go_on(Outcome::Lost)),
                (Err(ended), _) => return Err(backend.explain(ended)),
            };
            // The same data alone could be another's, who counted as well; or be there from before, and soon expire.
            match backend.find(&mut attempts, token)? {
                Some((found, until))
                    if found == data
                        && Some(until) == time::to_instant(&expiry)
                        && backend.table.range.has_room() =>
                {
                    return Ok(true);
                }
                Some((found, _)) if found == current && may_repeat => lost = Some(ended),
                // Whether it was there and others came after it can't be told any more.
                _ => return Err(backend.explain(ended)),
            }
        }
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        let backend = &self.backend;
        let value = backend.table.range.expiry(expiry)?;
        if backend.check_token(token).is_err() {
            return Ok(false);
        }
        let mut attempts = backend.attempts();
        let changed = attempts
            .run(Repetition::Idempotent, |connection| {
                let params = vec![value.clone(), token.into(), token.into()];
                connection.change(&backend.statements.touch, params)
            })
            .map_err(|ended| backend.explain(ended))?;
        if !changed.has_matched() && attempts.has_lost() && expiry <= Utc::now() {
            // The attempt that was lost may have been what has ended the session.
            let source = "the reply was lost, and the session is over".into();
            return Err(Error::Unreachable { source });
        }
        Ok(changed.has_matched())
    }

    fn rename(&self, token: &str, new_token: &str) -> Result<bool, Error> {
        let backend = &self.backend;
        backend.check_token(new_token)?;
        if backend.check_token(token).is_err() {
            return Ok(false);
        }
        let mut attempts = backend.attempts();
        let mut lost = None;
        loop {
            let mut is_committing = false;
            let renamed = attempts.run(Repetition::AfterALook, |connection| {
                is_committing = false;
                connection.transact(|connection| {
                    let renamed = backend.rename(connection, token, new_token)?;
                    is_committing = matches!(renamed, Ok(true));
                    Ok(renamed)
                })
            });
            let (ended, may_repeat) = match (renamed, lost.take()) {
                (Ok(Ok(true)), _) => return Ok(true),
                (Ok(answer), None) => return answer,
                // The attempt that was lost may have been what has moved the session meanwhile.
                (Ok(_), Some(lost)) => (lost, false),
                (Err(ended), _) if ended.is_lost() && is_committing => {
                    (ended, attempts.may_go_on(Outcome::Lost))
                }
                // The server rolls it back.
                (Err(ended), before) if ended.is_lost() && attempts.may_go_on(Outcome::Lost) => {
                    lost = before;
                    continue;
                }
                (Err(ended), _) => return Err(backend.explain(ended)),
            };
            match (backend.find(&mut attempts, token)?, backend.find(&mut attempts, new_token)?) {
                (None, Some(_)) => return Ok(true),
                (Some(_), _) if may_repeat => lost = Some(ended),
                _ => return Err(backend.explain(ended)),
            }
        }
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        let backend = &self.backend;
        if backend.check_token(token).is_err() {
            return Ok(());
        }
        backend
            .run(Repetition::Idempotent, |connection| match &backend.subjects {
                Some(subjects) => subjects.delete_session(connection, token),
                None => connection
                    .change(&backend.statements.delete, vec![token.into(), token.into()])
                    .map(drop),
            })
            .map(drop)
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        sweep(|| self.backend.remove_batch())
    }

    /// The walk has a connection of its own, beside the pool's, in whose snapshot each session is met once, also if it is
    /// renamed meanwhile. While it lasts the server keeps the old versions of the rows that are changed.
    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let backend = &self.backend;
        let mut connection = backend
            .servers
            .connect()
            .map_err(|error| Error::Unreachable { source: Box::new(error) })?;
        connection
            .attempt(|connection| backend.walk(connection, visit))
            .map_err(|error| backend.explain_driver(&error))
    }
}

/// What the store and its cleanup thread share. The thread holds this and never the store.
pub(crate) struct Backend {
    pub(crate) pool: Pool<MysqlConnectionManager>,
    servers: Arc<Servers>,
    pub(crate) table: Table,
    requested_limits: Limits,
    statements: Statements,
    /// The index of subjects, where its table was there when the store was made.
    pub(crate) subjects: Option<SubjectIndex>,
    operation_timeout: Duration,
    batch_size: usize,
}

/// The statements for one table.
pub(crate) struct Statements {
    find: Sql,
    commit: Sql,
    replace: Sql,
    touch: Sql,
    rename: Sql,
    is_live: Sql,
    delete_if_expired: Sql,
    delete: Sql,
    expired: Sql,
    delete_expired: Sql,
    page: Sql,
}

/// A row of a live session.
struct Session {
    token: String,
    data: Vec<u8>,
    expiry: DateTime<Utc>,
}

impl Session {
    /// Rows that aren't sessions, which others may have written, are none.
    fn read(mut row: Row) -> Option<Self> {
        let (token, data) = (bytes(&mut row, 0)?, bytes(&mut row, 1)?);
        let expiry = time::to_instant(&row.take::<Value, _>(2)?)?;
        Some(Self { token: String::from_utf8(token).ok()?, data, expiry })
    }
}

impl Changed {
    fn has_matched(self) -> bool {
        self.is_marked || self.affected > 0
    }
}

impl Statements {
    fn new(table: &Table, batch_size: usize) -> Self {
        let on_table = |template: &str| {
            let sql = template
                .replace("{table}", &format!("`{}`", table.name))
                .replace("{is_token}", &is_token("token"))
                .replace("{mark}", &mark("token"))
                .replace("{token_index}", &table.token_index)
                .replace("{tokens}", &placeholders(batch_size));
            Sql::new(sql)
        };
        Self {
            find: on_table(FIND),
            commit: on_table(COMMIT),
            replace: on_table(REPLACE),
            touch: on_table(TOUCH),
            rename: on_table(RENAME),
            is_live: on_table(IS_LIVE),
            delete_if_expired: on_table(DELETE_IF_EXPIRED),
            delete: on_table(DELETE),
            expired: on_table(EXPIRED),
            delete_expired: on_table(DELETE_EXPIRED),
            page: on_table(PAGE),
        }
    }
}

/// The comparison of a token column with a parameter, byte for byte.
pub(crate) fn is_token(column: &str) -> String {
    format!("CAST(CONVERT({column} USING utf8mb4) AS BINARY) = ?")
}

/// It names the column so that no server computes it before a row is there, and compares so that none leaves it out.
fn mark(column: &str) -> String {
    format!("LAST_INSERT_ID(CHAR_LENGTH({column}) * 0 + {MARK}) = {MARK}")
}

pub(crate) fn placeholders(count: usize) -> String {
    vec!["?"; count].join(", ")
}

/// As many parameters as the statement has, the last one repeated: so it is one statement for every number of tokens.
pub(crate) fn padded(tokens: &[Vec<u8>], count: usize) -> Vec<Value> {
    let last = tokens.last();
    tokens.iter().chain(std::iter::repeat(last).flatten()).take(count).map(Value::from).collect()
}

/// A column as bytes; NULL and numbers are none.
pub(crate) fn bytes(row: &mut Row, index: usize) -> Option<Vec<u8>> {
    match row.take::<Value, _>(index) {
        Some(Value::Bytes(bytes)) => Some(bytes),
        _ => None,
    }
}

impl Backend {
    /// Refuses what the column couldn't hold unchanged, or would confuse with another.
    pub(crate) fn check_token(&self, token: &str) -> Result<(), Error> {
        self.table.limits.check_token(token)?;
        if token.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(())
        } else {
            Err(Error::InvalidToken(TokenProblem::Unrepresentable))
        }
    }

    pub(crate) fn attempts(&self) -> Attempts<'_> {
        Attempts::new(&self.pool, &self.servers, self.operation_timeout)
    }

    /// Finds a session with what is left of an operation's attempts.
    fn find(
        &self,
        attempts: &mut Attempts<'_>,
        token: &str,
    ) -> Result<Option<(Vec<u8>, DateTime<Utc>)>, Error> {
        if self.check_token(token).is_err() {
            return Ok(None);
        }
        let row = attempts
            .run(Repetition::Read, |connection| {
                connection.first(&self.statements.find, vec![token.into()])
            })
            .map_err(|ended| self.explain(ended))?;
        // The column may take another token for the same.
        Ok(row
            .and_then(Session::read)
            .filter(|session| session.token == token)
            .map(|Session { data, expiry, .. }| (data, expiry)))
    }

    pub(crate) fn run<T>(
        &self,
        repetition: Repetition,
        operation: impl FnMut(&mut Connection) -> DriverResult<T>,
    ) -> Result<T, Error> {
        self.attempts().run(repetition, operation).map_err(|ended| self.explain(ended))
    }

    pub(crate) fn explain(&self, ended: Ended) -> Error {
        match ended {
            Ended::Failed(error) => self.explain_driver(&error),
            Ended::NoConnection(error) => error,
        }
    }

    /// Where the server found another table than this store did, says what has become of it.
    fn explain_driver(&self, error: &mysql::Error) -> Error {
        if fault::is_about_the_table(error)
            && let Ok(mut connection) = checkout(&self.pool, self.pool.connection_timeout())
        {
            match table::inspect(&mut connection, &self.table.name, self.requested_limits) {
                Ok(table) if table.has_subjects != self.table.has_subjects => {
                    return Error::TableMissing { table: table::subjects_name(&self.table.name) };
                }
                Ok(table) if table != self.table => {
                    return Error::TableMismatch {
                        table: self.table.name.clone(),
                        problem:
                            "it has been changed since the store was made: make the store anew"
                                .to_owned(),
                    };
                }
                Err(explanation @ (Error::TableMissing { .. } | Error::TableMismatch { .. })) => {
                    return explanation;
                }
                _ => {}
            }
        }
        fault::of_driver(error, &self.table.name)
    }

    /// Whether the session is live, which it stays until the transaction ends.
    pub(crate) fn lock_live(&self, connection: &mut Connection, token: &str) -> DriverResult<bool> {
        let row = connection.first(&self.statements.is_live, vec![token.into()])?;
        Ok(row
            .and_then(|mut row| bytes(&mut row, 0))
            .is_some_and(|found| found == token.as_bytes()))
    }

    /// Renames a session, in a transaction.
    fn rename(
        &self,
        connection: &mut Connection,
        token: &str,
        new_token: &str,
    ) -> DriverResult<Result<bool, Error>> {
        if !self.lock_live(connection, token)? {
            return Ok(Ok(false));
        }
        if token == new_token {
            return Ok(Ok(true));
        }
        // Another token of the column's collation may be this very row.
        let in_the_way = connection.first(&self.statements.is_live, vec![new_token.into()])?;
        match in_the_way.and_then(|mut row| bytes(&mut row, 0)) {
            Some(other) if other == new_token.as_bytes() => return Ok(Err(Error::TokenTaken)),
            Some(other) if other != token.as_bytes() => {
                return Ok(Err(Error::InvalidToken(TokenProblem::Unrepresentable)));
            }
            Some(_) => {}
            None => {
                let expired = vec![new_token.into()];
                connection.change(&self.statements.delete_if_expired, expired)?;
            }
        }
        let params = vec![new_token.into(), token.into(), token.into()];
        let renamed = connection.change(&self.statements.rename, params)?.has_matched();
        if let Some(subjects) = &self.subjects
            && renamed
        {
            subjects.rename(connection, token, new_token)?;
        }
        Ok(Ok(renamed))
    }

    fn remove_batch(&self) -> Result<Batch, Error> {
        let page = self.run(Repetition::Read, |connection| {
            connection.all(&self.statements.expired, vec![self.batch_size.into()])
        })?;
        let tokens: Vec<_> = page.into_iter().filter_map(|mut row| bytes(&mut row, 0)).collect();
        let mut removed = 0;
        if !tokens.is_empty() {
            removed = self
                .run(Repetition::Idempotent, |connection| {
                    let tokens = padded(&tokens, self.batch_size);
                    connection.change(&self.statements.delete_expired, tokens)
                })?
                .affected;
        }
        let has_untied = match &self.subjects {
            Some(subjects) => subjects.sweep(self, &tokens)?,
            None => false,
        };
        Ok(Batch { removed, more: tokens.len() >= self.batch_size || has_untied })
    }

    fn walk(
        &self,
        connection: &mut Connection,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> DriverResult<()> {
        // How long the visitor takes is none of the server's business.
        connection
            .driver()
            .query_drop("SET SESSION net_write_timeout = 86400, wait_timeout = 86400")?;
        connection.driver().query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT")?;
        // Sessions that were live in the snapshot: their expiries may have been moved since.
        let now: Option<Value> = connection.driver().query_first("SELECT UTC_TIMESTAMP(6)")?;
        let now = now.unwrap_or(Value::NULL);
        let mut last = Vec::new();
        loop {
            let mut rows = connection
                .execute(&self.statements.page, vec![last.as_slice().into(), now.clone()])?;
            let mut is_over = true;
            while let Some(row) = rows.next().transpose()? {
                is_over = false;
                if let Some(Value::Bytes(token)) = row.as_ref(0) {
                    last.clone_from(token);
                }
                let Some(session) = Session::read(row) else { continue };
                // What `find` wouldn't find isn't shown either.
                if self.check_token(&session.token).is_ok()
                    && visit(Record::new(&session.token, &session.data, session.expiry)).is_break()
                {
                    return Ok(());
                }
            }
            if is_over {
                return Ok(());
            }
        }
    }
}

fn is_out_of_range(error: &mysql::Error) -> bool {
    matches!(error, mysql::Error::MySqlError(error) if error.code == 1690)
}

//! What a store shares with its cleanup thread, and what all operations use.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use mysql::Result as DriverResult;
use r2d2::Pool;
use store_core::backend::{OpenStore, TableName};
use store_core::{Error, Limits, TokenProblem};

use crate::connection::Connection;
use crate::manager::MysqlConnectionManager;
use crate::pool::checkout;
use crate::retry::{AttemptError, PoolTimeouts, Retry, RetrySafety};
use crate::rotations::Rotations;
use crate::rows::{Session, bytes, is_true};
use crate::servers::Servers;
use crate::side_tables::SideTables;
use crate::statements::Statements;
use crate::subjects::SubjectIndex;
use crate::table::Table;
use crate::{ddl, error, schema};

/// The most tokens of one statement, which has at most 65,535 parameters.
const MAX_BATCH: usize = 10_000;

/// What a store shares with its cleanup thread. The thread holds this and never the store.
pub(crate) struct Shared {
    pub(crate) pool: Pool<MysqlConnectionManager>,
    pub(crate) servers: Arc<Servers>,
    pub(crate) table: Table,
    requested_limits: Limits,
    pub(crate) statements: Statements,
    /// The index of subjects, if its table was there when the store was made.
    pub(crate) subjects: Option<SubjectIndex>,
    /// The record of rotations, if its table was there when the store was made.
    pub(crate) rotations: Option<Rotations>,
    timeouts: PoolTimeouts,
    operation_timeout: Duration,
    pub(crate) batch_size: usize,
    pub(crate) open: OpenStore,
}

/// A row that [`Shared::lock`] has locked.
pub(crate) struct LockedRow {
    /// Its token, which may be another one that the column takes for the same.
    pub(crate) token: Vec<u8>,
    pub(crate) is_live: bool,
}

impl Shared {
    /// Looks at the table, and creates side tables that are missing.
    pub(crate) fn open(
        open: OpenStore,
        pool: Pool<MysqlConnectionManager>,
        table: &TableName,
        requested_limits: Limits,
        timeouts: PoolTimeouts,
        operation_timeout: Duration,
        batch_size: usize,
    ) -> Result<Self, Error> {
        let mut connection = checkout(&pool, timeouts.checkout)?;
        let table = schema::inspect(&mut connection, table, requested_limits)?;
        let servers = Arc::clone(connection.servers());
        drop(connection);
        let side_tables = SideTables::create(&pool, timeouts.checkout, &table.name)?;
        log::debug!(
            "sessions are kept in \"{}\", {:?}, within {:?}, with {side_tables:?}",
            table.name,
            table.variant,
            table.limits
        );
        let batch_size = batch_size.min(MAX_BATCH).min(table.max_batch);
        Ok(Self {
            statements: Statements::new(&table, side_tables.subjects, batch_size),
            subjects: side_tables.subjects.then(|| SubjectIndex::new(&table, batch_size)),
            rotations: side_tables.rotations.then(|| Rotations::new(&table, batch_size)),
            open,
            pool,
            servers,
            table,
            requested_limits,
            timeouts,
            operation_timeout,
            batch_size,
        })
    }

    /// Refuses a token that the column couldn't hold unchanged, or would confuse with another.
    pub(crate) fn check_token(&self, token: &str) -> Result<(), Error> {
        self.table.limits.check_token(token)?;
        if token.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(())
        } else {
            Err(Error::InvalidToken(TokenProblem::Unrepresentable))
        }
    }

    /// Refuses data to compare with if it doesn't fit into a statement. Other programs may have
    /// written more than this store would.
    pub(crate) fn check_current(&self, current: &[u8]) -> Result<(), Error> {
        let (len, max) = (current.len(), self.table.max_value);
        if len > max { Err(Error::DataTooLarge { len, max }) } else { Ok(()) }
    }

    /// Returns the index of subjects, or the error of an operation that needs it.
    pub(crate) fn subject_index(&self) -> Result<&SubjectIndex, Error> {
        self.subjects
            .as_ref()
            .ok_or_else(|| Error::TableMissing { table: ddl::subjects_name(&self.table.name) })
    }

    /// Begins the attempts at an operation.
    pub(crate) fn retry(&self) -> Retry<'_> {
        self.retry_for(self.operation_timeout)
    }

    /// As [`retry`](Self::retry), none of which begins after the timeout.
    pub(crate) fn retry_for(&self, timeout: Duration) -> Retry<'_> {
        Retry::new(&self.pool, &self.servers, self.open.owner(), self.timeouts, timeout)
    }

    /// Finds a session within what is left of an operation's time.
    pub(crate) fn find(
        &self,
        retry: &mut Retry<'_>,
        token: &str,
    ) -> Result<Option<(Vec<u8>, DateTime<Utc>)>, Error> {
        if self.check_token(token).is_err() {
            return Ok(None);
        }
        let row = retry
            .run(RetrySafety::ReadOnly, |connection| {
                connection.query_first(&self.statements.find, vec![token.into()])
            })
            .map_err(|error| self.explain(error))?;
        // The column may take another token for the same.
        Ok(row
            .and_then(Session::read)
            .filter(|session| session.token == token)
            .map(|Session { data, expiry, .. }| (data, expiry)))
    }

    /// Locks the row of a token, or the gap where it would be, until the transaction ends.
    pub(crate) fn lock(
        &self,
        connection: &mut Connection,
        token: &str,
    ) -> DriverResult<Option<LockedRow>> {
        let row = connection.query_first(&self.statements.lock, vec![token.into()])?;
        Ok(row.and_then(|mut row| {
            Some(LockedRow { token: bytes(&mut row, 0)?, is_live: is_true(&mut row, 1) })
        }))
    }

    /// As [`lock`](Self::lock). Returns whether the token names a live session.
    pub(crate) fn lock_live(&self, connection: &mut Connection, token: &str) -> DriverResult<bool> {
        let row = self.lock(connection, token)?;
        Ok(row.is_some_and(|row| row.is_live && row.token == token.as_bytes()))
    }

    /// Runs an operation that may be repeated as `safety` says.
    pub(crate) fn run<T>(
        &self,
        safety: RetrySafety,
        operation: impl FnMut(&mut Connection) -> DriverResult<T>,
    ) -> Result<T, Error> {
        self.retry().run(safety, operation).map_err(|error| self.explain(error))
    }

    /// The error of an operation that has failed.
    pub(crate) fn explain(&self, error: AttemptError) -> Error {
        match error {
            AttemptError::Failed(error) => self.explain_driver(&error),
            AttemptError::NoConnection(error) => error,
        }
    }

    /// The error of a failed statement. If the error suggests that the table has changed since the
    /// store was made, this looks at the table and says what is wrong with it.
    pub(crate) fn explain_driver(&self, error: &mysql::Error) -> Error {
        if error::indicates_table_change(error)
            && let Ok(mut connection) = checkout(&self.pool, self.timeouts.checkout)
            && let Some(explanation) = self.explain_table(&mut connection)
        {
            return explanation;
        }
        error::from_driver(error, self.table.name.as_str())
    }

    fn explain_table(&self, connection: &mut Connection) -> Option<Error> {
        let name = &self.table.name;
        let now = match schema::inspect(connection, name, self.requested_limits) {
            Ok(table) => table,
            Err(explanation @ (Error::TableMissing { .. } | Error::TableMismatch { .. })) => {
                return Some(explanation);
            }
            Err(_) => return None,
        };
        let used =
            SideTables { subjects: self.subjects.is_some(), rotations: self.rotations.is_some() };
        let missing = connection.attempt(|connection| used.missing(connection, name)).ok()?;
        if let Some(table) = missing {
            return Some(Error::TableMissing { table });
        }
        (now != self.table).then(|| Error::TableMismatch {
            table: name.to_string(),
            problem: "it has been changed since the store was made: create a new store".to_owned(),
        })
    }
}

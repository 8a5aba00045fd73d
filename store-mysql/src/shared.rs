//! What a store and its cleanup thread share, and what all operations are made of.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use mysql::{Result as DriverResult, Row, Value};
use r2d2::Pool;
use store_core::{Error, Limits, TokenProblem};

use crate::connection::Connection;
use crate::error;
use crate::manager::{MysqlConnectionManager, Servers};
use crate::retry::{AttemptError, Retry, RetrySafety, checkout};
use crate::rotations::Rotations;
use crate::side_tables::{self, SideTables};
use crate::statements::{Statements, bytes, is_true};
use crate::subjects::SubjectIndex;
use crate::table::{self, Table};
use crate::time;

/// What the store and its cleanup thread share. The thread holds this and never the store.
pub(crate) struct Shared {
    pub(crate) pool: Pool<MysqlConnectionManager>,
    pub(crate) servers: Arc<Servers>,
    pub(crate) table: Table,
    pub(crate) requested_limits: Limits,
    pub(crate) statements: Statements,
    /// The index of subjects, if its table was there when the store was made.
    pub(crate) subjects: Option<SubjectIndex>,
    /// The record of rotations, if its table was there when the store was made.
    pub(crate) rotations: Option<Rotations>,
    pub(crate) operation_timeout: Duration,
    pub(crate) batch_size: usize,
}

/// A row of a live session.
pub(crate) struct Session {
    pub(crate) token: String,
    pub(crate) data: Vec<u8>,
    pub(crate) expiry: DateTime<Utc>,
}

impl Session {
    /// Rows that aren't sessions, which others may have written, are none.
    pub(crate) fn read(mut row: Row) -> Option<Self> {
        Self::read_from(&mut row, 0)
    }

    /// Reads token, data and expiry from the columns that begin at `first`.
    pub(crate) fn read_from(row: &mut Row, first: usize) -> Option<Self> {
        let (token, data) = (bytes(row, first)?, bytes(row, first + 1)?);
        let expiry = time::to_instant(&row.take::<Value, _>(first + 2)?)?;
        Some(Self { token: String::from_utf8(token).ok()?, data, expiry })
    }
}

/// A row that [`Shared::lock`] has locked.
pub(crate) struct LockedRow {
    /// Its token, which may be another one that the column takes for the same.
    pub(crate) token: Vec<u8>,
    pub(crate) is_live: bool,
}

impl Shared {
    /// Refuses what the column couldn't hold unchanged, or would confuse with another.
    pub(crate) fn check_token(&self, token: &str) -> Result<(), Error> {
        self.table.limits.check_token(token)?;
        if token.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(())
        } else {
            Err(Error::InvalidToken(TokenProblem::Unrepresentable))
        }
    }

    /// Refuses data to compare with that doesn't fit into a statement. Others may have written more
    /// than this store would, but not more than can be asked for.
    pub(crate) fn check_current(&self, current: &[u8]) -> Result<(), Error> {
        let (len, max) = (current.len(), self.table.max_value);
        if len > max { Err(Error::DataTooLarge { len, max }) } else { Ok(()) }
    }

    /// What an operation that needs the index of subjects says if it isn't there.
    pub(crate) fn subjects_missing(&self) -> Error {
        Error::TableMissing { table: side_tables::subjects_name(&self.table.name) }
    }

    pub(crate) fn retry(&self) -> Retry<'_> {
        Retry::new(&self.pool, &self.servers, self.operation_timeout)
    }

    /// Finds a session with what is left of an operation's attempts.
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
            .map_err(|ended| self.explain(ended))?;
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

    /// Locks as [`lock`](Self::lock) does, and says whether the token names a live session.
    pub(crate) fn lock_live(&self, connection: &mut Connection, token: &str) -> DriverResult<bool> {
        let row = self.lock(connection, token)?;
        Ok(row.is_some_and(|row| row.is_live && row.token == token.as_bytes()))
    }

    pub(crate) fn run<T>(
        &self,
        safety: RetrySafety,
        operation: impl FnMut(&mut Connection) -> DriverResult<T>,
    ) -> Result<T, Error> {
        self.retry().run(safety, operation).map_err(|ended| self.explain(ended))
    }

    pub(crate) fn explain(&self, ended: AttemptError) -> Error {
        match ended {
            AttemptError::Failed(error) => self.explain_driver(&error),
            AttemptError::NoConnection(error) => error,
        }
    }

    /// Where the server found another table than this store did, says what has become of it.
    pub(crate) fn explain_driver(&self, error: &mysql::Error) -> Error {
        if error::indicates_table_change(error)
            && let Ok(mut connection) = checkout(&self.pool, self.pool.connection_timeout())
            && let Some(explanation) = self.explain_table(&mut connection)
        {
            return explanation;
        }
        error::from_driver(error, &self.table.name)
    }

    fn explain_table(&self, connection: &mut Connection) -> Option<Error> {
        let name = &self.table.name;
        let now = match table::inspect(connection, name, self.requested_limits) {
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
            table: name.clone(),
            problem: "it has been changed since the store was made: make the store anew".to_owned(),
        })
    }
}

//! A connection, its prepared statements, and whether it may be used again.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mysql::prelude::Queryable;
use mysql::{Binary, Conn, Params, QueryResult, Result as DriverResult, Row, Statement, Value};

use crate::error::{self, Outcome};
use crate::galera;
use crate::manager::{Server, Servers};

/// A connection of a pool that stores share. Only they can use it; see
/// [`MysqlConnectionManager`](crate::MysqlConnectionManager).
pub struct Connection {
    driver: Conn,
    /// Kept here for as long as the connection lives, by the statement's number. The driver's own
    /// cache looks a statement up by its text, which it parses first, and may close one that is
    /// still wanted.
    statements: HashMap<u32, Statement>,
    is_galera: bool,
    server: Arc<Server>,
    servers: Arc<Servers>,
    /// The server's epoch when this connection was made.
    epoch: u64,
    /// Everything that was asked has been answered. It is false during an attempt, so that it stays
    /// false if that panics.
    is_settled: bool,
}

/// A statement that is prepared once on each connection.
pub(crate) struct Sql {
    /// Different for every statement of the process: stores of several tables may share a pool.
    id: u32,
    text: String,
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) affected: u64,
    /// The statement met [`MARK`].
    pub(crate) is_marked: bool,
}

impl Changed {
    pub(crate) fn has_matched(self) -> bool {
        self.is_marked || self.affected > 0
    }
}

/// How a transaction ends, and what it came to.
pub(crate) enum End<T> {
    Commit(T),
    Rollback(T),
}

/// What a statement says through `LAST_INSERT_ID(…)` where it matches a row. Connections ask
/// servers to count the rows that match, but proxies may ask for those that change; this says it
/// all the same, in the same reply. A trigger hides it, so neither is enough by itself. The number
/// is out of the way of real ones.
pub(crate) const MARK: u64 = 8_674_665_223_082_153_551;

impl Sql {
    pub(crate) fn new(text: String) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), text }
    }
}

impl Connection {
    pub(crate) fn new(
        driver: Conn,
        is_galera: bool,
        server: Arc<Server>,
        servers: Arc<Servers>,
    ) -> Self {
        let (epoch, statements) = (server.epoch(), HashMap::new());
        Self { driver, statements, is_galera, server, servers, epoch, is_settled: true }
    }

    /// The servers that this connection is to one of.
    pub(crate) fn servers(&self) -> &Arc<Servers> {
        &self.servers
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.is_settled && self.epoch == self.server.epoch()
    }

    /// Makes one attempt at an operation. Whatever fails for another reason than that the server
    /// says so ends the connection for good: a reply that comes late would be taken for the reply
    /// to the next question, and show somebody's session to somebody else.
    pub(crate) fn attempt<T>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> DriverResult<T>,
    ) -> DriverResult<T> {
        self.is_settled = false;
        let result = operation(self).map_err(|error| match error {
            mysql::Error::MySqlError(timeout) if timeout.code == 1205 && self.is_galera => {
                galera::explain_timeout(&mut self.driver, timeout)
            }
            error => error,
        });
        match result.as_ref().err().map(error::outcome) {
            None => self.is_settled = true,
            Some(outcome) => {
                self.is_settled = outcome.keeps_connection();
                match outcome {
                    // The server went away, and with it the other connections.
                    Outcome::Lost => self.server.note_lost(self.epoch),
                    Outcome::Away | Outcome::ReadOnly => {
                        self.server.note_lost(self.epoch);
                        self.server.note_failure();
                    }
                    Outcome::TimedOut => self.server.note_failure(),
                    Outcome::NotServed | Outcome::Contention | Outcome::Final => {}
                }
            }
        }
        result
    }

    /// Runs an operation in a transaction, which ends as the operation says.
    pub(crate) fn transact<T>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> DriverResult<End<T>>,
    ) -> DriverResult<T> {
        self.driver.query_drop("START TRANSACTION")?;
        match operation(self) {
            Ok(End::Commit(value)) => {
                self.driver.query_drop("COMMIT")?;
                Ok(value)
            }
            Ok(End::Rollback(value)) => {
                self.driver.query_drop("ROLLBACK")?;
                Ok(value)
            }
            Err(error) => {
                if error::outcome(&error).keeps_connection() {
                    // A deadlock has ended the transaction, a lock that was waited for too long
                    // only the statement.
                    self.driver.query_drop("ROLLBACK")?;
                }
                Err(error)
            }
        }
    }

    pub(crate) fn change(&mut self, sql: &Sql, params: Vec<Value>) -> DriverResult<Changed> {
        let result = self.execute(sql, params)?;
        let (affected, id) = (result.affected_rows(), result.last_insert_id());
        drop(result);
        Ok(Changed { affected, is_marked: id == Some(MARK) })
    }

    pub(crate) fn first(&mut self, sql: &Sql, params: Vec<Value>) -> DriverResult<Option<Row>> {
        let mut rows = self.execute(sql, params)?;
        let first = rows.next().transpose()?;
        // What the statement says after its last row belongs to its reply.
        for rest in rows {
            rest?;
        }
        Ok(first)
    }

    pub(crate) fn all(&mut self, sql: &Sql, params: Vec<Value>) -> DriverResult<Vec<Row>> {
        self.execute(sql, params)?.collect()
    }

    /// The rows as they come.
    pub(crate) fn execute(
        &mut self,
        sql: &Sql,
        params: Vec<Value>,
    ) -> DriverResult<QueryResult<'_, '_, '_, Binary>> {
        let statement = if let Some(statement) = self.statements.get(&sql.id) {
            statement.clone()
        } else {
            let statement = self.driver.prep(&sql.text)?;
            self.statements.insert(sql.id, statement.clone());
            statement
        };
        let params = if params.is_empty() { Params::Empty } else { Params::Positional(params) };
        self.driver.exec_iter(statement, params)
    }

    /// The driver underneath, for statements that are run once.
    pub(crate) fn driver(&mut self) -> &mut Conn {
        &mut self.driver
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The driver takes leave of the server, which on a connection with a statement under way
        // could wait for the timeout; after this there is nothing to wait for.
        #[cfg(unix)]
        if !self.is_settled {
            use std::os::fd::AsRawFd;
            let _ = nix::sys::socket::shutdown(
                self.driver.as_raw_fd(),
                nix::sys::socket::Shutdown::Both,
            );
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_trusted", &self.is_trusted()).finish_non_exhaustive()
    }
}

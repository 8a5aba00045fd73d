//! A connection, its prepared statements, and whether it may be used again.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mysql::prelude::Queryable;
use mysql::{Binary, Conn, Params, QueryResult, Result as DriverResult, Row, Statement, Value};

use crate::error::{self, ErrorClass};
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
    /// The server's generation when this connection was made.
    generation: u64,
    /// Everything that was asked has been answered. It is false during an attempt, so that it stays
    /// false if that panics.
    is_clean: bool,
}

/// A statement that is prepared once on each connection.
pub(crate) struct Sql {
    /// Different for every statement of the process: stores of several tables may share a pool.
    id: u32,
    text: String,
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Affected {
    pub(crate) affected: u64,
    /// The statement met [`MATCH_SENTINEL`].
    pub(crate) is_match_reported: bool,
}

impl Affected {
    pub(crate) fn has_matched(self) -> bool {
        self.is_match_reported || self.affected > 0
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
pub(crate) const MATCH_SENTINEL: u64 = 8_674_665_223_082_153_551;

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
        let (generation, statements) = (server.generation(), HashMap::new());
        Self { driver, statements, is_galera, server, servers, generation, is_clean: true }
    }

    /// The servers that this connection is to one of.
    pub(crate) fn servers(&self) -> &Arc<Servers> {
        &self.servers
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.is_clean && self.generation == self.server.generation()
    }

    /// Makes one attempt at an operation. Whatever fails for another reason than that the server
    /// says so ends the connection for good: a reply that comes late would be taken for the reply
    /// to the next question, and show somebody's session to somebody else.
    pub(crate) fn attempt<T>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> DriverResult<T>,
    ) -> DriverResult<T> {
        self.is_clean = false;
        let result = operation(self).map_err(|error| match error {
            mysql::Error::MySqlError(timeout) if timeout.code == 1205 && self.is_galera => {
                galera::explain_timeout(&mut self.driver, timeout)
            }
            error => error,
        });
        match result.as_ref().err().map(error::classify) {
            None => self.is_clean = true,
            Some(class) => {
                self.is_clean = class.keeps_connection();
                match class {
                    // The server went away, and with it the other connections.
                    ErrorClass::ConnectionLost => {
                        self.server.invalidate_connections(self.generation);
                    }
                    ErrorClass::ServerUnavailable | ErrorClass::ReadOnly => {
                        self.server.invalidate_connections(self.generation);
                        self.server.record_failure();
                    }
                    ErrorClass::TimedOut => self.server.record_failure(),
                    ErrorClass::Transient | ErrorClass::Contention | ErrorClass::Permanent => {}
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
                if error::classify(&error).keeps_connection() {
                    // A deadlock has ended the transaction, a lock that was waited for too long
                    // only the statement.
                    self.driver.query_drop("ROLLBACK")?;
                }
                Err(error)
            }
        }
    }

    pub(crate) fn execute(&mut self, sql: &Sql, params: Vec<Value>) -> DriverResult<Affected> {
        let result = self.query_iter(sql, params)?;
        let (affected, id) = (result.affected_rows(), result.last_insert_id());
        drop(result);
        Ok(Affected { affected, is_match_reported: id == Some(MATCH_SENTINEL) })
    }

    pub(crate) fn query_first(
        &mut self,
        sql: &Sql,
        params: Vec<Value>,
    ) -> DriverResult<Option<Row>> {
        let mut rows = self.query_iter(sql, params)?;
        let first = rows.next().transpose()?;
        // What the statement says after its last row belongs to its reply.
        for rest in rows {
            rest?;
        }
        Ok(first)
    }

    pub(crate) fn query(&mut self, sql: &Sql, params: Vec<Value>) -> DriverResult<Vec<Row>> {
        self.query_iter(sql, params)?.collect()
    }

    /// The rows as they come.
    pub(crate) fn query_iter(
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
        if !self.is_clean {
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
        f.debug_struct("Connection").field("is_usable", &self.is_usable()).finish_non_exhaustive()
    }
}

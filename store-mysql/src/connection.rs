//! A connection, its prepared statements, and whether it may be used again.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use mysql::prelude::Queryable;
use mysql::{Binary, Conn, Params, QueryResult, Result as DriverResult, Row, Statement, Value};

use crate::connect_error::ConnectError;
use crate::driver::Driver;
use crate::engine::Engine;
use crate::error::{self, ErrorClass};
use crate::galera;
use crate::health::{Health, Orphan};
use crate::servers::{NewConnection, Servers};
use crate::settings::SET_ISOLATION_LEVEL;
use crate::sql::{MATCH_SENTINEL, Sql};
use crate::vitess;

/// A connection of a pool that stores share. Only stores can use it; see
/// [`MysqlConnectionManager`](crate::MysqlConnectionManager).
///
/// # Examples
/// ```no_run
/// use store_mysql::{Connection, MysqlOptions};
///
/// // It is the type of what the pool hands out, and can be named, but not used.
/// let pool = MysqlOptions::new().pool("mysql://app:secret@db.example/app")?;
/// let pooled = pool.get().map_err(store_mysql::Error::backend)?;
/// let connection: &Connection = &pooled;
/// println!("{connection:?}");
/// # Ok::<(), store_mysql::Error>(())
/// ```
pub struct Connection {
    driver: Driver,
    /// The prepared statements, by [`Sql::id`], for as long as the connection lives. The driver's
    /// own cache looks a statement up by its text, which it parses first, and may close one that is
    /// still wanted.
    statements: HashMap<u32, Statement>,
    engine: Engine,
    is_galera: bool,
    /// This client's address, as the server sees it, if it tells.
    host: Option<String>,
    /// The health of its server.
    health: Arc<Health>,
    servers: Arc<Servers>,
    opened_at: Instant,
    used_at: Instant,
    /// The server's generation of connections when this one was made.
    generation: u64,
    /// Whether everything that was sent has been answered. It is false during an attempt, so that
    /// it stays false if the attempt panics.
    is_clean: bool,
    /// Whether a transaction has begun and hasn't ended, as far as the server has said.
    is_in_transaction: bool,
}

/// The rows that a statement has affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Affected {
    pub(crate) rows: u64,
    /// Whether the server's reply has the [`MATCH_SENTINEL`], and means it.
    pub(crate) is_match_reported: bool,
}

impl Affected {
    pub(crate) fn has_matched(self) -> bool {
        self.is_match_reported || self.rows > 0
    }
}

/// How a transaction ends, and its result.
pub(crate) enum End<T> {
    Commit(T),
    Rollback(T),
}

impl Connection {
    /// Connects to one of the servers.
    pub(crate) fn open(servers: &Arc<Servers>) -> Result<Self, ConnectError> {
        let NewConnection { driver, engine, is_galera, host, health, clock: _ } =
            servers.connect()?;
        let now = Instant::now();
        Ok(Self {
            driver: Driver::new(driver),
            statements: HashMap::new(),
            engine,
            is_galera,
            host,
            opened_at: now,
            used_at: now,
            generation: health.generation(),
            health,
            servers: Arc::clone(servers),
            is_clean: true,
            is_in_transaction: false,
        })
    }

    /// What the server is.
    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    /// The servers of which this connection is to one.
    pub(crate) fn servers(&self) -> &Arc<Servers> {
        &self.servers
    }

    /// Whether another operation may use this connection.
    pub(crate) fn is_usable(&self) -> bool {
        let times = self.servers.times();
        self.is_clean
            && self.generation == self.health.generation()
            && self.used_at.elapsed() < times.idle
            && self.opened_at.elapsed() < times.lifetime
            && !self.driver.is_forked()
    }

    /// Whether this process was forked from the one that has the connection.
    pub(crate) fn is_forked(&self) -> bool {
        self.driver.is_forked()
    }

    /// Makes one attempt at an operation.
    ///
    /// After any failure that isn't the server's own error the connection is never used again: a
    /// reply that comes late would be taken for the reply to the next statement, and show one
    /// user's session to another.
    pub(crate) fn attempt<T>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> DriverResult<T>,
    ) -> DriverResult<T> {
        self.is_clean = false;
        let begun = Instant::now();
        let result = operation(self).map_err(|error| match error {
            mysql::Error::MySqlError(timeout) if timeout.code == 1205 && self.is_galera => {
                galera::explain_timeout(&mut self.driver, timeout)
            }
            error => error,
        });
        self.used_at = Instant::now();
        let class = result.as_ref().err().map(error::classify);
        // In a transaction that is still open the next operation would be done, and then undone.
        self.is_clean = class.is_none_or(ErrorClass::keeps_connection) && !self.is_in_transaction;
        match class {
            // Usually the server has gone away, and with it the other connections.
            Some(ErrorClass::ConnectionLost) => {
                self.health.invalidate_connections(self.generation);
                self.record_orphan();
            }
            // Or it serves nobody any more.
            Some(ErrorClass::ServerUnavailable | ErrorClass::ReadOnly) => {
                self.health.invalidate_connections(self.generation);
                self.health.record_failure(begun.elapsed());
            }
            // Or something in between has forgotten this connection, and then the others as well.
            Some(ErrorClass::TimedOut) => {
                self.health.invalidate_connections(self.generation);
                self.health.record_failure(begun.elapsed());
                self.record_orphan();
            }
            None | Some(ErrorClass::Transient | ErrorClass::Contention | ErrorClass::Permanent) => {
            }
        }
        result
    }

    /// Has the next connection end what the server may go on with.
    fn record_orphan(&self) {
        if let Some(host) = self.host.clone() {
            self.health.record_orphan(Orphan { id: self.driver.connection_id(), host });
        }
    }

    /// Runs an operation in a transaction, which it says how to end.
    pub(crate) fn transact<T>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> DriverResult<End<T>>,
    ) -> DriverResult<T> {
        // Until its end has succeeded: COMMIT and ROLLBACK may be interrupted, too.
        self.is_in_transaction = true;
        self.driver.query_drop("START TRANSACTION")?;
        let (end, outcome) = match operation(self) {
            Ok(End::Commit(value)) => ("COMMIT", Ok(value)),
            Ok(End::Rollback(value)) => ("ROLLBACK", Ok(value)),
            // A deadlock has ended the transaction; a lock wait timeout has ended the statement
            // alone.
            Err(error) if error::classify(&error).keeps_connection() => ("ROLLBACK", Err(error)),
            Err(error) => return Err(error),
        };
        self.driver.query_drop(end)?;
        self.is_in_transaction = false;
        outcome
    }

    /// As [`transact`](Self::transact), in a transaction that locks no gaps: what it doesn't find
    /// it keeps from nobody.
    pub(crate) fn transact_without_gaps<T>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> DriverResult<End<T>>,
    ) -> DriverResult<T> {
        self.driver.query_drop("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")?;
        let outcome = self.transact(operation);
        let is_kept = |error| error::classify(error).keeps_connection();
        if !self.engine.resets_isolation_level() && outcome.as_ref().err().is_none_or(is_kept) {
            self.driver.query_drop(SET_ISOLATION_LEVEL)?;
        }
        outcome
    }

    /// Runs an operation in the transaction that is under way, or in one of its own.
    pub(crate) fn join_transaction<T>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> DriverResult<T>,
    ) -> DriverResult<T> {
        if self.is_in_transaction {
            operation(self)
        } else {
            self.transact(|connection| operation(connection).map(End::Commit))
        }
    }

    /// Runs a statement that writes, in the transaction that is under way or as one by itself.
    pub(crate) fn execute(&mut self, sql: &Sql, params: Vec<Value>) -> DriverResult<Affected> {
        if !self.is_in_transaction && !self.engine.locks_in_single_statements() {
            return self.join_transaction(|connection| connection.execute(sql, params));
        }
        let result = self.query_iter(sql, params)?;
        let (rows, id) = (result.affected_rows(), result.last_insert_id());
        drop(result);
        let is_match_reported = id == Some(MATCH_SENTINEL) && self.engine.resets_insert_id();
        Ok(Affected { rows, is_match_reported })
    }

    /// Runs a query and returns its first row.
    pub(crate) fn query_first(
        &mut self,
        sql: &Sql,
        params: Vec<Value>,
    ) -> DriverResult<Option<Row>> {
        let mut rows = self.query_iter(sql, params)?;
        let first = rows.next().transpose()?;
        // An error that the server reports after the last row belongs to this statement.
        for rest in rows {
            rest?;
        }
        Ok(first)
    }

    /// Runs a query and returns all rows.
    pub(crate) fn query(&mut self, sql: &Sql, params: Vec<Value>) -> DriverResult<Vec<Row>> {
        self.query_iter(sql, params)?.collect()
    }

    /// Runs a query and returns the rows as they arrive.
    pub(crate) fn query_iter(
        &mut self,
        sql: &Sql,
        params: Vec<Value>,
    ) -> DriverResult<QueryResult<'_, '_, '_, Binary>> {
        let statement = if let Some(statement) = self.statements.get(&sql.id()) {
            statement.clone()
        } else {
            let statement = match self.engine {
                Engine::Vitess => self.driver.prep(vitess::statement(sql.text())),
                Engine::MySql | Engine::MariaDb(..) | Engine::TiDb => self.driver.prep(sql.text()),
            }?;
            self.statements.insert(sql.id(), statement.clone());
            statement
        };
        let params = if params.is_empty() { Params::Empty } else { Params::Positional(params) };
        self.driver.exec_iter(statement, params)
    }

    /// The driver's connection, for statements that are run once.
    pub(crate) fn driver(&mut self) -> &mut Conn {
        &mut self.driver
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The driver sends COM_QUIT and waits, which on a connection with a statement under way
        // lasts until the timeout. After the shutdown of the socket there is nothing to wait for.
        #[cfg(unix)]
        {
            use std::os::fd::AsRawFd;

            let is_lost = !self.is_clean || self.generation != self.health.generation();
            if is_lost && !self.is_forked() {
                let _ = nix::sys::socket::shutdown(
                    self.driver.as_raw_fd(),
                    nix::sys::socket::Shutdown::Both,
                );
            }
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_usable", &self.is_usable()).finish_non_exhaustive()
    }
}

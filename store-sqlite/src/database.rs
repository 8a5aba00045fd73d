//! How an operation gets a connection, and waits for those of others.

use std::time::{Duration, Instant};

use parking_lot::RwLock;
use r2d2::{Pool, PooledConnection};
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, Result as SqliteResult};
use store_core::Error;
use store_core::backend::TableName;

use crate::error;
use crate::reader_connections::ReaderConnections;
use crate::retry::retry;
use crate::tables::Tables;

/// The connections to a database, and the tables in it.
pub(crate) struct Database {
    pub(crate) tables: Tables,
    pub(crate) pool: Pool<SqliteConnectionManager>,
    readers: ReaderConnections,
    contention_timeout: Duration,
    read_locking: ReadLocking,
}

/// Whether readers wait for the writer. Only one thread of a store writes at a time.
enum ReadLocking {
    /// In WAL mode they don't.
    None,
    /// In the other journal modes, and in a shared cache, they do. SQLite lets connections poll for
    /// its lock, which starves some of them under load, so they wait here instead, in a fair order.
    WriterLock(RwLock<()>),
}

impl Database {
    /// Reads the journal mode, and checks the tables.
    pub(crate) fn open(
        pool: Pool<SqliteConnectionManager>,
        readers: ReaderConnections,
        table: TableName,
        contention_timeout: Duration,
    ) -> Result<Self, Error> {
        let connection = checkout(&pool)?;
        let journal_mode =
            || connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
        let mode = retry(contention_timeout, journal_mode).map_err(error::from_sqlite)?;
        let read_locking = if mode.eq_ignore_ascii_case("wal") {
            ReadLocking::None
        } else {
            ReadLocking::WriterLock(RwLock::new(()))
        };
        let tables = Tables::open(&connection, table, contention_timeout)?;
        drop(connection);
        Ok(Self { tables, pool, readers, contention_timeout, read_locking })
    }

    pub(crate) fn contention_timeout(&self) -> Duration {
        self.contention_timeout
    }

    /// Runs an operation that reads, as often as contention makes necessary.
    pub(crate) fn read<T>(
        &self,
        operation: impl Fn(&Connection) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        match &self.read_locking {
            ReadLocking::None => match self.readers.try_slot() {
                Some(mut slot) => {
                    let connection = match &mut *slot {
                        Some(connection) => connection,
                        empty => empty.insert(checkout(&self.pool)?),
                    };
                    self.run_on(connection, Duration::ZERO, operation)
                }
                None => self.run(Duration::ZERO, operation),
            },
            ReadLocking::WriterLock(lock) => {
                let started = Instant::now();
                let guard = lock.try_read_for(self.contention_timeout);
                let _guard = guard.ok_or_else(|| self.lock_timed_out())?;
                self.run(started.elapsed(), operation)
            }
        }
    }

    /// Runs an operation that writes, as often as contention makes necessary.
    pub(crate) fn write<T>(
        &self,
        operation: impl Fn(&Connection) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        match &self.read_locking {
            ReadLocking::None => self.run(Duration::ZERO, operation),
            ReadLocking::WriterLock(lock) => {
                let started = Instant::now();
                // Before the checkout, so that a waiting writer leaves the connections to the
                // readers.
                let guard = lock.try_write_for(self.contention_timeout);
                let _guard = guard.ok_or_else(|| self.lock_timed_out())?;
                self.run(started.elapsed(), operation)
            }
        }
    }

    fn run<T>(
        &self,
        waited: Duration,
        operation: impl Fn(&Connection) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        let connection = checkout(&self.pool)?;
        self.run_on(&connection, waited, operation)
    }

    /// Runs an operation, and repeats it for what is left of the timeout.
    fn run_on<T>(
        &self,
        connection: &Connection,
        waited: Duration,
        operation: impl Fn(&Connection) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        if !connection.is_autocommit() {
            // What is written now would be rolled back with a transaction that isn't the store's.
            return Err(Error::backend("the pool gave out a connection with an open transaction"));
        }
        retry(self.contention_timeout.saturating_sub(waited), || operation(connection))
            .map_err(|error| self.tables.explain(error, connection))
    }

    fn lock_timed_out(&self) -> Error {
        let timeout = self.contention_timeout;
        Error::Contended {
            source: format!("waited {timeout:?} for this process's other writers").into(),
        }
    }
}

fn checkout(
    pool: &Pool<SqliteConnectionManager>,
) -> Result<PooledConnection<SqliteConnectionManager>, Error> {
    let started = Instant::now();
    pool.get().map_err(|error| error::from_checkout(error, pool, started.elapsed()))
}

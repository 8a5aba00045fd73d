//! How an operation gets a connection, and waits for those of others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rusqlite::{Connection, Result as SqliteResult};
use store_core::Error;
use store_core::backend::{OpenStore, TableName};

use crate::connections::Connections;
use crate::error;
use crate::file::DatabaseFile;
use crate::pool::Checkout;
use crate::reader_connections::ReaderConnections;
use crate::retry::{Deadline, retry};
use crate::tables::Tables;

/// The connections to a database, and the tables in it.
pub(crate) struct Database {
    pub(crate) tables: Tables,
    pub(crate) connections: Connections,
    /// The process that opened it: SQLite's connections must not be used, nor even be closed, in
    /// one that was forked since.
    pub(crate) open: OpenStore,
    /// The file, if it isn't in memory.
    file: Option<DatabaseFile>,
    /// Whether a writer has found another file in its place.
    is_replaced: AtomicBool,
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
    /// Reads the journal mode, and checks the tables, until the deadline; later operations wait for
    /// others until the timeout. Without a file it is the connections'.
    pub(crate) fn open(
        open: OpenStore,
        connections: Connections,
        file: Option<DatabaseFile>,
        table: TableName,
        deadline: Deadline,
        contention_timeout: Duration,
    ) -> Result<Self, Error> {
        let connection = connections.checkout()?;
        let file = file.or_else(|| DatabaseFile::of_connection(&connection));
        let failed = |error| error::from_connection(error, &connection);
        let journal_mode =
            || connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
        let mode = retry(deadline.left(), journal_mode).map_err(failed)?;
        let read_locking = if mode.eq_ignore_ascii_case("wal") {
            ReadLocking::None
        } else {
            ReadLocking::WriterLock(RwLock::new(()))
        };
        let tables = Tables::open(&connection, table, deadline)?;
        drop(connection);
        Ok(Self {
            tables,
            connections,
            open,
            file,
            is_replaced: AtomicBool::new(false),
            contention_timeout,
            read_locking,
        })
    }

    pub(crate) fn contention_timeout(&self) -> Duration {
        self.contention_timeout
    }

    /// Runs an operation that reads, as often as contention makes necessary.
    pub(crate) fn read<T>(
        &self,
        operation: impl Fn(&Connection) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        // Another store may be writing to the log, on the other file.
        if let Some(file) = &self.file
            && self.is_replaced.load(Ordering::Relaxed)
        {
            file.check().map_err(error::from_sqlite)?;
        }
        match &self.read_locking {
            ReadLocking::None => match self.connections.readers.try_slot() {
                Some(mut slot) => {
                    let connection = match &mut *slot {
                        Some(connection) => connection,
                        empty => empty.insert(self.checkout()?),
                    };
                    self.run_on(connection, self.contention_timeout, operation)
                }
                None => self.run(self.contention_timeout, operation),
            },
            ReadLocking::WriterLock(lock) => {
                let started = Instant::now();
                let guard = lock.try_read_for(self.contention_timeout);
                let _guard = guard.ok_or_else(|| self.lock_timed_out())?;
                let timeout = self.contention_timeout.saturating_sub(started.elapsed());
                self.run(timeout, operation)
            }
        }
    }

    /// Runs an operation that writes, until the deadline as often as contention makes necessary.
    pub(crate) fn write<T>(
        &self,
        deadline: Deadline,
        operation: impl Fn(&Connection) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        let guard = match &self.read_locking {
            ReadLocking::None => None,
            // Before the checkout, so that a waiting writer leaves the connections to the readers.
            ReadLocking::WriterLock(lock) => {
                let guard = lock.try_write_for(deadline.left());
                Some(guard.ok_or_else(|| self.lock_timed_out())?)
            }
        };
        let connection = self.checkout()?;
        let written = self.run_on(&connection, deadline.left(), |connection| {
            self.check_file(connection)?;
            operation(connection)
        });
        drop(guard);
        written
    }

    /// Checks that the file is still there. If it isn't, its log is put away.
    fn check_file(&self, connection: &Connection) -> SqliteResult<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let checked = file.check();
        let was_replaced = self.is_replaced.swap(checked.is_err(), Ordering::Relaxed);
        if checked.is_err() && !was_replaced {
            self.put_log_away(connection);
        }
        checked
    }

    /// Writes the log of a file that was replaced to it, and empties the log. SQLite leaves the log
    /// of such a file, and takes it for that of the file that has the name now.
    fn put_log_away(&self, connection: &Connection) {
        let checkpoint = || {
            let is_busy: bool =
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if is_busy { Err(error::busy()) } else { Ok(()) }
        };
        // Readers that have begun are waited for; this store's others are refused by now.
        if let Err(error) = retry(self.contention_timeout, checkpoint) {
            log::error!(
                "the database's file was replaced, and the old one's log is still there: remove \
                 it before the new file is opened ({error})"
            );
        }
    }

    fn run<T>(
        &self,
        timeout: Duration,
        operation: impl Fn(&Connection) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        let connection = self.checkout()?;
        self.run_on(&connection, timeout, operation)
    }

    /// Runs an operation, and repeats it until the timeout.
    fn run_on<T>(
        &self,
        connection: &Connection,
        timeout: Duration,
        operation: impl Fn(&Connection) -> SqliteResult<T>,
    ) -> Result<T, Error> {
        if !connection.is_autocommit() {
            // What is written now would be rolled back with a transaction that isn't the store's.
            return Err(Error::backend("the pool gave out a connection with an open transaction"));
        }
        retry(timeout, || operation(connection))
            .map_err(|error| self.tables.explain(error, connection))
    }

    fn checkout(&self) -> Result<Checkout, Error> {
        self.connections.checkout().map_err(|error| match &self.file {
            // No connection is opened to another file, or to none.
            Some(file) => file.check().map_or_else(error::from_sqlite, |()| error),
            None => error,
        })
    }

    fn lock_timed_out(&self) -> Error {
        let timeout = self.contention_timeout;
        Error::Contended {
            source: format!("waited {timeout:?} for this process's other writers").into(),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let is_replaced = self.file.as_ref().is_some_and(|file| file.check().is_err());
        if is_replaced && !self.is_replaced.load(Ordering::Relaxed) {
            // Those of the readers go back to the pool. Any that is open belongs to the old file.
            self.connections.readers = ReaderConnections::none();
            if let Some(connection) = self.connections.pool.try_checkout() {
                self.put_log_away(&connection);
            }
        }
    }
}

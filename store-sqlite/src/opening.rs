//! How a store is made: on a file, in memory, or on the application's pool.

use std::num::NonZeroU32;
use std::path::{self, Path};
use std::time::Duration;

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags};
use store_core::backend::TableName;
use store_core::{CleanupOptions, Error};

use crate::connection::configure;
use crate::database::Database;
use crate::options::SqliteOptions;
use crate::reader_connections::ReaderConnections;
use crate::retry::{retry, retry_contended};
use crate::shared::Shared;
use crate::store::SqliteStore;
use crate::{error, schema, table};

/// # Making a store
impl SqliteStore {
    /// The DDL of the table and its index, the same as the Go store's.
    /// [`create_table`](Self::create_table) runs it.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::SqliteStore;
    /// use store_sqlite::rusqlite::Connection;
    ///
    /// # let migrate = || -> store_sqlite::rusqlite::Result<()> {
    /// let connection = Connection::open_in_memory()?;
    /// // As one of the application's migrations.
    /// connection.execute_batch(SqliteStore::CREATE_TABLE)?;
    /// # Ok(()) };
    /// # migrate().map_err(store_sqlite::Error::backend)?;
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    pub const CREATE_TABLE: &str = table::CREATE_TABLE;

    /// The DDL of the index of subjects, which Go programs don't know.
    /// [`create_table`](Self::create_table) runs it as well.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::SqliteStore;
    ///
    /// assert!(SqliteStore::CREATE_SUBJECTS_TABLE.contains("\"sessions_subjects\""));
    /// ```
    pub const CREATE_SUBJECTS_TABLE: &str = table::CREATE_SUBJECTS_TABLE;

    /// The DDL of the records of rotations, which Go programs don't know.
    /// [`create_table`](Self::create_table) runs it as well.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::SqliteStore;
    ///
    /// assert!(SqliteStore::CREATE_ROTATIONS_TABLE.contains("\"sessions_rotations\""));
    /// ```
    pub const CREATE_ROTATIONS_TABLE: &str = table::CREATE_ROTATIONS_TABLE;

    /// Makes a store on a pool that the application already has. Expired sessions are removed every
    /// five minutes.
    ///
    /// # Errors
    /// As for [`SqliteOptions::build`].
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

    /// As [`new`](Self::new), but expired sessions are removed after each `interval`; zero means
    /// never.
    ///
    /// # Errors
    /// As for [`SqliteOptions::build`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_sqlite::r2d2::Pool;
    /// use store_sqlite::r2d2_sqlite::SqliteConnectionManager;
    /// use store_sqlite::{Error, SqliteStore};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// let pool = Pool::new(SqliteConnectionManager::file(path)).map_err(Error::backend)?;
    /// SqliteStore::create_table(&pool)?;
    /// let store = SqliteStore::with_cleanup_interval(pool, Duration::from_secs(60))?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "NewWithCleanupInterval")]
    pub fn with_cleanup_interval(
        pool: Pool<SqliteConnectionManager>,
        interval: Duration,
    ) -> Result<Self, Error> {
        SqliteOptions::new().with_cleanup(CleanupOptions::new().with_interval(interval)).build(pool)
    }

    /// Opens a database file, and creates it and the tables if they are missing; see
    /// [`SqliteOptions::open`].
    ///
    /// # Errors
    /// As for [`SqliteOptions::open`].
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_sqlite::{SqliteStore, Store};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("sessions.db");
    /// let store = SqliteStore::open(path)?;
    /// store.commit("token", b"data", Utc::now() + TimeDelta::hours(24))?;
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        SqliteOptions::new().open(path)
    }

    /// Makes a store on a database in memory, for tests; see [`SqliteOptions::in_memory`].
    ///
    /// # Errors
    /// As for [`SqliteOptions::in_memory`].
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::{SqliteStore, Store};
    ///
    /// let store = SqliteStore::in_memory()?;
    /// assert_eq!(store.count()?, 0);
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    pub fn in_memory() -> Result<Self, Error> {
        SqliteOptions::new().in_memory()
    }

    /// Creates the tables `sessions`, `sessions_subjects` and `sessions_rotations` and their
    /// indexes if they are missing; [`SqliteOptions::create_table`] does so under another name.
    ///
    /// # Errors
    /// As for [`SqliteOptions::create_table`].
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
    /// SqliteStore::create_table(&pool)?; // does nothing
    /// # Ok::<(), Error>(())
    /// ```
    pub fn create_table(pool: &Pool<SqliteConnectionManager>) -> Result<(), Error> {
        SqliteOptions::new().create_table(pool)
    }
}

/// # Making the store
impl SqliteOptions {
    /// Opens a database file, and creates the file and the tables if they are missing.
    ///
    /// The database is put into WAL mode, in which readers and the writer don't wait for each
    /// other; it must be on a local disk.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; [`Error::Unreachable`] if the file can't be opened or created;
    /// [`Error::Corrupt`] if it isn't a database; [`Error::TableMismatch`] if a table of this name
    /// can't keep sessions; and other faults of the system.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::{CleanupOptions, SqliteOptions};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("sessions.db");
    /// let store = SqliteOptions::new().with_cleanup(CleanupOptions::disabled()).open(path)?;
    /// # drop(store);
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    pub fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, Error> {
        let table = self.check()?;
        let path = path.as_ref();
        if path.as_os_str().is_empty() || path == Path::new(":memory:") {
            let problem =
                "it names no file; for a database in memory there is in_memory()".to_owned();
            return Err(Error::InvalidOption { option: "path", problem });
        }
        // The pool opens more connections later, whatever the process's directory is then. And
        // SQLite would read a path that begins with "file:" as a URI.
        let path =
            path::absolute(path).map_err(|error| Error::Unreachable { source: error.into() })?;

        // A first connection of its own, because the pool returns only the text of errors, and
        // late.
        let mut first = Connection::open(&path).map_err(error::from_sqlite)?;
        // An unsuitable table is refused before anything is changed.
        let check = || schema::check(&first, &table);
        match retry_contended(self.contention_timeout, check) {
            Ok(()) | Err(Error::TableMissing { .. }) => {}
            Err(error) => return Err(error),
        }
        let (settings, contention_timeout) = (self.settings, self.contention_timeout);
        configure(&mut first, settings, contention_timeout).map_err(error::from_sqlite)?;
        // Those next to it are created, if that is possible, when the store is made.
        self.create(&first, &table, table::CREATE_TABLE)?;

        let manager = SqliteConnectionManager::file(&path)
            // A file that was taken away is an error, not a reason to begin an empty one.
            .with_flags(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_init(move |connection| configure(connection, settings, contention_timeout));
        let pool = self.pool(self.max_connections, manager);
        // The pool is the store's alone.
        let readers = ReaderConnections::for_pool(self.max_connections.get());
        self.start(pool, readers, table)
    }

    /// Makes a store on a database in memory, which is gone with the store: for tests.
    ///
    /// It has one connection, so operations run one after the other.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], and faults of the system.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::{CleanupOptions, SqliteOptions, Store};
    ///
    /// let store = SqliteOptions::new().with_cleanup(CleanupOptions::disabled()).in_memory()?;
    /// assert_eq!(store.count()?, 0);
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    pub fn in_memory(self) -> Result<SqliteStore, Error> {
        self.check()?;
        let pool = self.pool(NonZeroU32::MIN, SqliteConnectionManager::memory());
        self.create_table(&pool)?;
        self.build(pool)
    }

    /// Makes a store on a pool that the application already has, and on a table that exists.
    ///
    /// The tables of [subjects](SqliteStore::CREATE_SUBJECTS_TABLE) and
    /// [rotations](SqliteStore::CREATE_ROTATIONS_TABLE) are created if they are missing. If that
    /// isn't possible, as in a read-only database, the store logs a warning and works without.
    ///
    /// Journal mode, durability and timeouts are those of the pool's connections.
    ///
    /// # Errors
    /// [`Error::TableMissing`] and [`Error::TableMismatch`], which say what to do;
    /// [`Error::InvalidOption`]; and faults of the system, such as [`Error::Contended`] if tables
    /// have to be created.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::r2d2::Pool;
    /// use store_sqlite::r2d2_sqlite::SqliteConnectionManager;
    /// use store_sqlite::rusqlite::Connection;
    /// use store_sqlite::{Error, SqliteOptions, SqliteStore};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// let connection = Connection::open(&path).map_err(Error::backend)?;
    /// connection.execute_batch(SqliteStore::CREATE_TABLE).map_err(Error::backend)?;
    ///
    /// let pool = Pool::new(SqliteConnectionManager::file(path)).map_err(Error::backend)?;
    /// let store = SqliteOptions::new().build(pool)?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn build(self, pool: Pool<SqliteConnectionManager>) -> Result<SqliteStore, Error> {
        let table = self.check()?;
        self.start(pool, ReaderConnections::none(), table)
    }

    /// Creates the table, those of subjects and rotations next to it, and their indexes if they are
    /// missing.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], and faults of the system.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::r2d2::Pool;
    /// use store_sqlite::r2d2_sqlite::SqliteConnectionManager;
    /// use store_sqlite::{Error, SqliteOptions};
    ///
    /// let pool = Pool::new(SqliteConnectionManager::memory()).map_err(Error::backend)?;
    /// let options = SqliteOptions::new().with_table_name("web_sessions");
    /// options.create_table(&pool)?;
    /// let store = options.build(pool)?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn create_table(&self, pool: &Pool<SqliteConnectionManager>) -> Result<(), Error> {
        let table = self.check()?;
        let connection = pool
            .get()
            .map_err(|error| error::from_checkout(error, pool, pool.connection_timeout()))?;
        let ddl =
            [table::CREATE_TABLE, table::CREATE_SUBJECTS_TABLE, table::CREATE_ROTATIONS_TABLE];
        self.create(&connection, &table, &ddl.concat())
    }

    fn create(&self, connection: &Connection, table: &TableName, ddl: &str) -> Result<(), Error> {
        let ddl = table::ddl_for(table, ddl);
        retry(self.contention_timeout, || connection.execute_batch(&ddl))
            .map_err(|error| schema::explain(error, connection, table, &[]))
    }

    fn pool(
        &self,
        max_connections: NonZeroU32,
        manager: SqliteConnectionManager,
    ) -> Pool<SqliteConnectionManager> {
        Pool::builder()
            .max_size(max_connections.get())
            .min_idle(Some(0))
            .connection_timeout(self.checkout_timeout)
            // A file doesn't hang up: there is nothing to test, and no reason to open it again.
            .test_on_check_out(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .build_unchecked(manager)
    }

    /// Makes the store and starts its cleanup thread.
    fn start(
        self,
        pool: Pool<SqliteConnectionManager>,
        readers: ReaderConnections,
        table: TableName,
    ) -> Result<SqliteStore, Error> {
        let Self { limits, cleanup, clock, contention_timeout, .. } = self;
        let database = Database::open(pool, readers, table, contention_timeout)?;
        let shared = Shared::new(database, limits, clock, cleanup.batch_size().get());
        SqliteStore::start(shared, cleanup)
    }
}

//! How a store is made: on a file, in memory, or on the application's pool.

use std::num::NonZeroU32;
use std::path::{self, Path, PathBuf};
use std::time::Duration;

use r2d2::{ManageConnection, Pool};
use rusqlite::{Connection, Error as SqliteError};
use store_core::backend::{OpenStore, TableName};
use store_core::{CleanupOptions, Error};

use crate::connection::configure;
use crate::connections::Connections;
use crate::database::Database;
use crate::file::{self, DatabaseFile};
use crate::manager::{Access, FileManager, MemoryManager};
use crate::options::SqliteOptions;
use crate::reader_connections::ReaderConnections;
use crate::retry::{Deadline, retry, retry_contended};
use crate::shared::Shared;
use crate::store::SqliteStore;
use crate::{error, schema, table};

const ALL_TABLES: [&str; 3] =
    [table::CREATE_TABLE, table::CREATE_SUBJECTS_TABLE, table::CREATE_ROTATIONS_TABLE];

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
    /// use r2d2_sqlite::SqliteConnectionManager;
    /// use store_sqlite::r2d2::Pool;
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
    pub fn new<M>(pool: Pool<M>) -> Result<Self, Error>
    where
        M: ManageConnection<Connection = Connection>,
    {
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
    /// use r2d2_sqlite::SqliteConnectionManager;
    /// use store_sqlite::r2d2::Pool;
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
    pub fn with_cleanup_interval<M>(pool: Pool<M>, interval: Duration) -> Result<Self, Error>
    where
        M: ManageConnection<Connection = Connection>,
    {
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
    /// use r2d2_sqlite::SqliteConnectionManager;
    /// use store_sqlite::r2d2::Pool;
    /// use store_sqlite::{Error, SqliteStore};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// let pool = Pool::new(SqliteConnectionManager::file(path)).map_err(Error::backend)?;
    /// SqliteStore::create_table(&pool)?;
    /// SqliteStore::create_table(&pool)?; // does nothing
    /// # Ok::<(), Error>(())
    /// ```
    pub fn create_table<M>(pool: &Pool<M>) -> Result<(), Error>
    where
        M: ManageConnection<Connection = Connection>,
    {
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
    /// [`Error::InvalidOption`]; [`Error::Unreachable`] if the file can't be opened or created, or
    /// [`Error::ReadOnly`] and [`Error::StorageFull`] if that is the disk's fault;
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
        let (table, open) = (self.check()?, OpenStore::new()?);
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

        if let Err(error) = file::create(&path, self.file_permissions.clone())
            && let Some(error) = error::from_creation(error)
        {
            return Err(error);
        }
        let deadline = Deadline::after(self.contention_timeout);
        let mut manager = FileManager {
            path: path.clone(),
            access: if self.is_exclusive { Access::Exclusive } else { Access::ReadWrite },
            file: None,
            settings: Some(self.settings),
            contention_timeout: self.contention_timeout,
        };
        let mut first = manager.open_first()?;
        refuse_unsuitable(&first, &table, deadline)?;
        configure(&mut first, self.settings, deadline.left())
            .map_err(|error| error::from_file(error, &path))?;
        // Those next to it are created, if that is possible, when the store is made.
        create(&first, &table, self.create_table_ddl(), deadline)?;

        let file = DatabaseFile::at(&path);
        manager.file.clone_from(&file);
        let readers = ReaderConnections::for_pool(self.max_connections.get());
        let connections = self.connections(Some(path), self.max_connections, manager, readers);
        self.start(open, connections, file, table, deadline)
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
        let (table, open) = (self.check()?, OpenStore::new()?);
        let deadline = Deadline::after(self.contention_timeout);
        let connections =
            self.connections(None, NonZeroU32::MIN, MemoryManager, ReaderConnections::none());
        create(&*connections.checkout()?, &table, self.create_table_ddl(), deadline)?;
        self.start(open, connections, None, table, deadline)
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
    /// use r2d2_sqlite::SqliteConnectionManager;
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
    pub fn build<M>(self, pool: Pool<M>) -> Result<SqliteStore, Error>
    where
        M: ManageConnection<Connection = Connection>,
    {
        let (table, open) = (self.check()?, OpenStore::new()?);
        let deadline = Deadline::after(self.contention_timeout);
        self.start(open, Connections::from_pool(pool), None, table, deadline)
    }

    /// Creates the table, those of subjects and rotations next to it, and their indexes if they are
    /// missing.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], and faults of the system.
    ///
    /// # Examples
    /// ```
    /// use r2d2_sqlite::SqliteConnectionManager;
    /// use store_sqlite::r2d2::Pool;
    /// use store_sqlite::{Error, SqliteOptions};
    ///
    /// let pool = Pool::new(SqliteConnectionManager::memory()).map_err(Error::backend)?;
    /// let options = SqliteOptions::new().with_table_name("web_sessions");
    /// options.create_table(&pool)?;
    /// let store = options.build(pool)?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn create_table<M>(&self, pool: &Pool<M>) -> Result<(), Error>
    where
        M: ManageConnection<Connection = Connection>,
    {
        let table = self.check()?;
        let connection = Connections::from_pool(pool.clone()).checkout()?;
        let deadline = Deadline::after(self.contention_timeout);
        create(&connection, &table, &ALL_TABLES.concat(), deadline)
    }

    /// What is created in a database of the store's own. The tables next to that of the sessions
    /// are created when the store is made.
    pub(crate) fn create_table_ddl(&self) -> &'static str {
        if self.has_expiry_index { table::CREATE_TABLE } else { table::CREATE_TABLE_ALONE }
    }

    pub(crate) fn connections<M>(
        &self,
        path: Option<PathBuf>,
        max_connections: NonZeroU32,
        manager: M,
        readers: ReaderConnections,
    ) -> Connections
    where
        M: ManageConnection<Connection = Connection, Error = SqliteError>,
    {
        Connections::new(path, manager, readers, |pool| {
            pool.max_size(max_connections.get())
                .min_idle(Some(0))
                .connection_timeout(self.checkout_timeout)
                // A file doesn't hang up: there is nothing to test, and no reason to open it again.
                .test_on_check_out(false)
                .idle_timeout(None)
                .max_lifetime(None)
        })
    }

    /// Makes the store and starts its cleanup thread.
    pub(crate) fn start(
        self,
        open: OpenStore,
        connections: Connections,
        file: Option<DatabaseFile>,
        table: TableName,
        deadline: Deadline,
    ) -> Result<SqliteStore, Error> {
        let Self { limits, cleanup, clock, contention_timeout, .. } = self;
        let database =
            Database::open(open, connections, file, table, deadline, contention_timeout)?;
        let shared = Shared::new(database, limits, clock, cleanup.batch_size().get());
        SqliteStore::start(shared, cleanup)
    }
}

/// Refuses a table that can't keep sessions, before anything is changed. It may be missing.
pub(crate) fn refuse_unsuitable(
    connection: &Connection,
    table: &TableName,
    deadline: Deadline,
) -> Result<(), Error> {
    match retry_contended(deadline.left(), || schema::check(connection, table)) {
        Ok(_) | Err(Error::TableMissing { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Creates tables.
pub(crate) fn create(
    connection: &Connection,
    table: &TableName,
    ddl: &str,
    deadline: Deadline,
) -> Result<(), Error> {
    let ddl = table::ddl_for(table, ddl);
    retry(deadline.left(), || connection.execute_batch(&ddl))
        .map_err(|error| schema::explain(error, connection, table, &[]))
}

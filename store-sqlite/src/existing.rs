//! A database of somebody else's, opened and looked at as it is: for an operator's tools.

use std::fs;
use std::io;
use std::path::{self, Path};

use store_core::backend::OpenStore;
use store_core::{CleanupOptions, Error, Inspection};

use crate::file::DatabaseFile;
use crate::manager::{Access, FileManager};
use crate::opening::{create, refuse_unsuitable};
use crate::options::SqliteOptions;
use crate::reader_connections::ReaderConnections;
use crate::retry::{Deadline, retry, retry_contended};
use crate::rotations::Rotations;
use crate::store::SqliteStore;
use crate::subjects::SubjectIndex;
use crate::{error, julian, schema, table};

/// # What is there already
impl SqliteOptions {
    /// Opens a database file that exists, and leaves it as it is: its journal mode is whatever the
    /// application has set, and neither the file nor the table is created. Those of subjects and
    /// rotations are, as with [`build`](Self::build), if they are missing.
    ///
    /// It is for tools, and for applications whose file is created elsewhere: one that is missing
    /// because a disk wasn't mounted is an error, and not the beginning of an empty store.
    /// Durability and memory map are SQLite's defaults then, and the file is shared with other
    /// processes.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if there is no such file; [`Error::TableMissing`]; and as for
    /// [`open`](Self::open).
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::{Error, SqliteOptions, SqliteStore, Store};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// let missing = SqliteOptions::new().open_existing(&path);
    /// assert!(matches!(missing, Err(Error::Unreachable { .. })));
    ///
    /// SqliteStore::open(&path)?;
    /// let store = SqliteOptions::new().open_existing(&path)?;
    /// assert_eq!(store.count()?, 0);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn open_existing(self, path: impl AsRef<Path>) -> Result<SqliteStore, Error> {
        self.open_as_it_is(path.as_ref(), Access::ReadWrite)
    }

    /// As [`open_existing`](Self::open_existing), to read alone: every write is
    /// [`Error::ReadOnly`], nothing is created, and there is no cleanup thread.
    ///
    /// In WAL mode SQLite shares its index of the log through a file next to the database, which
    /// has to be there or be creatable for readers as well.
    ///
    /// # Errors
    /// As for [`open_existing`](Self::open_existing).
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::{Error, SqliteOptions, SqliteStore, Store};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// SqliteStore::open(&path)?;
    /// let store = SqliteOptions::new().open_read_only(&path)?;
    /// assert_eq!(store.count()?, 0);
    /// assert!(matches!(store.delete_all(), Err(Error::ReadOnly { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn open_read_only(self, path: impl AsRef<Path>) -> Result<SqliteStore, Error> {
        let options = self.with_cleanup(CleanupOptions::disabled());
        options.open_as_it_is(path.as_ref(), Access::ReadOnly)
    }

    fn open_as_it_is(self, path: &Path, access: Access) -> Result<SqliteStore, Error> {
        let mut manager = self.manager(path, access)?;
        drop(manager.open_first()?);
        let (table, open) = (self.check()?, OpenStore::new()?);
        let deadline = Deadline::after(self.contention_timeout);
        let (path, file) = (manager.path.clone(), DatabaseFile::at(&manager.path));
        manager.file.clone_from(&file);
        let readers = ReaderConnections::none();
        let connections = self.connections(Some(path), self.max_connections, manager, readers);
        self.start(open, connections, file, table, deadline)
    }

    /// What opens a file that is there, and leaves the database as it is.
    fn manager(&self, path: &Path, access: Access) -> Result<FileManager, Error> {
        let unreachable = |error: io::Error| Error::Unreachable { source: error.into() };
        fs::metadata(path).map_err(unreachable)?;
        let path = path::absolute(path).map_err(unreachable)?;
        let contention_timeout = self.contention_timeout;
        Ok(FileManager { path, access, file: None, settings: None, contention_timeout })
    }

    /// Looks at the database and its tables, without changing anything.
    ///
    /// # Errors
    /// [`Error::TableMissing`] and [`Error::TableMismatch`], which say what to do;
    /// [`Error::Unreachable`] if there is no such file; [`Error::Corrupt`]; and other faults of the
    /// system.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::{SqliteOptions, SqliteStore};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// SqliteStore::open(&path)?;
    /// let found = SqliteOptions::new().inspect(&path)?;
    /// assert!(found.engine.starts_with("SQLite 3"));
    /// assert!(found.has_subjects && found.has_rotations);
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    pub fn inspect(&self, path: impl AsRef<Path>) -> Result<Inspection, Error> {
        let (table, _open) = (self.check()?, OpenStore::new()?);
        let connection = self.manager(path.as_ref(), Access::ReadOnly)?.open_first()?;
        let deadline = Deadline::after(self.contention_timeout);
        let has_expiry_index =
            retry_contended(deadline.left(), || schema::check(&connection, &table))?;
        let has_side_table = |name: &str, ddl: &str, statements: &[&str]| {
            let failed = |error| error::from_connection(error, &connection);
            let exists = retry(deadline.left(), || table::exists(&connection, name));
            if !exists.map_err(failed)? {
                return Ok(false);
            }
            let ddl = table::ddl_for(&table, ddl);
            retry_contended(deadline.left(), || {
                schema::check_side_table(&connection, name, &ddl, statements)
            })?;
            Ok::<_, Error>(true)
        };
        let journal_mode: String = retry(deadline.left(), || {
            connection.pragma_query_value(None, "journal_mode", |row| row.get(0))
        })
        .map_err(|error| error::from_connection(error, &connection))?;
        let engine = format!("SQLite {}, journal mode {journal_mode}", rusqlite::version());
        let mut found = Inspection::new(engine, self.limits, julian::latest());
        found.has_expiry_index = Some(has_expiry_index);
        found.has_subjects = has_side_table(
            &table::subjects_name(&table),
            table::CREATE_SUBJECTS_TABLE,
            &SubjectIndex::new(&table).statements(),
        )?;
        found.has_rotations = has_side_table(
            &table::rotations_name(&table),
            table::CREATE_ROTATIONS_TABLE,
            &Rotations::new(&table).statements(),
        )?;
        Ok(found)
    }

    /// Returns the DDL of the tables and their indexes, for migrations.
    /// [`create_table_in`](Self::create_table_in) runs it.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::SqliteOptions;
    ///
    /// let ddl = SqliteOptions::new().with_table_name("web").ddl()?;
    /// assert!(ddl.starts_with("CREATE TABLE IF NOT EXISTS \"web\""));
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    pub fn ddl(&self) -> Result<String, Error> {
        let parts =
            [self.create_table_ddl(), table::CREATE_SUBJECTS_TABLE, table::CREATE_ROTATIONS_TABLE];
        Ok(table::ddl_for(&self.check()?, &parts.concat()))
    }

    /// Creates those of the tables and indexes of [`ddl`](Self::ddl) that are missing, in a file
    /// that exists and keeps its journal mode, or in a new one, as [`open`](Self::open) creates it.
    ///
    /// # Errors
    /// [`Error::TableMismatch`] if there is a table of this name that can't keep sessions, and as
    /// for [`open`](Self::open).
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::SqliteOptions;
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// let options = SqliteOptions::new().with_expiry_index();
    /// options.create_table_in(&path)?;
    /// options.create_table_in(&path)?; // does nothing
    /// assert_eq!(options.inspect(&path)?.has_expiry_index, Some(true));
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    pub fn create_table_in(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let (table, ddl) = (self.check()?, self.ddl()?);
        let Ok(manager) = self.manager(path.as_ref(), Access::ReadWrite) else {
            // If anything else is wrong with it than that it is missing, this says so.
            let options = self.clone().with_cleanup(CleanupOptions::disabled());
            return options.open(path).map(drop);
        };
        let _open = OpenStore::new()?;
        let connection = manager.open_first()?;
        let deadline = Deadline::after(self.contention_timeout);
        refuse_unsuitable(&connection, &table, deadline)?;
        create(&connection, &table, &ddl, deadline)
    }
}

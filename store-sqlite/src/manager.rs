//! Opens the connections of a pool that the store has made.

use std::path::PathBuf;
use std::time::Duration;

use r2d2::ManageConnection;
use rusqlite::{Connection, Error as SqliteError, OpenFlags, Result as SqliteResult};
use store_core::Error;

use crate::connection::{STATEMENTS, Settings, configure};
use crate::error;
use crate::file::DatabaseFile;

/// The VFS that keeps a file for this process: its locks, and the index of its log, are in the
/// process's memory then: <https://sqlite.org/vfs.html>.
const EXCLUSIVE_VFS: &str = "unix-excl";

/// Opens connections to a file that exists.
#[derive(Debug)]
pub(crate) struct FileManager {
    pub(crate) path: PathBuf,
    pub(crate) access: Access,
    /// What has the name since the first connection.
    pub(crate) file: Option<DatabaseFile>,
    /// What the database is set up with. Nothing leaves it as it is.
    pub(crate) settings: Option<Settings>,
    pub(crate) contention_timeout: Duration,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
    /// No other process gets in, where SQLite has this.
    Exclusive,
}

impl FileManager {
    /// Opens a first connection, outside of the pool, because that returns errors late.
    pub(crate) fn open_first(&self) -> Result<Connection, Error> {
        self.open().map_err(|error| error::from_file(error, &self.path))
    }

    /// Opens a connection that waits for nobody: contention is waited out by `retry`.
    fn open(&self) -> SqliteResult<Connection> {
        // Without CREATE, because a file that was taken away is no reason to begin an empty one;
        // and without URI, because a path is none.
        let flags = match self.access {
            Access::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Access::ReadWrite | Access::Exclusive => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        // A connection is used by one thread at a time.
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match self.access {
            Access::Exclusive if cfg!(unix) => {
                Connection::open_with_flags_and_vfs(&self.path, flags, EXCLUSIVE_VFS)
            }
            _ => Connection::open_with_flags(&self.path, flags),
        }?;
        connection.busy_timeout(Duration::ZERO)?;
        Ok(connection)
    }
}

impl ManageConnection for FileManager {
    type Connection = Connection;
    type Error = SqliteError;

    fn connect(&self) -> SqliteResult<Connection> {
        let mut connection = self.open()?;
        // Before anything is read, and with it the log of another file.
        if let Some(file) = &self.file {
            file.check()?;
        }
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        if let Some(settings) = self.settings {
            configure(&mut connection, settings, self.contention_timeout)?;
        }
        Ok(connection)
    }

    fn is_valid(&self, _: &mut Connection) -> SqliteResult<()> {
        // A file doesn't hang up.
        Ok(())
    }

    fn has_broken(&self, _: &mut Connection) -> bool {
        false
    }
}

/// Opens a database in memory, another one each time.
#[derive(Debug)]
pub(crate) struct MemoryManager;

impl ManageConnection for MemoryManager {
    type Connection = Connection;
    type Error = SqliteError;

    fn connect(&self) -> SqliteResult<Connection> {
        Connection::open_in_memory()
    }

    fn is_valid(&self, _: &mut Connection) -> SqliteResult<()> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Connection) -> bool {
        false
    }
}

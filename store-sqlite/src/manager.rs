//! Opens the connections of a pool that the store has made.

use std::path::PathBuf;
use std::time::Duration;

use r2d2::ManageConnection;
use rusqlite::{Connection, Error as SqliteError, OpenFlags, Result as SqliteResult};

use crate::connection::{Settings, configure};
use crate::file::DatabaseFile;

/// The VFS that keeps a file for this process: its locks, and the index of its log, are in the
/// process's memory then: <https://sqlite.org/vfs.html>.
const EXCLUSIVE_VFS: &str = "unix-excl";

/// Opens connections to a file that exists.
#[derive(Debug)]
pub(crate) struct FileManager {
    pub(crate) path: PathBuf,
    pub(crate) is_exclusive: bool,
    /// What has the name since the first connection.
    pub(crate) file: Option<DatabaseFile>,
    pub(crate) settings: Settings,
    pub(crate) contention_timeout: Duration,
}

impl FileManager {
    /// Opens a connection and leaves it as SQLite sets it up.
    pub(crate) fn open(&self) -> SqliteResult<Connection> {
        // A file that was taken away is an error, not a reason to begin an empty one; and a path is
        // never a URI.
        let flags =
            OpenFlags::default() & !(OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_URI);
        if self.is_exclusive && cfg!(unix) {
            Connection::open_with_flags_and_vfs(&self.path, flags, EXCLUSIVE_VFS)
        } else {
            Connection::open_with_flags(&self.path, flags)
        }
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
        configure(&mut connection, self.settings, self.contention_timeout)?;
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

//! The file of a database: how it is created, whether it is still the same, and what the system
//! says if SQLite doesn't say enough.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rusqlite::{Connection, Error as SqliteError, Result as SqliteResult, ffi};

/// Creates the file of a database, empty, unless something has the name. Without permissions its
/// owner alone can read and write it, on Unix.
///
/// What SQLite creates next to it gets the same permissions.
pub(crate) fn create(path: &Path, permissions: Option<Permissions>) -> io::Result<()> {
    // Closing a file gives up the locks that other connections of this process have on it. There
    // are none yet: no other store gets past this before the file is closed.
    static CREATION: Mutex<()> = Mutex::new(());
    let _guard = CREATION.lock();
    match private().open(path) {
        Ok(file) => permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// How a file is created that nobody else can open.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The file that a store works on.
///
/// A file that takes its place, as a backup that is restored, must not be used together with the
/// log of the old one, and what is written to the old one is lost.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    identity: Identity,
}

#[cfg(unix)]
type Identity = (u64, u64);
#[cfg(not(unix))]
type Identity = ();

impl DatabaseFile {
    /// Returns what has the name now; nothing if that can't be seen.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let identity = identity(path).ok()?;
        Some(Self { path: path.to_owned(), identity })
    }

    /// Returns the file of a connection; nothing if its database is in memory.
    pub(crate) fn of_connection(connection: &Connection) -> Option<Self> {
        let path = connection.path().filter(|path| !path.is_empty())?;
        Self::at(Path::new(path))
    }

    /// Checks that the name still leads to the same file.
    ///
    /// # Errors
    /// SQLite's own for a file that was moved, which it uses in some journal modes.
    pub(crate) fn check(&self) -> SqliteResult<()> {
        let what = match identity(&self.path) {
            Ok(identity) if identity == self.identity => return Ok(()),
            Ok(_) => "another file has its name",
            Err(error) if error.kind() == ErrorKind::NotFound => "no file has its name",
            // Another user's rights, for example after a process has given up its own, say nothing.
            Err(_) => return Ok(()),
        };
        let moved = ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED);
        Err(SqliteError::SqliteFailure(moved, Some(what.to_owned())))
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;

    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(drop)
}

/// How much is written to find out whether there is room.
static PROBE: [u8; 64 * 1024] = [0; 64 * 1024];

/// Returns what the system says if a file next to the database, as long as the database and its
/// log, is extended. SQLite keeps the system's reason for an error to itself.
pub(crate) fn probe(database: &Path) -> io::Result<()> {
    static PROBES: AtomicU64 = AtomicU64::new(0);
    let next_to = |suffix: &str| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let number = PROBES.fetch_add(1, Ordering::Relaxed);
    let path = next_to(&format!("-probe-{}-{number}", process::id()));
    let mut file = private().open(&path)?;
    fs::remove_file(&path)?;
    let len = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let end = len(database).max(len(&next_to("-wal")));
    extend(&mut file, end)
}

fn extend(file: &mut File, end: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(end))?;
    file.write_all(&PROBE)?;
    file.sync_data()
}

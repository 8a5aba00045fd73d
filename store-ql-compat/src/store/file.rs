//! Opens files. What isn't a database of redb is refused before redb sees it, and a new database
//! appears under its name only when it is complete.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, Error as RedbError};
use store_core::Error;

use super::error::{from_io, from_redb};
use crate::ql_format::QlFormat;

/// What every file of redb begins with.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Opens a file, and creates it if there is none.
pub(super) fn open_or_create(path: &Path, builder: &Builder) -> Result<Database, Error> {
    match examine(path)? {
        Found::Redb => return open(path, builder),
        // Someone has created the file and left its content to the store.
        Found::Empty => replace_empty(path, builder)?,
        Found::Nothing => match create(path, builder) {
            // Another process was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            outcome => outcome.map_err(from_io)?,
        },
    }
    open(path, builder)
}

/// Opens a file that was opened before. If it has been removed, it isn't created again.
pub(super) fn reopen(path: &Path, builder: &Builder) -> Result<Database, Error> {
    match examine(path)? {
        Found::Redb => open(path, builder),
        Found::Empty | Found::Nothing => {
            let gone = io::Error::new(ErrorKind::NotFound, "the file is gone, or empty");
            Err(from_io(gone))
        }
    }
}

fn open(path: &Path, builder: &Builder) -> Result<Database, Error> {
    builder.open(path).map_err(from_database)
}

fn from_database(error: DatabaseError) -> Error {
    from_redb(RedbError::from(error))
}

enum Found {
    Redb,
    Empty,
    Nothing,
}

fn examine(path: &Path) -> Result<Found, Error> {
    // Opening a pipe would wait for a writer.
    match fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => {
            return Err(Error::Corrupt { source: "it is a pipe or a device".into() });
        }
        _ => {}
    }
    let mut first = Vec::new();
    let read = File::open(path).and_then(|file| file.take(16).read_to_end(&mut first));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(from_io(error)),
        Ok(0) => return Ok(Found::Empty),
        Ok(_) if first.starts_with(MAGIC) => {}
        Ok(_) => {
            let what = match QlFormat::from_first_bytes(&first) {
                Some(QlFormat::V1) => {
                    "it is a database of ql, format 1: import_ql imports its sessions"
                }
                Some(QlFormat::V2) => {
                    "it is a database of ql, format 2: import_ql imports its sessions"
                }
                None if first.starts_with(b"SQLite format 3\0") => {
                    "it is a SQLite database: store-sqlite keeps sessions in those"
                }
                None => "it is no database of redb",
            };
            return Err(Error::Corrupt { source: what.into() });
        }
    }
    // redb opens for writing alone, and its error wouldn't say that reading is allowed.
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(Error::ReadOnly { source: error.into() })
        }
        Err(error) => Err(from_io(error)),
        Ok(_) => Ok(Found::Redb),
    }
}

/// Creates a database under a temporary name and gives it its own when it is complete: a process
/// that is killed before leaves no incomplete file that could never be opened, and of two processes
/// that create it at the same time one wins.
fn create(path: &Path, builder: &Builder) -> io::Result<()> {
    let (temporary, file) = create_temporary(path)?;
    let created = match builder.create_file(file) {
        Ok(database) => {
            drop(database);
            // A rename would replace the file of a process that was faster.
            match fs::hard_link(&temporary, path) {
                // A file system without hard links, such as FAT: redb creates the file in its
                // place.
                Err(error) if is_unsupported(&error) => {
                    builder.create(path).map(drop).map_err(into_io)
                }
                linked => linked,
            }
        }
        Err(error) => Err(into_io(error)),
    };
    fs::remove_file(&temporary)?;
    created?;
    sync_directory(path)
}

/// Replaces an empty file by a database, which is complete as one of [`create`] is and gets the
/// file's permissions.
#[cfg(unix)]
fn replace_empty(path: &Path, builder: &Builder) -> Result<(), Error> {
    use std::fs::TryLockError;

    // A symbolic link stays one.
    let path = &path.canonicalize().map_err(from_io)?;
    let empty = OpenOptions::new().read(true).write(true).open(path).map_err(from_io)?;
    // Of two processes that do this one gets the lock, and the other then finds another file.
    match empty.try_lock() {
        Ok(()) => replace_locked(&empty, path, builder).map_err(from_io),
        Err(TryLockError::WouldBlock) => Err(from_redb(RedbError::DatabaseAlreadyOpen)),
        Err(TryLockError::Error(error)) => Err(from_io(error)),
    }
}

#[cfg(unix)]
fn replace_locked(empty: &File, path: &Path, builder: &Builder) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    let (locked, found) = (empty.metadata()?, fs::metadata(path)?);
    if found.len() > 0 || (locked.dev(), locked.ino()) != (found.dev(), found.ino()) {
        return Ok(());
    }
    let (temporary, file) = create_temporary(path)?;
    let created = builder
        .create_file(file)
        .map(drop)
        .map_err(into_io)
        .and_then(|()| fs::set_permissions(&temporary, locked.permissions()))
        .and_then(|()| fs::rename(&temporary, path));
    if created.is_err() {
        fs::remove_file(&temporary)?;
    }
    created?;
    sync_directory(path)
}

/// Lets redb write into the empty file: files can't be told apart and replaced as on Unix.
#[cfg(not(unix))]
fn replace_empty(path: &Path, builder: &Builder) -> Result<(), Error> {
    builder.create(path).map(drop).map_err(from_database)
}

/// Creates a file of a random name next to the path. The name is short, because the path's own may
/// have the maximal length.
fn create_temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    if path.file_name().is_none() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "the path names no file"));
    }
    let random = RandomState::new().build_hasher().finish();
    let temporary = path.with_file_name(format!(".sessions-{random:016x}.new"));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&temporary)?;
    Ok((temporary, file))
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied)
}

fn into_io(error: DatabaseError) -> io::Error {
    match RedbError::from(error) {
        RedbError::Io(error) => error,
        error => io::Error::other(error),
    }
}

/// Makes the file's name durable, as its content is.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

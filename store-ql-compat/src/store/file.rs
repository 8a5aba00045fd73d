//! Opening a file: what isn't a database of redb is refused before redb sees it, and a new one appears whole.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, Error as RedbError};
use store_core::Error;

use super::error;
use crate::ql_format::QlFormat;

/// What every file of redb begins with.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Opens a file, and makes it where there is none.
pub(crate) fn open_or_create(path: &Path, builder: &Builder) -> Result<Database, Error> {
    match examine(path)? {
        Found::Redb => return open(path, builder),
        // Somebody has made the file and left the rest to us.
        Found::Empty => replace_empty(path, builder)?,
        Found::Nothing => match create(path, builder) {
            // Others have been quicker.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            outcome => outcome.map_err(error::of_io)?,
        },
    }
    open(path, builder)
}

/// Opens a file that is there: one that was taken away is not begun anew.
pub(crate) fn reopen(path: &Path, builder: &Builder) -> Result<Database, Error> {
    match examine(path)? {
        Found::Redb => open(path, builder),
        Found::Empty | Found::Nothing => {
            let gone = io::Error::new(ErrorKind::NotFound, "the file is gone, or empty");
            Err(error::of_io(gone))
        }
    }
}

fn open(path: &Path, builder: &Builder) -> Result<Database, Error> {
    builder.open(path).map_err(of_database)
}

fn of_database(error: DatabaseError) -> Error {
    error::of_redb(RedbError::from(error))
}

enum Found {
    Redb,
    Empty,
    Nothing,
}

fn examine(path: &Path) -> Result<Found, Error> {
    // Opening a pipe waits for whoever writes to it.
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
        Err(error) => return Err(error::of_io(error)),
        Ok(0) => return Ok(Found::Empty),
        Ok(_) if first.starts_with(MAGIC) => {}
        Ok(_) => {
            let what = match QlFormat::from_first_bytes(&first) {
                Some(QlFormat::V1) => {
                    "it is a database of ql, format 1: import_ql takes the sessions out of it"
                }
                Some(QlFormat::V2) => {
                    "it is a database of ql, format 2: import_ql takes the sessions out of it"
                }
                None if first.starts_with(b"SQLite format 3\0") => {
                    "it is a SQLite database: store-sqlite keeps sessions in it"
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
        Err(error) => Err(error::of_io(error)),
        Ok(_) => Ok(Found::Redb),
    }
}

/// Makes a database under another name and gives it its own when it is whole: a process that is
/// killed meanwhile leaves no half of a file that nobody could open, and of two processes that both
/// make it one wins.
fn create(path: &Path, builder: &Builder) -> io::Result<()> {
    let (unfinished, file) = begin(path)?;
    let made = match builder.create_file(file) {
        Ok(database) => {
            drop(database);
            // A rename would replace the file of a process that was quicker.
            match fs::hard_link(&unfinished, path) {
                // A file system without hard links, such as FAT: redb makes the file in its place.
                Err(error) if is_unsupported(&error) => {
                    builder.create(path).map(drop).map_err(into_io)
                }
                linked => linked,
            }
        }
        Err(error) => Err(into_io(error)),
    };
    fs::remove_file(&unfinished)?;
    made?;
    sync_directory(path)
}

/// Puts a database in the place of an empty file, as whole as [`create`] makes one, and with its permissions.
#[cfg(unix)]
fn replace_empty(path: &Path, builder: &Builder) -> Result<(), Error> {
    use std::fs::TryLockError;

    // A link stays one.
    let path = &path.canonicalize().map_err(error::of_io)?;
    let empty = OpenOptions::new().read(true).write(true).open(path).map_err(error::of_io)?;
    // Of two processes that do this one has the lock. What the other finds then is another file.
    match empty.try_lock() {
        Ok(()) => replace_locked(&empty, path, builder).map_err(error::of_io),
        Err(TryLockError::WouldBlock) => Err(error::of_redb(RedbError::DatabaseAlreadyOpen)),
        Err(TryLockError::Error(error)) => Err(error::of_io(error)),
    }
}

#[cfg(unix)]
fn replace_locked(empty: &File, path: &Path, builder: &Builder) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    let (locked, found) = (empty.metadata()?, fs::metadata(path)?);
    if found.len() > 0 || (locked.dev(), locked.ino()) != (found.dev(), found.ino()) {
        return Ok(());
    }
    let (unfinished, file) = begin(path)?;
    let made = builder
        .create_file(file)
        .map(drop)
        .map_err(into_io)
        .and_then(|()| fs::set_permissions(&unfinished, locked.permissions()))
        .and_then(|()| fs::rename(&unfinished, path));
    if made.is_err() {
        fs::remove_file(&unfinished)?;
    }
    made?;
    sync_directory(path)
}

/// Has redb make the file in its place, where files can't be told apart and replaced as on Unix.
#[cfg(not(unix))]
fn replace_empty(path: &Path, builder: &Builder) -> Result<(), Error> {
    builder.create(path).map(drop).map_err(of_database)
}

/// A new file beside the path, with a name of its own: short, because the path's may be as long as can be.
fn begin(path: &Path) -> io::Result<(PathBuf, File)> {
    if path.file_name().is_none() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "the path names no file"));
    }
    let random = RandomState::new().build_hasher().finish();
    let unfinished = path.with_file_name(format!(".sessions-{random:016x}.new"));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&unfinished)?;
    Ok((unfinished, file))
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

/// Makes the file's name survive a loss of power, as its content does.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

//! Opens files. What isn't a database of redb is refused before redb sees it, and a new database
//! appears under its name only when it is complete.

use std::fs::{self, DirEntry, File, Metadata, OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Read};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{BackendError, Builder, Database, DatabaseError, Error as RedbError, StorageBackend};
use store_core::Error;

use super::Creation;
use super::error::{from_database, from_io, from_redb};
use super::named_file::NamedFile;
use super::replacement::{replace, was_closed};
use super::watched::{SyncFailure, Watched};
use crate::ql_format::QlFormat;

/// What every file of redb begins with.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Opens a file, and creates it, with these permissions, if there is none and it may. Failed syncs
/// of it are recorded.
pub(super) fn open(
    path: &Path,
    creation: Creation,
    permissions: Option<&Permissions>,
    failure: &SyncFailure,
    named: &NamedFile,
    builder: &Builder,
) -> Result<Database, Error> {
    remove_leftovers(path);
    let found = match examine(path)? {
        Found::Empty | Found::Nothing if creation == Creation::Never => return Err(gone()),
        // Someone has created the file and left its content to the store.
        Found::Empty => {
            replace_empty(path, builder)?;
            examine(path)?
        }
        Found::Nothing => {
            match create(path, permissions, builder) {
                // Another process was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                outcome => outcome.map_err(from_io)?,
            }
            examine(path)?
        }
        found @ Found::Redb { .. } => found,
    };
    // The file's name may not be durable yet: the process that created it can have been killed
    // before it synced the directory, or be about to sync it.
    match sync_directory(path) {
        // Who may not read the directory, or can't sync it, hasn't created a file in it either.
        Err(error) if is_unsupported(&error) => {}
        outcome => outcome.map_err(from_io)?,
    }
    match found {
        Found::Redb { was_closed: true } => open_in_place(path, failure, named, builder),
        Found::Redb { was_closed: false } => open_replaced(path, failure, named, builder),
        Found::Empty | Found::Nothing => Err(gone()),
    }
}

/// Opens a file that was opened before, unless another has taken its place. If it has been removed,
/// it isn't created again.
pub(super) fn reopen(
    path: &Path,
    failure: &SyncFailure,
    named: &NamedFile,
    builder: &Builder,
) -> Result<Database, Error> {
    named.check().map_err(from_io)?;
    match examine(path)? {
        Found::Redb { .. } if failure.has_happened() => {
            open_replaced(path, failure, named, builder)
        }
        Found::Redb { .. } => open_in_place(path, failure, named, builder),
        Found::Empty | Found::Nothing => Err(gone()),
    }
}

fn gone() -> Error {
    from_io(io::Error::new(ErrorKind::NotFound, "the file is gone, or empty"))
}

fn open_in_place(
    path: &Path,
    failure: &SyncFailure,
    named: &NamedFile,
    builder: &Builder,
) -> Result<Database, Error> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(from_io)?;
    let opened = file.metadata().map_err(from_io)?;
    // Before redb writes to it, which it does as it opens it.
    named.clear();
    let same = file.try_clone().map_err(from_io)?;
    let file = FileBackend::new(file).map_err(from_database)?;
    let watched = Watched::new(file, failure.clone(), named.clone());
    let database = builder.create_with_backend(watched);
    let database = database.map_err(from_database)?;
    // Only now it is locked. Before that, another process may have replaced it.
    check_is_named(path, &opened)?;
    named.set(path, same).map_err(from_io)?;
    Ok(database)
}

/// Replaces the file by a copy, which it opens.
fn open_replaced(
    path: &Path,
    failure: &SyncFailure,
    named: &NamedFile,
    builder: &Builder,
) -> Result<Database, Error> {
    // A symbolic link stays one.
    let path = &path.canonicalize().map_err(from_io)?;
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(from_io)?;
    let opened = file.metadata().map_err(from_io)?;
    // It stays locked until the copy is locked and has its name.
    let old = FileBackend::new(file).map_err(from_database)?;
    match old.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
        Ok(true) | Err(BackendError::Unsupported) => {}
        Ok(false) => return Err(from_redb(RedbError::DatabaseAlreadyOpen)),
        Err(error) => return Err(from_io(error.into())),
    }
    check_is_named(path, &opened)?;
    let (temporary, new) = Temporary::create(path).map_err(cannot_copy)?;
    inherit(&new, &opened).map_err(from_io)?;
    named.clear();
    let same = new.try_clone().map_err(from_io)?;
    let new = FileBackend::new(new).map_err(from_database)?;
    let database = replace(
        &old,
        Watched::new(new, failure.clone(), named.clone()),
        |new| builder.create_with_backend(new).map_err(from_database),
        || fs::rename(&temporary.path, path).and_then(|()| sync_directory(path)),
    )?;
    failure.clear();
    named.set(path, same).map_err(from_io)?;
    log::warn!(
        "the session database was replaced by a copy of its file, because a sync had failed or it \
         wasn't closed properly"
    );
    Ok(database)
}

fn cannot_copy(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            let what = format!(
                "the file wasn't closed properly and has to be replaced by a copy of it, but its \
                 directory can't be written to: {error}"
            );
            from_io(io::Error::new(error.kind(), what))
        }
        _ => from_io(error),
    }
}

/// Fails if the path names another file than this one.
fn check_is_named(path: &Path, file: &Metadata) -> Result<(), Error> {
    let named = fs::metadata(path).map_err(from_io)?;
    if is_same(file, &named) {
        return Ok(());
    }
    Err(Error::InUse { source: "another process has just replaced the file".into() })
}

#[cfg(unix)]
pub(super) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Files can't be told apart as on Unix.
#[cfg(not(unix))]
pub(super) fn is_same(_one: &Metadata, _other: &Metadata) -> bool {
    true
}

/// Gives a file the permissions of the one that it will replace.
#[cfg(unix)]
fn inherit(file: &File, replaced: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

    let (own, replaced_owner) = (file.metadata()?, (replaced.uid(), replaced.gid()));
    let mut permissions = replaced.permissions();
    if (own.uid(), own.gid()) != replaced_owner
        && fchown(file, Some(replaced_owner.0), Some(replaced_owner.1)).is_err()
    {
        // What the other group may do isn't this one's.
        permissions = Permissions::from_mode(0o600);
    }
    file.set_permissions(permissions)
}

#[cfg(not(unix))]
fn inherit(file: &File, replaced: &Metadata) -> io::Result<()> {
    file.set_permissions(replaced.permissions())
}

enum Found {
    Redb { was_closed: bool },
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
        Ok(_) => Ok(Found::Redb { was_closed: was_closed(&first) }),
    }
}

/// Creates a database under a temporary name and gives it its own when it is complete: a process
/// that is killed before leaves no incomplete file that could never be opened, and of two processes
/// that create it at the same time one wins.
fn create(path: &Path, permissions: Option<&Permissions>, builder: &Builder) -> io::Result<()> {
    let permit = |file: &File| match permissions {
        Some(permissions) => file.set_permissions(permissions.clone()),
        None => Ok(()),
    };
    let (temporary, file) = Temporary::create(path)?;
    permit(&file)?;
    create_in(file, builder)?;
    // A rename would replace the file of a process that was faster.
    match fs::hard_link(&temporary.path, path) {
        // A file system without hard links, such as FAT: redb creates the file in its place.
        Err(error) if is_unsupported(&error) => {
            let file = private().create(true).truncate(false).open(path)?;
            permit(&file)?;
            create_in(file, builder)
        }
        linked => linked,
    }
}

/// Creates a database in an empty file, and closes it.
fn create_in(file: File, builder: &Builder) -> io::Result<()> {
    let database = FileBackend::new(file).and_then(|file| builder.create_with_backend(file));
    database.map(drop).map_err(into_io)
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
    let (locked, found) = (empty.metadata()?, fs::metadata(path)?);
    if found.len() > 0 || !is_same(&locked, &found) {
        return Ok(());
    }
    let (temporary, file) = Temporary::create(path)?;
    inherit(&file, &locked)?;
    create_in(file, builder)?;
    fs::rename(&temporary.path, path)
}

/// Lets redb write into the empty file: files can't be told apart and replaced as on Unix.
#[cfg(not(unix))]
fn replace_empty(path: &Path, builder: &Builder) -> Result<(), Error> {
    builder.create(path).map(drop).map_err(from_database)
}

/// A file next to the database that doesn't have its name yet. Dropping this removes it, if it
/// hasn't been renamed.
struct Temporary {
    path: PathBuf,
    /// While this is locked, no other process takes the file for a leftover.
    _directory: Option<File>,
}

impl Temporary {
    const PREFIX: &str = ".sessions-";
    const SUFFIX: &str = ".new";

    /// Creates a file of a random name, which its owner alone can read. The name is short, because
    /// the path's own may have the maximal length.
    fn create(path: &Path) -> io::Result<(Self, File)> {
        if path.file_name().is_none() {
            return Err(io::Error::new(ErrorKind::IsADirectory, "the path names no file"));
        }
        let directory = open_directory(path)?;
        if let Some(directory) = &directory {
            // Where directories can't be locked, leftovers aren't removed either.
            let _ = directory.lock_shared();
        }
        let random = RandomState::new().build_hasher().finish();
        let name = format!("{}{random:016x}{}", Self::PREFIX, Self::SUFFIX);
        let path = path.with_file_name(name);
        let file = private().create_new(true).open(&path)?;
        Ok((Self { path, _directory: directory }, file))
    }

    /// Whether a directory's entry has such a name.
    fn is_name_of(entry: &DirEntry) -> bool {
        let name = entry.file_name();
        let random = name
            .to_str()
            .and_then(|name| name.strip_prefix(Self::PREFIX)?.strip_suffix(Self::SUFFIX));
        random.is_some_and(|random| {
            random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the temporary files of processes that were killed. What can't be removed harms nothing.
fn remove_leftovers(path: &Path) {
    let Ok(Some(directory)) = open_directory(path) else { return };
    let Ok(entries) = fs::read_dir(parent(path)) else { return };
    let found: Vec<_> = entries.flatten().filter(Temporary::is_name_of).collect();
    // Those who are creating a file hold the lock, too. What they create later isn't in the list.
    if found.is_empty() || directory.try_lock().is_err() {
        return;
    }
    for entry in found {
        let _ = fs::remove_file(entry.path());
    }
}

/// The options of a file that its owner alone can read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
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
    match open_directory(path)? {
        Some(directory) => directory.sync_all(),
        None => Ok(()),
    }
}

/// Opens the directory of a file, on systems where that is possible.
fn open_directory(path: &Path) -> io::Result<Option<File>> {
    if cfg!(unix) { File::open(parent(path)).map(Some) } else { Ok(None) }
}

fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

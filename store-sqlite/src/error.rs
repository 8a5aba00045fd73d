//! What an error of SQLite or of the pool means, in the terms that all stores share.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::path::Path;

use rusqlite::{Connection, Error as SqliteError, ErrorCode, ffi};
use store_core::Error;

use crate::file;

/// Returns the error of an operation that isn't repeated, or not any longer.
pub(crate) fn from_sqlite(error: SqliteError) -> Error {
    let (code, extended) = match ffi_error(&error) {
        Some(error) => (Some(error.code), error.extended_code),
        None => (None, ffi::SQLITE_ERROR),
    };
    let source = error.into();
    if extended == ffi::SQLITE_READONLY_DBMOVED {
        return Error::FileReplaced { source };
    }
    match code {
        Some(code) if is_contention_code(code) => Error::Contended { source },
        Some(ErrorCode::CannotOpen) => Error::Unreachable { source },
        Some(ErrorCode::DiskFull) => Error::StorageFull { source },
        Some(ErrorCode::ReadOnly) => Error::ReadOnly { source },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Corrupt { source },
        _ => Error::Backend { source },
    }
}

/// The same for an operation on a connection.
pub(crate) fn from_connection(error: SqliteError, connection: &Connection) -> Error {
    match connection.path() {
        Some(path) if !path.is_empty() => from_file(error, Path::new(path)),
        _ => from_sqlite(error),
    }
}

/// The same for a database in a file. If SQLite doesn't tell a full or read-only disk from others,
/// the system is asked.
pub(crate) fn from_file(error: SqliteError, path: &Path) -> Error {
    if !may_be_of_the_disk(&error) {
        return from_sqlite(error);
    }
    from_probed(error, file::probe(path))
}

/// The same, with what the system has said of the disk.
fn from_probed(error: SqliteError, probed: io::Result<()>) -> Error {
    match probed.map_err(|error| error.kind()) {
        Err(ErrorKind::ReadOnlyFilesystem) => Error::ReadOnly { source: error.into() },
        Err(ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) => {
            Error::StorageFull { source: error.into() }
        }
        _ => from_sqlite(error),
    }
}

/// Returns the error of a file that the system didn't create.
pub(crate) fn from_creation(error: io::Error) -> Option<Error> {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => Some(Error::ReadOnly { source: error.into() }),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Some(Error::StorageFull { source: error.into() })
        }
        _ => None,
    }
}

/// Returns the error of a new file, as a backup is.
pub(crate) fn from_new_file(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => Error::ReadOnly { source: error.into() },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Error::StorageFull { source: error.into() }
        }
        _ => Error::backend(error),
    }
}

/// Returns whether the disk may be full, or read-only, although SQLite's error doesn't say so.
fn may_be_of_the_disk(error: &SqliteError) -> bool {
    let Some(error) = ffi_error(error) else { return false };
    let writing = [
        ffi::SQLITE_IOERR_WRITE,
        ffi::SQLITE_IOERR_FSYNC,
        ffi::SQLITE_IOERR_TRUNCATE,
        ffi::SQLITE_IOERR_SHMSIZE,
        ffi::SQLITE_IOERR_SHMOPEN,
    ];
    error.code == ErrorCode::CannotOpen || writing.contains(&error.extended_code)
}

/// Returns whether another connection held a lock, so that the operation had no effect and may be
/// repeated.
///
/// `SQLITE_BUSY` comes between processes and connections, `SQLITE_LOCKED` between connections that
/// share an in-memory cache, to which SQLite's own busy timeout doesn't apply.
pub(crate) fn is_contention(error: &SqliteError) -> bool {
    code(error).is_some_and(is_contention_code)
}

/// The error of an operation that others hold up, if SQLite returns none.
pub(crate) fn busy() -> SqliteError {
    SqliteError::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)
}

/// Returns whether a removal may have failed because of one of the rows: an application's foreign
/// key or trigger refuses it, or the trigger fails.
pub(crate) fn is_of_a_row(error: &Error) -> bool {
    let Error::Backend { source } = error else { return false };
    matches!(
        source.downcast_ref().and_then(code),
        Some(
            ErrorCode::ConstraintViolation
                | ErrorCode::Unknown
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
        )
    )
}

/// The error of rows that a trigger keeps without one.
pub(crate) fn kept_by_trigger() -> SqliteError {
    let message = "a trigger keeps expired rows from being removed";
    let error = ffi::Error::new(ffi::SQLITE_CONSTRAINT_TRIGGER);
    SqliteError::SqliteFailure(error, Some(message.to_owned()))
}

/// Returns whether a commit may have failed because of one of the writes in it: a constraint that
/// is checked at the end of the transaction, or more data than there is room for.
pub(crate) fn may_be_of_one_write(error: &SqliteError) -> bool {
    matches!(code(error), Some(ErrorCode::ConstraintViolation | ErrorCode::DiskFull))
}

/// Returns whether SQLite couldn't compile a statement, for example because a table or a column is
/// missing.
pub(crate) fn is_schema_error(error: &SqliteError) -> bool {
    matches!(code(error), Some(ErrorCode::Unknown))
}

/// The third is a race of connections that begin to read a WAL.
fn is_contention_code(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed
    )
}

fn code(error: &SqliteError) -> Option<ErrorCode> {
    ffi_error(error).map(|error| error.code)
}

/// Returns SQLite's codes, in whichever variant the driver keeps them: the features of the driver
/// decide which variants there are.
fn ffi_error(error: &SqliteError) -> Option<&ffi::Error> {
    error.source()?.downcast_ref()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// No quota can be made without root, so the system's errors are made here.
    #[test]
    fn exhausted_quota_is_a_full_disk() {
        const EDQUOT: i32 = 122;
        const EIO: i32 = 5;
        let failed = || {
            let error = ffi::Error::new(ffi::SQLITE_IOERR_WRITE);
            SqliteError::SqliteFailure(error, Some("disk I/O error".to_owned()))
        };
        let quota = || io::Error::from_raw_os_error(EDQUOT);
        assert!(may_be_of_the_disk(&failed()), "the system is asked");
        let full = from_probed(failed(), Err(quota()));
        assert!(matches!(full, Error::StorageFull { .. }), "{full:?}");
        let full = from_creation(quota());
        assert!(matches!(full, Some(Error::StorageFull { .. })), "{full:?}");
        for other in [Ok(()), Err(io::Error::from_raw_os_error(EIO))] {
            let other = from_probed(failed(), other);
            assert!(matches!(other, Error::Backend { .. }), "{other:?}");
        }
    }
}

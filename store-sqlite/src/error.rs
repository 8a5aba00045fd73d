//! What an error of SQLite or of the pool means, in the terms that all stores share.

use std::error::Error as StdError;
use std::time::Duration;

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Error as SqliteError, ErrorCode};
use store_core::Error;

/// Returns the error of an operation that isn't repeated, or not any longer.
pub(crate) fn from_sqlite(error: SqliteError) -> Error {
    let code = code(&error);
    let source = error.into();
    match code {
        Some(code) if is_contention_code(code) => Error::Contended { source },
        Some(ErrorCode::CannotOpen) => Error::Unreachable { source },
        Some(ErrorCode::DiskFull) => Error::StorageFull { source },
        Some(ErrorCode::ReadOnly) => Error::ReadOnly { source },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Corrupt { source },
        _ => Error::Backend { source },
    }
}

/// Returns the error of a pool that had no connection: either all of them stayed in use, or none
/// could be opened.
pub(crate) fn from_checkout(
    error: r2d2::Error,
    pool: &Pool<SqliteConnectionManager>,
    waited: Duration,
) -> Error {
    // Connections that the pool couldn't open aren't counted.
    if pool.state().connections == 0 {
        Error::Unreachable { source: error.into() }
    } else {
        Error::PoolExhausted { waited, source: error.into() }
    }
}

/// Returns whether another connection held a lock, so that the operation had no effect and may be
/// repeated.
///
/// `SQLITE_BUSY` comes between processes and connections, `SQLITE_LOCKED` between connections that
/// share an in-memory cache, to which SQLite's own busy timeout doesn't apply.
pub(crate) fn is_contention(error: &SqliteError) -> bool {
    code(error).is_some_and(is_contention_code)
}

/// Returns whether a commit may have failed because of one of the writes in it: a constraint that is
/// checked at the end of the transaction, or more data than there is room for.
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

/// Returns SQLite's code, in whichever variant the driver keeps it: the features of the driver
/// decide which variants there are.
fn code(error: &SqliteError) -> Option<ErrorCode> {
    let code = error.source()?.downcast_ref::<rusqlite::ffi::Error>()?;
    Some(code.code)
}

//! What a failure of SQLite or of the pool means, in the terms that all stores share.

use std::error::Error as StdError;
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, Error as SqliteError, ErrorCode};
use store_core::Error;

use crate::table;

/// Whether another connection was in the way, so that the operation had no effect and may be repeated.
///
/// `SQLITE_BUSY` comes between processes and connections, `SQLITE_LOCKED` between connections that share
/// an in-memory cache, where SQLite's own busy timeout doesn't apply.
pub(crate) fn is_contention(error: &SqliteError) -> bool {
    code(error).is_some_and(is_contention_code)
}

/// The third is a race of connections that begin to read a WAL.
fn is_contention_code(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed
    )
}

/// SQLite's code, whichever variant the driver keeps it in: which there are depends on its features.
fn code(error: &SqliteError) -> Option<ErrorCode> {
    let code = error.source()?.downcast_ref::<rusqlite::ffi::Error>()?;
    Some(code.code)
}

/// The error of an operation that was not, or not any longer, to be repeated.
pub(crate) fn of_sqlite(error: SqliteError) -> Error {
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

/// Whether SQLite could make nothing of a statement, as where a table or a column is missing.
pub(crate) fn is_of_schema(error: &SqliteError) -> bool {
    matches!(code(error), Some(ErrorCode::Unknown))
}

/// As [`of_sqlite`], and where SQLite could make nothing of a statement that it once prepared, says
/// what has become of the table, or of those beside it.
pub(crate) fn of_statement(
    error: SqliteError,
    connection: &Connection,
    name: &str,
    side_tables: &[String],
) -> Error {
    if !is_of_schema(&error) {
        return of_sqlite(error);
    }
    if let Err(explanation @ (Error::TableMissing { .. } | Error::TableMismatch { .. })) =
        table::check(connection, name)
    {
        return explanation;
    }
    let missing =
        side_tables.iter().find(|name| matches!(table::exists(connection, name), Ok(false)));
    match missing {
        Some(table) => Error::TableMissing { table: table.clone() },
        None => of_sqlite(error),
    }
}

/// The pool gave no connection: either all of them stayed in use, or none could be opened.
pub(crate) fn of_checkout(
    error: r2d2::Error,
    pool: &r2d2::Pool<SqliteConnectionManager>,
    waited: Duration,
) -> Error {
    // Connections that the pool couldn't open aren't counted.
    if pool.state().connections == 0 {
        Error::Unreachable { source: error.into() }
    } else {
        Error::PoolExhausted { waited, source: error.into() }
    }
}

//! What a failure of redb means, in the terms that all stores share.

use std::io::{self, ErrorKind};

use redb::Error as RedbError;
use store_core::Error;

/// The error of an operation, with what redb said as its cause.
pub(crate) fn of_redb(error: RedbError) -> Error {
    match error {
        RedbError::Io(error) => of_io(error),
        RedbError::TableTypeMismatch { ref table, ref key, ref value } => {
            let problem = format!(
                "it has keys of the type {} and values of the type {}: it isn't this store's, so choose another table name",
                key.name(),
                value.name()
            );
            Error::TableMismatch { table: table.clone(), problem }
        }
        RedbError::TableIsMultimap(table) => {
            let problem =
                "it is a multimap table: it isn't this store's, so choose another table name"
                    .to_owned();
            Error::TableMismatch { table, problem }
        }
        RedbError::TableDoesNotExist(table) => {
            let problem = "it is gone, though it was made together with the others: restore the file, or delete them, too".to_owned();
            Error::TableMismatch { table, problem }
        }
        error @ RedbError::DatabaseAlreadyOpen => Error::InUse { source: error.into() },
        error @ (RedbError::PreviousIo | RedbError::DatabaseClosed) => {
            Error::Unreachable { source: error.into() }
        }
        error @ RedbError::TransactionInProgress => Error::Contended { source: error.into() },
        error @ RedbError::Corrupted(_) => Error::Corrupt { source: error.into() },
        error => Error::Backend { source: error.into() },
    }
}

/// The error of a file that can't be used.
pub(crate) fn of_io(error: io::Error) -> Error {
    let kind = error.kind();
    let source = error.into();
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Error::StorageFull { source }
        }
        ErrorKind::ReadOnlyFilesystem => Error::ReadOnly { source },
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Error::Corrupt { source },
        ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory => Error::Unreachable { source },
        _ => Error::Backend { source },
    }
}

/// Whether redb does nothing more until its file was closed and opened again.
pub(crate) fn ends_database(error: &RedbError) -> bool {
    matches!(
        error,
        RedbError::Io(_)
            | RedbError::PreviousIo
            | RedbError::DatabaseClosed
            | RedbError::LockPoisoned(_)
    )
}

/// redb panicked, which it does where a damaged file contradicts itself.
pub(crate) fn of_panic() -> Error {
    // The panic's own text could quote what it read; it went to the panic hook.
    Error::Corrupt { source: "redb panicked over what it read".into() }
}

//! What errors of redb and of the operating system mean, as errors of a store.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{DatabaseError, Error as RedbError};
use store_core::Error;

use super::named_file::Replaced;

/// Returns the error of an operation, with redb's as its source.
pub(super) fn from_redb(error: RedbError) -> Error {
    match error {
        RedbError::Io(error) => from_io(error),
        RedbError::TableTypeMismatch { ref table, ref key, ref value } => {
            let problem = format!(
                "it has keys of the type {} and values of the type {}: it isn't this store's, so \
                 choose another table name",
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
            let problem = "it is missing, though it was created together with the others: restore \
                           the file, or delete them, too"
                .to_owned();
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

/// Returns the error of opening a database.
pub(super) fn from_database(error: DatabaseError) -> Error {
    from_redb(RedbError::from(error))
}

/// Returns the error of a file that can't be used.
pub(super) fn from_io(error: io::Error) -> Error {
    if error.get_ref().is_some_and(<dyn StdError + Send + Sync>::is::<Replaced>) {
        return Error::FileReplaced { source: error.into() };
    }
    let (kind, is_temporary) = (error.kind(), is_shortage(&error));
    let source = error.into();
    match kind {
        _ if is_temporary => Error::Unreachable { source },
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

/// Whether the process or the system has too many files open, or too little memory, for now.
#[cfg(unix)]
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;

    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| shortages.contains(&errno))
}

#[cfg(not(unix))]
fn is_shortage(_error: &io::Error) -> bool {
    false
}

/// Whether redb does nothing more until its file is closed and opened again.
pub(super) fn ends_database(error: &RedbError) -> bool {
    matches!(
        error,
        RedbError::Io(_)
            | RedbError::PreviousIo
            | RedbError::DatabaseClosed
            | RedbError::LockPoisoned(_)
    )
}

/// Returns the error of a panic in redb, which happens if a damaged file contradicts itself.
pub(super) fn from_panic() -> Error {
    // The panic's own text could quote what it read; it went to the panic hook.
    Error::Corrupt { source: "redb panicked over what it read".into() }
}

/// Runs an operation on redb, and turns a panic into an error.
pub(super) fn catch_panic<T>(operation: impl FnOnce() -> Result<T, RedbError>) -> Result<T, Error> {
    catch_panic_in_open(|| operation().map_err(from_redb))
}

/// As [`catch_panic`], for what opens a database.
pub(super) fn catch_panic_in_open<T>(open: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| Err(from_panic()))
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn errors_of_the_system_are_named() {
        let from = |errno: Errno| from_redb(RedbError::Io(errno.into()));
        for full in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            assert!(matches!(from(full), Error::StorageFull { .. }), "{full}");
        }
        for shortage in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            let error = from(shortage);
            assert!(matches!(error, Error::Unreachable { .. }), "{shortage}");
            assert!(error.is_retryable());
        }
        assert!(matches!(from(Errno::ROFS), Error::ReadOnly { .. }));
        assert!(matches!(from(Errno::ACCESS), Error::Unreachable { .. }));
        assert!(matches!(from(Errno::IO), Error::Backend { .. }));
    }
}

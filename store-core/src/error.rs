//! The one error type of every store.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

/// Any error, as drivers, pools and the operating system return it.
///
/// # Examples
/// ```
/// use store_core::{BoxError, MemoryStore, Store};
///
/// fn count() -> Result<u64, BoxError> {
///     Ok(MemoryStore::new()?.count()?)
/// }
/// # count()?;
/// # Ok::<(), BoxError>(())
/// ```
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// Why a [`Store`](crate::Store) could not do what it was asked.
///
/// A session that doesn't exist is never an error: that is `Ok(None)` or `Ok(false)`. The message
/// says what is wrong and what to do; what the driver said is the [`source`](StdError::source), so
/// a report that prints the chain loses nothing and repeats nothing. Neither ever contains a token
/// or session data, so an error may be logged as it is.
///
/// # Examples
/// ```
/// use store_core::{Error, MemoryStore, Store, TokenProblem};
///
/// let store = MemoryStore::new()?;
/// match store.commit("", b"data", chrono::Utc::now()) {
///     Err(Error::InvalidToken(TokenProblem::Empty)) => {}
///     other => panic!("an empty token names no session: {other:?}"),
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The token names no session that this store could hold unchanged. Nothing was written.
    InvalidToken(TokenProblem),
    /// The data is larger than the store's limit. Nothing was written.
    DataTooLarge {
        /// Size of the refused data, in bytes.
        len: usize,
        /// The largest size that the store takes, in bytes.
        max: usize,
    },
    /// The expiry lies outside what the store can represent. Nothing was written.
    ExpiryOutOfRange {
        /// The refused instant.
        expiry: DateTime<Utc>,
        /// The earliest instant that the store takes.
        earliest: DateTime<Utc>,
        /// The latest instant that the store takes.
        latest: DateTime<Utc>,
    },
    /// `create`, or a rotation, was asked for a token that names a live session. Everything stays
    /// as it was.
    TokenTaken,
    /// The subject is empty or too long. Nothing was written.
    InvalidSubject {
        /// Length of the refused subject, in bytes.
        len: usize,
        /// The longest subject, in bytes.
        max: usize,
    },
    /// An option of the store, or of a change, has a value that can't be worked with.
    InvalidOption {
        /// The option, as its method is named.
        option: &'static str,
        /// What is wrong with the value.
        problem: String,
    },
    /// The table isn't there.
    TableMissing {
        /// The table's name.
        table: String,
    },
    /// The table is there, but isn't one that sessions can be kept in safely.
    TableMismatch {
        /// The table's name.
        table: String,
        /// What is wrong with it, and what is expected.
        problem: String,
    },
    /// Every connection of the pool stayed in use for the whole checkout timeout.
    PoolExhausted {
        /// How long the pool was waited for.
        waited: Duration,
        /// The pool's own error.
        source: ErrorSource,
    },
    /// No connection to the database could be made.
    Unreachable {
        /// What the driver or the pool said.
        source: ErrorSource,
    },
    /// The database is open already, in another process or by another store of this one, and only
    /// one at a time can have it.
    InUse {
        /// What the driver said.
        source: ErrorSource,
    },
    /// Other writers held the database for longer than the store waits for them.
    #[doc(alias = "SQLITE_BUSY")]
    #[doc(alias = "busy_timeout")]
    #[doc(alias = "lock_timeout")]
    Contended {
        /// What the driver said the last time.
        source: ErrorSource,
    },
    /// The disk, or the database's own size limit, is full.
    StorageFull {
        /// What the driver said.
        source: ErrorSource,
    },
    /// The database can be read but not written.
    ReadOnly {
        /// What the driver said.
        source: ErrorSource,
    },
    /// The file isn't a database, or is damaged.
    Corrupt {
        /// What the driver said.
        source: ErrorSource,
    },
    /// The file of the database was replaced by another, or taken away, while the store had it
    /// open. Nothing was written.
    FileReplaced {
        /// What the driver said, or the store saw.
        source: ErrorSource,
    },
    /// The store, or another one on the same database, was opened before this process was forked,
    /// and belongs to the parent process.
    Forked,
    /// A thread of the store could not be started.
    SpawnThread {
        /// What the operating system said.
        source: ErrorSource,
    },
    /// Any other failure of the database.
    Backend {
        /// What the driver said.
        source: ErrorSource,
    },
}

impl Error {
    /// A failure that no other variant names, with the driver's error as its source.
    ///
    /// # Examples
    /// ```
    /// use std::error::Error as _;
    /// use store_core::Error;
    ///
    /// let error = Error::backend("near \"SELEC\": syntax error");
    /// assert!(error.source().is_some());
    /// ```
    pub fn backend(source: impl Into<BoxError>) -> Self {
        Self::Backend { source: ErrorSource::from(source) }
    }

    /// Returns whether the same call may succeed later without anybody repairing anything.
    ///
    /// This is so if the pool was exhausted, the database unreachable or in use by another process,
    /// or the contention too long. Whether the failed call had an effect is certain only if the
    /// connection was not lost; repeating `commit`, `touch` and `delete` is always safe.
    ///
    /// # Examples
    /// ```
    /// use store_core::Error;
    ///
    /// assert!(Error::Contended { source: "database is locked".into() }.is_retryable());
    /// assert!(!Error::TokenTaken.is_retryable());
    /// ```
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::PoolExhausted { .. }
                | Self::Unreachable { .. }
                | Self::InUse { .. }
                | Self::Contended { .. }
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidToken(problem) => write!(f, "invalid session token: {problem}"),
            Self::DataTooLarge { len, max } => {
                write!(f, "session data of {len} bytes is over the store's limit of {max} bytes")
            }
            Self::ExpiryOutOfRange { expiry, earliest, latest } => {
                let [expiry, earliest, latest] = [expiry, earliest, latest]
                    .map(|instant| instant.to_rfc3339_opts(SecondsFormat::AutoSi, true));
                write!(
                    f,
                    "expiry {expiry} is outside {earliest} to {latest}, which the store can represent"
                )
            }
            Self::TokenTaken => f.write_str("the token already names a live session"),
            Self::InvalidSubject { len, max } => {
                write!(f, "a subject has 1 to {max} bytes, and not {len}")
            }
            Self::InvalidOption { option, problem } => write!(f, "invalid {option}: {problem}"),
            Self::TableMissing { table } => write!(
                f,
                "there is no table {table:?}: call create_table() once, or run the DDL that the store documents"
            ),
            Self::TableMismatch { table, problem } => {
                write!(f, "table {table:?} can't keep sessions: {problem}")
            }
            Self::PoolExhausted { waited, .. } => {
                write!(
                    f,
                    "every database connection was in use for {waited:?}: try again, or enlarge the pool"
                )
            }
            Self::Unreachable { .. } => f.write_str("the database can't be reached"),
            Self::InUse { .. } => f.write_str("the database is open already, in another process or by another store of this one: only one at a time can have it"),
            Self::Contended { .. } => {
                f.write_str("other writers kept the database locked for too long: try again")
            }
            Self::StorageFull { .. } => f.write_str("the disk or the database is full"),
            Self::ReadOnly { .. } => f.write_str("the database is read-only"),
            Self::Corrupt { .. } => f.write_str("the file is damaged or is not a database"),
            Self::FileReplaced { .. } => f.write_str(
                "the database's file was replaced or taken away: open the store again",
            ),
            Self::Forked => f.write_str(
                "the database was opened before this process was forked: open it after the fork",
            ),
            Self::SpawnThread { .. } => f.write_str("a thread could not be started"),
            Self::Backend { .. } => f.write_str("the database failed"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::PoolExhausted { source, .. }
            | Self::Unreachable { source }
            | Self::Contended { source }
            | Self::StorageFull { source }
            | Self::ReadOnly { source }
            | Self::InUse { source }
            | Self::Corrupt { source }
            | Self::FileReplaced { source }
            | Self::SpawnThread { source }
            | Self::Backend { source } => Some(&**source),
            Self::InvalidToken(_)
            | Self::DataTooLarge { .. }
            | Self::ExpiryOutOfRange { .. }
            | Self::TokenTaken
            | Self::Forked
            | Self::InvalidSubject { .. }
            | Self::InvalidOption { .. }
            | Self::TableMissing { .. }
            | Self::TableMismatch { .. } => None,
        }
    }
}

/// What caused an [`Error`]: the driver's error, whole, shared by the clones of the error.
///
/// Any error and any string can be made into one.
///
/// # Examples
/// ```
/// use store_core::{Error, ErrorSource};
///
/// let source = ErrorSource::from(std::io::Error::other("connection refused"));
/// assert!(source.downcast_ref::<std::io::Error>().is_some());
/// let error = Error::Unreachable { source };
/// assert_eq!(error.clone().to_string(), error.to_string());
/// ```
#[derive(Clone)]
pub struct ErrorSource(Arc<dyn StdError + Send + Sync + 'static>);

impl<E: Into<BoxError>> From<E> for ErrorSource {
    fn from(error: E) -> Self {
        Self(Arc::from(error.into()))
    }
}

impl Deref for ErrorSource {
    type Target = dyn StdError + Send + Sync + 'static;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Display for ErrorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ErrorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a token was refused; it never repeats the token, which is a secret.
///
/// # Examples
/// ```
/// use store_core::TokenProblem;
///
/// let problem = TokenProblem::TooLong { len: 5_000, max: 255 };
/// assert_eq!(problem.to_string(), "it has 5000 bytes, over the store's limit of 255");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenProblem {
    /// The token has no bytes.
    Empty,
    /// The token is longer than the store holds.
    TooLong {
        /// Length of the refused token, in bytes.
        len: usize,
        /// The longest token that the store takes, in bytes.
        max: usize,
    },
    /// The token has a character that the store would change or confuse with another.
    Unrepresentable,
}

impl fmt::Display for TokenProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong { len, max } => {
                write!(f, "it has {len} bytes, over the store's limit of {max}")
            }
            Self::Unrepresentable => {
                f.write_str("it has a character that the store can't keep unchanged")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_and_source_do_not_repeat_each_other() {
        let error = Error::StorageFull { source: "database or disk is full".into() };
        assert_eq!(error.to_string(), "the disk or the database is full");
        assert_eq!(error.source().expect("kept").to_string(), "database or disk is full");
    }

    #[test]
    fn message_says_what_is_wrong_with_a_token() {
        let error = Error::InvalidToken(TokenProblem::Empty);
        assert_eq!(error.to_string(), "invalid session token: it is empty");
    }

    #[test]
    fn source_is_displayed_as_the_error_that_it_holds() {
        let source = ErrorSource::from("database or disk is full");
        assert_eq!(source.to_string(), "database or disk is full");
    }

    #[test]
    fn errors_that_may_pass_by_themselves_are_retryable() {
        let source = || ErrorSource::from("reason");
        let waited = Duration::from_secs(1);
        for error in [
            Error::PoolExhausted { waited, source: source() },
            Error::Unreachable { source: source() },
            Error::InUse { source: source() },
            Error::Contended { source: source() },
        ] {
            assert!(error.is_retryable(), "{error}");
        }
        for error in [
            Error::InvalidToken(TokenProblem::Empty),
            Error::TokenTaken,
            Error::TableMissing { table: "sessions".to_owned() },
            Error::StorageFull { source: source() },
            Error::ReadOnly { source: source() },
            Error::Corrupt { source: source() },
            Error::FileReplaced { source: source() },
            Error::Forked,
            Error::Backend { source: source() },
        ] {
            assert!(!error.is_retryable(), "{error}");
        }
    }

    #[test]
    fn extreme_expiries_can_be_printed() {
        let error = Error::ExpiryOutOfRange {
            expiry: DateTime::<Utc>::MAX_UTC,
            earliest: DateTime::<Utc>::MIN_UTC,
            latest: DateTime::UNIX_EPOCH,
        };
        assert!(error.to_string().contains("1970-01-01T00:00:00Z"), "{error}");
    }
}

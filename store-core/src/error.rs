//! The one error type of every store.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

/// The error that a driver, a pool or the operating system gave, kept whole.
pub type Cause = Box<dyn StdError + Send + Sync + 'static>;

/// Why a [`Store`](crate::Store) could not do what it was asked.
///
/// A session that isn't there is never an error: that is `Ok(None)` or `Ok(false)`. The message says
/// what is wrong and what to do; what the driver said is the [`source`](StdError::source), so a report
/// that prints the chain loses nothing and repeats nothing. Neither ever contains a token or session
/// data, so an error may be logged as it is.
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
#[derive(Debug)]
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
    /// `create`, or a rotation, was asked for a token that names a live session. Everything stays as it was.
    TokenTaken,
    /// The subject is empty or too long. Nothing was written.
    InvalidSubject {
        /// Length of the refused subject, in bytes.
        len: usize,
        /// The longest subject, in bytes.
        max: usize,
    },
    /// An option of the store has a value that it can't work with.
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
        source: Cause,
    },
    /// No connection to the database could be had.
    Unreachable {
        /// What the driver or the pool said.
        source: Cause,
    },
    /// Other writers held the database for longer than the store waits for them.
    Contended {
        /// What the driver said the last time.
        source: Cause,
    },
    /// The disk, or the database's own size limit, is full.
    StorageFull {
        /// What the driver said.
        source: Cause,
    },
    /// The database can be read but not written.
    ReadOnly {
        /// What the driver said.
        source: Cause,
    },
    /// The file isn't a database, or is damaged.
    Corrupt {
        /// What the driver said.
        source: Cause,
    },
    /// The cleanup thread could not be started.
    CleanupThread {
        /// What the operating system said.
        source: io::Error,
    },
    /// Any other failure of the database.
    Backend {
        /// What the driver said.
        source: Cause,
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
    pub fn backend(source: impl Into<Cause>) -> Self {
        Self::Backend { source: source.into() }
    }

    /// Whether the same call may succeed later without anybody mending anything.
    ///
    /// True where the pool was exhausted, the database unreachable or contention too long. Whether the
    /// failed call had an effect is only certain where the connection wasn't lost meanwhile; repeating
    /// `commit`, `touch` and `delete` is always safe.
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
            Self::PoolExhausted { .. } | Self::Unreachable { .. } | Self::Contended { .. }
        )
    }
}

impl Error {
    /// The same error for one more of several callers whose work failed together, as it does where a
    /// store makes one transaction of it. What the driver said stays its
    /// [`source`](StdError::source).
    ///
    /// # Examples
    /// ```
    /// use std::error::Error as _;
    /// use std::sync::Arc;
    /// use store_core::Error;
    ///
    /// let error = Arc::new(Error::StorageFull { source: "no space left".into() });
    /// let shared = Error::shared(&error);
    /// assert!(matches!(shared, Error::StorageFull { .. }));
    /// assert_eq!(shared.source().map(ToString::to_string).as_deref(), Some("no space left"));
    /// ```
    #[must_use]
    pub fn shared(error: &Arc<Self>) -> Self {
        let source = Box::new(Shared(Arc::clone(error)));
        match **error {
            Self::InvalidToken(problem) => Self::InvalidToken(problem),
            Self::DataTooLarge { len, max } => Self::DataTooLarge { len, max },
            Self::ExpiryOutOfRange { expiry, earliest, latest } => {
                Self::ExpiryOutOfRange { expiry, earliest, latest }
            }
            Self::TokenTaken => Self::TokenTaken,
            Self::InvalidSubject { len, max } => Self::InvalidSubject { len, max },
            Self::InvalidOption { option, ref problem } => {
                Self::InvalidOption { option, problem: problem.clone() }
            }
            Self::TableMissing { ref table } => Self::TableMissing { table: table.clone() },
            Self::TableMismatch { ref table, ref problem } => {
                Self::TableMismatch { table: table.clone(), problem: problem.clone() }
            }
            Self::PoolExhausted { waited, .. } => Self::PoolExhausted { waited, source },
            Self::Unreachable { .. } => Self::Unreachable { source },
            Self::Contended { .. } => Self::Contended { source },
            Self::StorageFull { .. } => Self::StorageFull { source },
            Self::ReadOnly { .. } => Self::ReadOnly { source },
            Self::Corrupt { .. } => Self::Corrupt { source },
            Self::CleanupThread { source: ref thread } => {
                Self::CleanupThread { source: io::Error::new(thread.kind(), *source) }
            }
            Self::Backend { .. } => Self::Backend { source },
        }
    }
}

/// What another error has as its cause.
#[derive(Debug)]
struct Shared(Arc<Error>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(cause) => fmt::Display::fmt(cause, f),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl StdError for Shared {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source().and_then(StdError::source)
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
            Self::Contended { .. } => {
                f.write_str("other writers kept the database locked for too long: try again")
            }
            Self::StorageFull { .. } => f.write_str("the disk or the database is full"),
            Self::ReadOnly { .. } => f.write_str("the database is read-only"),
            Self::Corrupt { .. } => f.write_str("the file is damaged or is not a database"),
            Self::CleanupThread { .. } => f.write_str("the cleanup thread could not be started"),
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
            | Self::Corrupt { source }
            | Self::Backend { source } => Some(&**source),
            Self::CleanupThread { source } => Some(source),
            Self::InvalidToken(_)
            | Self::DataTooLarge { .. }
            | Self::ExpiryOutOfRange { .. }
            | Self::TokenTaken
            | Self::InvalidSubject { .. }
            | Self::InvalidOption { .. }
            | Self::TableMissing { .. }
            | Self::TableMismatch { .. } => None,
        }
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
    fn extreme_expiries_can_be_printed() {
        let error = Error::ExpiryOutOfRange {
            expiry: DateTime::<Utc>::MAX_UTC,
            earliest: DateTime::<Utc>::MIN_UTC,
            latest: DateTime::UNIX_EPOCH,
        };
        assert!(error.to_string().contains("1970-01-01T00:00:00Z"), "{error}");
    }
}

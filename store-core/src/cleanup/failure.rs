//! Why a run of the cleanup didn't finish.

use std::fmt;

use crate::{Error, ErrorChain};

/// Why a run of the cleanup thread didn't finish. The next one comes anyway.
///
/// # Examples
/// ```
/// use store_core::{CleanupFailure, Error};
///
/// let failure = CleanupFailure::Failed(Error::backend("no such column: expiry"));
/// assert_eq!(failure.to_string(), "the database failed: no such column: expiry");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CleanupFailure {
    /// The store returned an error.
    Failed(Error),
    /// The run panicked. The panic's message went to the panic hook alone: it could quote a token.
    Panicked,
}

impl fmt::Display for CleanupFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked => f.write_str("the cleanup panicked"),
            Self::Failed(error) => fmt::Display::fmt(&ErrorChain(error), f),
        }
    }
}

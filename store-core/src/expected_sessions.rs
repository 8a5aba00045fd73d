//! The condition by which a login keeps a limit to the number of a user's sessions.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

#[cfg(doc)]
use crate::Change;

/// What the live sessions of a subject must be for a [`Change`] to happen.
///
/// Its `Debug` output shows neither the subject nor a token.
///
/// # Examples
/// ```
/// use chrono::DateTime;
/// use store_core::Change;
///
/// let login = Change::new(b"data", DateTime::UNIX_EPOCH)
///     .with_subject(Some("user 7"))
///     .expecting_sessions_of("user 7", ["phone", "laptop"]);
/// let expected = login.expected_sessions.ok_or("it was set")?;
/// assert_eq!((&*expected.subject, expected.tokens.len()), ("user 7", 2));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ExpectedSessions<'a> {
    /// The subject.
    pub subject: Cow<'a, str>,
    /// The tokens of its live sessions, in any order.
    pub tokens: Vec<Cow<'a, str>>,
}

impl ExpectedSessions<'_> {
    /// Returns whether the live sessions that a store has found of the subject are the expected
    /// ones. Their order doesn't matter, nor does it how often a token is expected.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::Change;
    ///
    /// let login = Change::new(b"data", DateTime::UNIX_EPOCH)
    ///     .expecting_sessions_of("user 7", ["phone", "laptop"]);
    /// let expected = login.expected_sessions.ok_or("it was set")?;
    /// assert!(expected.are(["laptop", "phone"]));
    /// assert!(!expected.are(["laptop"]) && !expected.are(["laptop", "phone", "tablet"]));
    /// # Ok::<(), &str>(())
    /// ```
    #[must_use]
    pub fn are<'t>(&self, found: impl IntoIterator<Item = &'t str>) -> bool {
        let expected: HashSet<&str> = self.tokens.iter().map(|token| &**token).collect();
        let found: HashSet<&str> = found.into_iter().collect();
        expected == found
    }

    pub(crate) fn to_static(&self) -> ExpectedSessions<'static> {
        let to_static = |text: &str| Cow::Owned(text.to_owned());
        ExpectedSessions {
            subject: to_static(&self.subject),
            tokens: self.tokens.iter().map(|token| to_static(token)).collect(),
        }
    }
}

impl fmt::Debug for ExpectedSessions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpectedSessions")
            .field("tokens", &self.tokens.len())
            .finish_non_exhaustive()
    }
}

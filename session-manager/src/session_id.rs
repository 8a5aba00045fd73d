//! The public names of sessions.

use std::error::Error as StdError;
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// The public name of a session, which is no secret: for logs, and for forms in which users choose
/// which of their sessions to end.
///
/// It is the same in every process, stays when the session gets a new token, and can't be turned
/// back into one. When the session passes to another user, it is another session with another id.
/// It is displayed as 16 hexadecimal digits, and parsed from them.
///
/// It is 64 bits of a hash of the [key](crate::SessionKey) under which the session was stored
/// first. So it is meant to be looked for among the sessions of one user
/// ([`SessionManager::destroy_one_of`](crate::SessionManager::destroy_one_of)); among millions of
/// sessions two could have the same. If a Go program gives a session that it has written itself a
/// new token, the id changes.
///
/// # Examples
/// ```
/// use session_manager::{SessionId, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?);
/// let mut session = sessions.load([])?;
/// session.set_subject("7")?;
/// let finished = session.finish()?;
///
/// let id = sessions.sessions_of("7")?[0].id();
/// assert_eq!(finished.id, Some(id));
/// assert_eq!(id.to_string().parse::<SessionId>(), Ok(id));
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// In hexadecimal.
const DIGITS: usize = 16;

impl SessionId {
    /// That of a session that isn't stored yet.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// Returns a number below `len`, the same for the same session.
    pub(crate) fn index(self, len: usize) -> usize {
        usize::try_from(self.0 % len as u64).expect("it is below a usize")
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    fn from_str(text: &str) -> Result<Self, ParseSessionIdError> {
        // What the number's own parser takes besides is not the id's form.
        if text.len() != DIGITS || text.starts_with('+') {
            return Err(ParseSessionIdError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_: ParseIntError| ParseSessionIdError)
    }
}

/// A text that isn't a [`SessionId`]: not 16 hexadecimal digits.
///
/// # Examples
/// ```
/// use session_manager::{ParseSessionIdError, SessionId};
///
/// assert_eq!("7".parse::<SessionId>(), Err(ParseSessionIdError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseSessionIdError;

impl fmt::Display for ParseSessionIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session's id has 16 hexadecimal digits")
    }
}

impl StdError for ParseSessionIdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "0", "0x00000000000000", "+000000000000001", "000000000000000g"] {
            assert_eq!(text.parse::<SessionId>(), Err(ParseSessionIdError), "{text}");
        }
        assert_eq!(ParseSessionIdError.to_string(), "a session's id has 16 hexadecimal digits");
        assert_eq!("00000000000000ff".parse(), Ok(SessionId(255)));
        assert_eq!(SessionId(255).to_string(), "00000000000000ff");
    }
}

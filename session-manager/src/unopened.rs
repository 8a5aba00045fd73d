//! Why a session that others can read stays closed to this process.

use std::fmt;

/// Why this process can't open a session that others may: it has an older configuration, or is an
/// older version, or a key was lost.
///
/// Such a session is left in the store as it is. A request with its token looks as if nobody were
/// logged in, and leaves the cookie alone: it can log in ([`Session::set_subject`]) or out
/// ([`Session::destroy`]), and other changes end with [`Error::Unopened`]. Once the process has the
/// key, the session goes on.
///
/// [`Session::set_subject`]: crate::Session::set_subject
/// [`Session::destroy`]: crate::Session::destroy
/// [`Error::Unopened`]: crate::Error::Unopened
///
/// # Examples
/// ```
/// use session_manager::{Error, Unopened};
///
/// let error = Error::Unopened(Unopened::UnknownKey { id: 7 });
/// assert_eq!(error.to_string(), "the session can't be opened: no key here has the id 7");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unopened {
    /// It is sealed with a key that this process doesn't have.
    UnknownKey {
        /// The key's id.
        id: u32,
    },
    /// It is sealed in a newer form than this version knows.
    NewerVersion {
        /// The form's version.
        version: u8,
    },
}

impl fmt::Display for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { id } => write!(f, "no key here has the id {id}"),
            Self::NewerVersion { version } => {
                write!(f, "it is sealed in version {version}, which is newer than this one's")
            }
        }
    }
}

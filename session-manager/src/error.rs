//! What can go wrong with a session.

use std::error::Error as StdError;
use std::{any, fmt};

use crate::unopened::Unopened;

/// Why a session could not be loaded, read or written.
///
/// Neither the message nor the `Debug` output contains a token or a value.
///
/// # Examples
/// ```
/// use session_manager::{Error, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?).with_strict_types();
/// let mut session = sessions.load([])?;
/// session.insert("name", "Ada")?;
/// let error = session.get::<u32>("name").unwrap_err();
/// assert_eq!(error.to_string(), "the session's value \"name\" is not of type u32");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    Store(store_core::Error),
    /// There is a value, but not of the type that was asked for, and the manager has
    /// [strict types](crate::SessionManager::with_strict_types).
    WrongType {
        /// The value's key.
        key: String,
        /// The type that was asked for.
        expected: &'static str,
    },
    /// A value can't be represented by the codec.
    Unencodable {
        /// The value's key.
        key: String,
        /// The value's type.
        of: &'static str,
    },
    /// The session would have more values than [`MAX_VALUES`](crate::MAX_VALUES).
    TooManyValues {
        /// The most that it can have.
        max: usize,
    },
    /// The key is one of those that the session keeps for itself.
    ReservedKey {
        /// The key.
        key: String,
    },
    /// Other requests changed the session each time that this one tried to write.
    Conflict {
        /// How often this one tried.
        attempts: usize,
    },
    /// The operating system returned no random bytes, for a new token or to seal a session.
    Randomness(getrandom::Error),
    /// An option has a value that makes no sense, or that browsers would refuse or ignore.
    InvalidOption {
        /// The option.
        option: &'static str,
        /// What is wrong with the value.
        problem: String,
    },
    /// Another request has ended or renewed the session while this one was under way, so nothing of
    /// what this one changed was written. Usually the visitor has logged in or out in the meantime;
    /// a new request finds out. The adapters answer with status 409.
    #[doc(alias = "SessionInterrupted")]
    Superseded,
    /// The store has the session, and this process can't open it, so nothing of what the request
    /// changed was written. The adapters answer with status 503: another process may have the key,
    /// or this one once it is started again.
    Unopened(Unopened),
    /// The session has no subject.
    SubjectMissing,
    /// The user has as many sessions as there may be, and the login was to be refused then:
    /// [`SessionLimit::Refuse`](crate::SessionLimit::Refuse).
    TooManySessions {
        /// How many there may be.
        max: usize,
    },
    /// Another site has made the browser send the request, and it may change something:
    /// [`check_origin`](crate::SessionManager::check_origin). The adapters answer with status 403.
    #[doc(alias = "csrf")]
    CrossOrigin {
        /// The request's header that says so.
        header: &'static str,
        /// Its value.
        value: String,
    },
    /// The form that made the request has no token of this session, or an outdated one:
    /// [`check_form_token`](crate::Session::check_form_token). The adapters answer with status 403.
    #[doc(alias = "csrf")]
    FormToken,
    /// The session is bound to a device, and the request doesn't prove that it comes from there:
    /// [`BindingPolicy::requiring_proof`](crate::BindingPolicy::requiring_proof),
    /// [`check_device_binding`](crate::Session::check_device_binding). The adapters answer with
    /// status 403.
    #[cfg(feature = "dbsc")]
    DeviceUnproven,
    /// The handler of an adapter has called another one for the same cookie, which has given the
    /// browser a session of its own. Pass the outer one's session on instead, or give the inner
    /// manager a cookie of [another name](crate::CookiePolicy::with_name).
    CookieSetTwice,
}

impl Error {
    pub(crate) fn wrong_type<T>(key: &str) -> Self {
        Self::WrongType { key: key.to_owned(), expected: any::type_name::<T>() }
    }

    pub(crate) fn unencodable<T: ?Sized>(key: &str) -> Self {
        Self::Unencodable { key: key.to_owned(), of: any::type_name::<T>() }
    }

    /// Returns whether the same request may succeed later without anybody repairing anything: the
    /// store is [busy or unavailable](store_core::Error::is_retryable), the system has no random
    /// numbers, too many requests change the session at once, or only other processes can open it
    /// yet. The adapters answer these with status 503.
    ///
    /// # Examples
    /// ```
    /// use session_manager::Error;
    ///
    /// assert!(Error::Conflict { attempts: 64 }.is_retryable());
    /// assert!(!Error::SubjectMissing.is_retryable());
    /// ```
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Conflict { .. } | Self::Randomness(_) | Self::Unopened(_) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(_) => f.write_str("the session store failed"),
            Self::WrongType { key, expected } => {
                write!(f, "the session's value {key:?} is not of type {expected}")
            }
            Self::Unencodable { key, of } => {
                write!(f, "the session's codec can't represent {key:?} of type {of}")
            }
            Self::TooManyValues { max } => {
                write!(f, "the session would have more than {max} values")
            }
            Self::ReservedKey { key } => {
                write!(f, "the key {key:?} is reserved for the session itself")
            }
            Self::Conflict { attempts } => {
                write!(
                    f,
                    "other requests changed the session at each of {attempts} attempts to write it"
                )
            }
            Self::Randomness(_) => f.write_str("the operating system returned no random bytes"),
            Self::InvalidOption { option, problem } => write!(f, "invalid {option}: {problem}"),
            Self::Superseded => f.write_str(
                "another request ended or renewed the session in the meantime, \
                 so the changes of this one were not written",
            ),
            Self::Unopened(unopened) => write!(f, "the session can't be opened: {unopened}"),
            Self::SubjectMissing => f.write_str("the session has no subject"),
            Self::TooManySessions { max } => {
                write!(f, "the user has {max} sessions already, and may not have more")
            }
            Self::CrossOrigin { header, value } => {
                write!(f, "the request comes from another site ({header}: {value:?})")
            }
            Self::FormToken => {
                f.write_str("the form's token is missing, outdated or of another session")
            }
            #[cfg(feature = "dbsc")]
            Self::DeviceUnproven => {
                f.write_str("the request doesn't prove that it comes from the session's device")
            }
            Self::CookieSetTwice => {
                f.write_str("the response sets the session's cookie already: an adapter in another")
            }
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Store(source) => Some(source),
            Self::Randomness(source) => Some(source),
            _ => None,
        }
    }
}

impl From<store_core::Error> for Error {
    fn from(error: store_core::Error) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_may_pass_by_themselves_are_retryable() {
        for error in [
            Error::Store(store_core::Error::Contended { source: "database is locked".into() }),
            Error::Conflict { attempts: 64 },
            Error::Randomness(getrandom::Error::UNSUPPORTED),
            Error::Unopened(Unopened::UnknownKey { id: 7 }),
        ] {
            assert!(error.is_retryable(), "{error}");
        }
        for error in [
            Error::Store(store_core::Error::TokenTaken),
            Error::ReservedKey { key: "__subject".to_owned() },
            Error::Superseded,
            Error::SubjectMissing,
        ] {
            assert!(!error.is_retryable(), "{error}");
        }
    }

    #[test]
    fn message_and_source_do_not_repeat_each_other() {
        let error = Error::from(store_core::Error::TokenTaken);
        assert_eq!(error.to_string(), "the session store failed");
        let source = error.source().expect("the store's error");
        assert_eq!(source.to_string(), store_core::Error::TokenTaken.to_string());
        assert!(Error::Randomness(getrandom::Error::UNSUPPORTED).source().is_some());
        assert!(Error::Superseded.source().is_none());
    }
}

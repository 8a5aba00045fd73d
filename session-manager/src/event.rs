//! What the manager reports to the application about its sessions.

use std::fmt;

use crate::session_id::SessionId;
use crate::unopened::Unopened;

/// Something that happened to a session, for logs and alarms.
///
/// It shows neither a token nor a value. Its `Debug` output leaves out the subject, which may be
/// personal data.
///
/// # Examples
/// ```
/// use session_manager::{EventKind, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?).with_event_hook(|event| {
///     let user = event.subject.as_deref().unwrap_or("nobody");
///     match event.kind {
///         // Many of these from one address are somebody who guesses.
///         EventKind::UnknownToken => println!("unknown token {}", event.session),
///         EventKind::Ended(cause) => println!("session {} of {user}: {cause}", event.session),
///         _ => {}
///     }
/// });
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// To which session. If nothing of the session is known but a token that opens nothing, it is a
    /// name of that token, the same for the same token. Of one that isn't stored yet, all digits
    /// are 0.
    pub session: SessionId,
    /// The session whose place in the browser this one has taken, because it has passed to another
    /// user.
    pub previous: Option<SessionId>,
    /// Whose session it is, if that is known and somebody has logged in.
    pub subject: Option<String>,
}

/// What happened to a session.
///
/// # Examples
/// ```
/// use std::sync::{Arc, Mutex};
/// use session_manager::{EventKind, SessionManager};
/// use store_core::MemoryStore;
///
/// let kinds = Arc::new(Mutex::new(Vec::new()));
/// let sessions = SessionManager::new(MemoryStore::new()?).with_event_hook({
///     let kinds = Arc::clone(&kinds);
///     move |event| kinds.lock().unwrap().push(event.kind.clone())
/// });
/// let mut session = sessions.load(["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])?;
/// session.insert("visits", 1)?;
/// session.finish()?;
/// assert_eq!(*kinds.lock().unwrap(), [EventKind::UnknownToken, EventKind::Created]);
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// It was stored for the first time.
    Created,
    /// It got a new token, and kept its id.
    Renewed,
    /// It has ended.
    Ended(EndCause),
    /// A request came with a token of the right form that names no live session of this manager:
    /// one that has expired or was destroyed, or was invented. It was not adopted.
    ///
    /// A browser keeps the cookie of a session that has ended, so the same token is reported once,
    /// as long as the process remembers it among the last 1,024. Many of these are many tokens.
    UnknownToken,
    /// Another request changed the session while this one ran; this one's changes were applied to
    /// the newer data.
    Conflict,
    /// Another request destroyed or renewed the session while this one was under way. This one's
    /// changes, if there were any, were not written.
    Lost,
    /// Its data can't be decoded, or is of a newer version. The request got a fresh session.
    Undecodable,
    /// This process can't open it, and others may. It was left as it is, and the request looked as
    /// if nobody were logged in.
    Unopened(Unopened),
    /// It has a value of another type than the application asked for, such as one that an older
    /// version has put there. The application was told that there is none, unless its manager has
    /// [strict types](crate::SessionManager::with_strict_types).
    WrongType {
        /// The value's key.
        key: String,
        /// The type that was asked for.
        expected: &'static str,
    },
    /// It is bound to a device, and a request didn't prove that it comes from there, or with a
    /// forged proof: the cookie may have been copied, or the browser couldn't get a device cookie.
    #[cfg(feature = "dbsc")]
    DeviceUnproven,
    /// A browser has bound it to its device.
    #[cfg(feature = "dbsc")]
    DeviceBound,
}

/// Why a session has ended.
///
/// # Examples
/// ```
/// use session_manager::EndCause;
///
/// assert_eq!(EndCause::Logout.to_string(), "logout");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndCause {
    /// A request of its own: [`Session::destroy`](crate::Session::destroy).
    Logout,
    /// All sessions of the subject were to end, or all but one:
    /// [`SessionManager::destroy_all_of`](crate::SessionManager::destroy_all_of),
    /// [`Session::destroy_others`](crate::Session::destroy_others).
    LogoutEverywhere,
    /// From elsewhere, by the user or by an administrator:
    /// [`SessionManager::destroy`](crate::SessionManager::destroy),
    /// [`SessionManager::destroy_one_of`](crate::SessionManager::destroy_one_of), or
    /// [`Session::destroy`](crate::Session::destroy) in
    /// [`SessionManager::update`](crate::SessionManager::update).
    Revoked,
    /// Its user has logged in elsewhere, and may not have more sessions:
    /// [`SessionManager::with_session_limit`](crate::SessionManager::with_session_limit).
    Limit,
    /// Its deadline was moved into the past, or has passed although the store still had it.
    Deadline,
    /// A request has removed the last of its values:
    /// [`SessionManager::with_dead_cookies_removed`](crate::SessionManager::with_dead_cookies_removed).
    Emptied,
    /// Another session has [taken it over](crate::Session::merge).
    Merged,
    /// Another user has logged in with it, or its user has left it: what goes on in the same
    /// browser is another session.
    TakenOver,
}

impl fmt::Display for EndCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logout => "logout",
            Self::LogoutEverywhere => "logout everywhere",
            Self::Revoked => "revoked",
            Self::Limit => "limit",
            Self::Deadline => "deadline",
            Self::Emptied => "emptied",
            Self::Merged => "merged",
            Self::TakenOver => "taken over",
        })
    }
}

impl Event {
    pub(crate) fn new(kind: EventKind, session: SessionId) -> Self {
        Self { kind, session, previous: None, subject: None }
    }

    pub(crate) fn with_previous(mut self, previous: SessionId) -> Self {
        self.previous = Some(previous);
        self
    }

    pub(crate) fn with_subject(mut self, subject: Option<String>) -> Self {
        self.subject = subject;
        self
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("kind", &self.kind)
            .field("session", &self.session)
            .field("previous", &self.previous)
            .field("has_subject", &self.subject.is_some())
            .finish()
    }
}

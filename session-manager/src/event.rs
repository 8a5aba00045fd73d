//! What the manager reports to the application about its sessions.

use crate::session_key::Fingerprint;

/// Something that happened to a session, for logs and alarms.
///
/// It shows neither a token nor a value; sessions can be told apart by their fingerprints.
///
/// # Examples
/// ```
/// use session_manager::{EventKind, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?).with_event_hook(|event| {
///     if event.kind == EventKind::UnknownToken {
///         // Many of these from one address are somebody who guesses.
///         println!("unknown token {}", event.session);
///     }
/// });
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// To which session.
    pub session: Fingerprint,
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
///     move |event| kinds.lock().unwrap().push(event.kind)
/// });
/// let mut session = sessions.load(["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])?;
/// session.insert("visits", 1)?;
/// session.finish()?;
/// assert_eq!(*kinds.lock().unwrap(), [EventKind::UnknownToken, EventKind::Created]);
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// It was stored for the first time.
    Created,
    /// It got a new token. The fingerprint is that of the new one.
    Renewed,
    /// The application destroyed it, or another session took it over.
    Destroyed,
    /// Its deadline had passed although the store still had it, so the request got a fresh session.
    Expired,
    /// A request came with a token of the right form that names no live session of this manager:
    /// one that has expired or was destroyed, or was invented. It was not adopted.
    UnknownToken,
    /// Another request changed the session while this one ran; this one's changes were applied to
    /// the newer data.
    Conflict,
    /// Another request destroyed or renewed the session while this one was under way. This one's
    /// changes, if there were any, were not written.
    Lost,
    /// Its data can't be decoded, or is of a newer version. The request got a fresh session.
    Undecodable,
}

impl Event {
    pub(crate) fn new(kind: EventKind, session: Fingerprint) -> Self {
        Self { kind, session }
    }
}

//! What the manager reports to the application about its sessions.

use crate::session_key::Fingerprint;

/// Something that happened to a session, for logs and alarms.
///
/// It shows neither a token nor a value; sessions can be told apart by their fingerprints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// To which session.
    pub session: Fingerprint,
}

/// What happened to a session.
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
    /// A request came with a token of the right form that names no live session of this manager: one
    /// that has expired or was destroyed, or was invented. It was not adopted.
    UnknownToken,
    /// Another request changed the session while this one ran; this one's changes were applied to the
    /// newer data.
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

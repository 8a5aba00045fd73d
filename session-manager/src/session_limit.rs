//! How many sessions a user may have.

/// How many sessions of one user there may be at the same time, and what a login does that would
/// make one more.
///
/// It is an option of the manager:
/// [`SessionManager::with_session_limit`](crate::SessionManager::with_session_limit).
///
/// # Examples
/// ```
/// use session_manager::{SessionLimit, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions =
///     SessionManager::new(MemoryStore::new()?).with_session_limit(SessionLimit::EndOldest(2))?;
/// for _ in 0..5 {
///     let mut session = sessions.load([])?;
///     session.set_subject("7")?;
///     session.finish()?;
/// }
/// assert_eq!(sessions.sessions_of("7")?.len(), 2);
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionLimit {
    /// At most this many; a login ends those whose login is the longest ago.
    EndOldest(usize),
    /// At most this many; a login is refused ([`Error::TooManySessions`](crate::Error)).
    Refuse(usize),
}

impl SessionLimit {
    pub(crate) fn max(self) -> usize {
        match self {
            Self::EndOldest(max) | Self::Refuse(max) => max,
        }
    }
}

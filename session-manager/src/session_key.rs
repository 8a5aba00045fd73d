//! The names of sessions in the store.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::session_id::SessionId;

/// The name of a session in the store: by default the hash of its token.
///
/// It can't be used to log in (if tokens are hashed), only to end the session:
/// [`SessionManager::destroy`](crate::SessionManager::destroy). Its `Debug` output shows only a
/// hash.
///
/// # Examples
/// ```
/// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
/// # let mut session = sessions.load([])?;
/// # session.set_subject("7")?;
/// # session.finish()?;
/// for session in sessions.sessions_of("7")? {
///     sessions.destroy(session.key())?;
/// }
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionKey(String);

impl SessionKey {
    pub(crate) fn from_store(key: &str) -> Self {
        Self(key.to_owned())
    }

    /// Returns the key as the store has it, 43 bytes long. If tokens aren't hashed, this is the
    /// secret itself. Forms and logs take the [`SessionId`].
    ///
    /// # Examples
    /// An administrator's tool notes sessions that it is going to end:
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.finish()?;
    /// let noted: Vec<_> =
    ///     sessions.sessions_of("7")?.iter().map(|session| session.key().clone()).collect();
    /// assert_eq!(noted[0].as_str().len(), 43);
    /// for key in &noted {
    ///     sessions.destroy(key)?;
    /// }
    /// # assert!(sessions.sessions_of("7")?.is_empty());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a hash of the key: the [`SessionId`] of a session that has it as its first one.
    pub(crate) fn first_id(&self) -> SessionId {
        // Hashed once more, because in a store with plain tokens the key is a secret. The prefix,
        // which no other hash here begins with, leaves room for a key in one block of SHA-256.
        let digest = Sha256::new().chain_update("session id: ").chain_update(&self.0).finalize();
        SessionId::from_bits(digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({})", self.first_id())
    }
}

//! The names of sessions in the store, and in logs.

use std::fmt;

use sha2::{Digest, Sha256};

/// The name of a session in the store: by default the hash of its token.
///
/// It can't be used to log in (if tokens are hashed), only to end the session:
/// [`SessionManager::destroy`](crate::SessionManager::destroy). Its `Debug` output shows only the
/// [`Fingerprint`].
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
    /// secret itself.
    ///
    /// # Examples
    /// A form in which somebody chooses which of their sessions to end:
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.finish()?;
    /// let all = sessions.sessions_of("7")?;
    /// let form = format!(r#"<button name="end" value="{}">"#, all[0].key().as_str());
    /// # assert_eq!(all[0].key().as_str().len(), 43);
    ///
    /// // The request that the form makes: nobody can end the session of another user.
    /// # let posted = all[0].key().as_str();
    /// if let Some(session) = all.iter().find(|session| session.key().as_str() == posted) {
    ///     sessions.destroy(session.key())?;
    /// }
    /// # assert!(sessions.sessions_of("7")?.is_empty());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what a log may show of the session.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.finish()?;
    /// let all = sessions.sessions_of("7")?;
    /// let line = format!("session {} belongs to user 7", all[0].key().fingerprint());
    /// assert!(!line.contains(all[0].key().as_str()));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        // Hashed once more, because in a store with plain tokens the key is a secret.
        let digest = Sha256::new()
            .chain_update("session-manager fingerprint ")
            .chain_update(&self.0)
            .finalize();
        Fingerprint(digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({})", self.fingerprint())
    }
}

/// 64 bits that show which log lines belong to the same session, and nothing else.
///
/// It is the same in every process, changes when the session is renewed, and can't be turned back
/// into a token. It is displayed as 16 hexadecimal digits.
///
/// # Examples
/// ```
/// use session_manager::SessionManager;
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?)
///     .with_event_hook(|event| println!("{:?} {}", event.kind, event.session));
/// # let mut session = sessions.load([])?;
/// # session.insert("name", "Ada")?;
/// # session.finish()?;
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Returns a number below `len`, the same for the same session.
    pub(crate) fn index(self, len: usize) -> usize {
        usize::try_from(self.0 % len as u64).expect("it is below a usize")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

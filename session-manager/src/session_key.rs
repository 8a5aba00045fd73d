//! The names of sessions in the store, and in logs.

use std::fmt;

use sha2::{Digest, Sha256};

/// The name of a session in the store: by default the hash of its token.
///
/// It can't be used to log in (if tokens are hashed), only to end the session:
/// [`SessionManager::destroy`](crate::SessionManager::destroy). Its `Debug` output shows only the
/// [`Fingerprint`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionKey(String);

impl SessionKey {
    pub(crate) fn from_store(key: &str) -> Self {
        Self(key.to_owned())
    }

    /// Returns the key as the store has it, 43 bytes long. If tokens aren't hashed, this is the secret
    /// itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what a log may show of the session.
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
/// It is the same in every process, changes when the session is renewed, and can't be turned back into
/// a token. It is displayed as 16 hexadecimal digits.
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

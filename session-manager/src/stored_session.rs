//! A session that isn't the request's own.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use crate::codec::Codec;
use crate::codec::json::Json;
use crate::content::reserved::{SUBJECT, is_reserved};
use crate::error::Error;
use crate::manager::resolve::LiveSession;
use crate::session_key::SessionKey;

/// A session as the store has it, to be looked at or destroyed.
///
/// # Examples
/// A page that lists where somebody is logged in:
/// ```
/// use session_manager::{Error, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?);
/// let mut session = sessions.load([])?;
/// session.set_subject("7")?;
/// session.insert("device", "Firefox on Linux")?;
/// session.finish()?;
///
/// let all = sessions.sessions_of("7")?;
/// assert_eq!(all[0].get::<String>("device")?.as_deref(), Some("Firefox on Linux"));
/// sessions.destroy(all[0].key())?;
/// assert!(sessions.sessions_of("7")?.is_empty());
/// # Ok::<(), Error>(())
/// ```
pub struct StoredSession<'m, C = Json> {
    codec: &'m C,
    session: LiveSession,
}

impl<'m, C: Codec> StoredSession<'m, C> {
    pub(crate) fn new(codec: &'m C, session: LiveSession) -> Self {
        Self { codec, session }
    }

    /// Returns the session's name in the store, by which it can be destroyed.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.finish()?;
    /// let session = &sessions.sessions_of("7")?[0];
    /// sessions.destroy(session.key())?;
    /// # assert!(sessions.sessions_of("7")?.is_empty());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn key(&self) -> &SessionKey {
        &self.session.key
    }

    /// Returns when the session expires unless it is used.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// let sessions = sessions.with_idle_timeout(Duration::from_secs(30 * 60))?;
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.finish()?;
    /// let session = &sessions.sessions_of("7")?[0];
    /// assert!(session.expiry() < session.deadline(), "half an hour from now, or a day");
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn expiry(&self) -> DateTime<Utc> {
        self.session.expiry
    }

    /// Returns when the session ends, however much it is used.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.finish()?;
    ///
    /// let session = &sessions.sessions_of("7")?[0];
    /// assert!(session.deadline() <= Utc::now() + TimeDelta::hours(24));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn deadline(&self) -> DateTime<Utc> {
        self.session.content.deadline
    }

    /// Returns the value under a key.
    ///
    /// # Errors
    /// [`Error::WrongType`] if there is one of another type.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.insert("device", "Firefox on Linux")?;
    /// # session.finish()?;
    /// let session = &sessions.sessions_of("7")?[0];
    /// let device: Option<String> = session.get("device")?;
    /// # assert_eq!(device.as_deref(), Some("Firefox on Linux"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let LiveSession { content, data, .. } = &self.session;
        let Some(value) = content.values.get(key, data) else { return Ok(None) };
        self.codec.decode_value(value).map(Some).map_err(|_| Error::wrong_type::<T>(key))
    }

    /// Returns the keys of the application's values.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.insert("device", "Firefox on Linux")?;
    /// # session.finish()?;
    /// let session = &sessions.sessions_of("7")?[0];
    /// assert_eq!(session.keys().collect::<Vec<_>>(), ["device"]);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.session.content.values.keys().filter(|key| !is_reserved(key))
    }

    /// Returns the session's subject: who has logged in.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.finish()?;
    /// let session = &sessions.sessions_of("7")?[0];
    /// assert_eq!(session.subject().as_deref(), Some("7"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        self.get(SUBJECT).unwrap_or(None)
    }
}

impl<C> fmt::Debug for StoredSession<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSession")
            .field("key", &self.session.key)
            .field("expiry", &self.session.expiry)
            .finish_non_exhaustive()
    }
}

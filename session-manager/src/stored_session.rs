//! A session that isn't the request's own.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use crate::codec::Codec;
use crate::codec::json::Json;
use crate::content::metadata::Metadata;
use crate::content::reserved::is_reserved;
use crate::content::typed::TypedReader;
use crate::device::Device;
use crate::error::Error;
use crate::manager::SessionManager;
use crate::manager::resolve::LiveSession;
use crate::session_id::SessionId;
use crate::session_key::SessionKey;

/// A session as the store has it, to be looked at or destroyed.
///
/// # Examples
/// A page that lists where somebody is logged in:
/// ```
/// use session_manager::{Device, Error, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?);
/// let mut session = sessions.load([])?;
/// session.set_subject("7")?;
/// session.set_device(&Device::new().with_label("Firefox on Linux"))?;
/// session.finish()?;
///
/// let all = sessions.sessions_of("7")?;
/// let device = all[0].device().unwrap_or_default();
/// assert_eq!(device.label(), Some("Firefox on Linux"));
/// assert!(sessions.destroy_one_of("7", all[0].id())?);
/// assert!(sessions.sessions_of("7")?.is_empty());
/// # Ok::<(), Error>(())
/// ```
pub struct StoredSession<'m, C = Json> {
    manager: &'m SessionManager<C>,
    session: LiveSession,
}

impl<'m, C: Codec> StoredSession<'m, C> {
    pub(crate) fn new(manager: &'m SessionManager<C>, session: LiveSession) -> Self {
        Self { manager, session }
    }

    pub(crate) fn live(&self) -> &LiveSession {
        &self.session
    }

    pub(crate) fn login(&self) -> Option<DateTime<Utc>> {
        self.metadata().login()
    }

    fn metadata(&self) -> Metadata<'_, C> {
        let LiveSession { content, data, .. } = &self.session;
        content.metadata(&self.manager.codec, data)
    }

    /// Returns the session's public name, which is no secret.
    ///
    /// # Examples
    /// A form in which somebody chooses which of their sessions to end:
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.finish()?;
    /// let session = &sessions.sessions_of("7")?[0];
    /// let form = format!(r#"<button name="end" value="{}">"#, session.id());
    /// # assert!(form.len() > 40);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.metadata().id(&self.session.key)
    }

    /// Returns when the session began. `None` for one that a Go program has begun.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.finish()?;
    /// let session = &sessions.sessions_of("7")?[0];
    /// assert!(session.created().is_some());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn created(&self) -> Option<DateTime<Utc>> {
        self.metadata().created()
    }

    /// Returns when the session's user last proved who they are: at the login, or
    /// [again](crate::Session::mark_authenticated).
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.finish()?;
    /// let session = &sessions.sessions_of("7")?[0];
    /// assert!(session.authenticated().is_some());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn authenticated(&self) -> Option<DateTime<Utc>> {
        self.metadata().authenticated()
    }

    /// Returns when the session was used last, within a tenth of its idle timeout. `None` if it has
    /// no idle timeout: uses aren't written down by themselves, only the expiry is moved, and this
    /// is what the expiry tells. In the last idle timeout before the deadline it is the beginning
    /// of that time.
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
    /// assert!(session.last_used() <= Some(chrono::Utc::now()));
    /// # assert!(session.last_used().is_some());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "last_seen")]
    #[must_use]
    pub fn last_used(&self) -> Option<DateTime<Utc>> {
        let lifetimes = self.manager.lifetimes.of(&self.metadata());
        lifetimes.last_use(self.session.expiry, self.manager.now())
    }

    /// Returns what the application has said of the session's device.
    ///
    /// # Examples
    /// ```
    /// use session_manager::Device;
    ///
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// session.set_device(&Device::new().with_label("Firefox on Linux"))?;
    /// # session.finish()?;
    /// let session = &sessions.sessions_of("7")?[0];
    /// let device = session.device().unwrap_or_default();
    /// assert_eq!(device.label(), Some("Firefox on Linux"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn device(&self) -> Option<Device> {
        self.metadata().device()
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

    /// Returns the value under a key, as [`Session::get`](crate::Session::get) does.
    ///
    /// # Errors
    /// [`Error::WrongType`] if there is one of another type and types are
    /// [strict](SessionManager::with_strict_types).
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.insert("theme", "dark")?;
    /// # session.finish()?;
    /// let session = &sessions.sessions_of("7")?[0];
    /// let theme: Option<String> = session.get("theme")?;
    /// # assert_eq!(theme.as_deref(), Some("dark"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let LiveSession { content, data, key: own, .. } = &self.session;
        let reader = TypedReader { manager: self.manager, session: Some((own, data)) };
        reader.read(key, content.values.get(key, data))
    }

    /// Returns the keys of the application's values.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.insert("theme", "dark")?;
    /// # session.finish()?;
    /// let session = &sessions.sessions_of("7")?[0];
    /// assert_eq!(session.keys().collect::<Vec<_>>(), ["theme"]);
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
        self.metadata().subject()
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

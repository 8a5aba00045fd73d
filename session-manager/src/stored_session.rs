//! Sessions that aren't the request's own: those of a user, and all of them.

use std::fmt;
use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use crate::codec::{Codec, Json};
use crate::content::{Content, SUBJECT, is_reserved};
use crate::error::Error;
use crate::event::EventKind;
use crate::manager::SessionManager;
use crate::token::SessionKey;

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
    key: SessionKey,
    data: Vec<u8>,
    content: Content,
    expiry: DateTime<Utc>,
}

impl<C: Codec> StoredSession<'_, C> {
    /// The session's name in the store, by which it can be destroyed.
    #[must_use]
    pub fn key(&self) -> &SessionKey {
        &self.key
    }

    /// When it expires unless it is used.
    #[must_use]
    pub fn expiry(&self) -> DateTime<Utc> {
        self.expiry
    }

    /// When it ends, however much it is used.
    #[must_use]
    pub fn deadline(&self) -> DateTime<Utc> {
        self.content.deadline
    }

    /// The value under a key.
    ///
    /// # Errors
    /// [`Error::WrongType`] if there is one, of another type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.content.values.get(key, &self.data) else { return Ok(None) };
        self.codec.decode_value(value).map(Some).map_err(|_| Error::wrong_type::<T>(key))
    }

    /// The keys of the application's values.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.content.values.keys().filter(|key| !is_reserved(key))
    }

    /// The session's subject: who has logged in.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        self.get(SUBJECT).unwrap_or(None)
    }
}

impl<C> fmt::Debug for StoredSession<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSession")
            .field("key", &self.key)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

impl<C: Codec> SessionManager<C> {
    /// The live sessions of a subject, in no particular order, from one consistent read.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn sessions_of(&self, subject: &str) -> Result<Vec<StoredSession<'_, C>>, Error> {
        let Ok(subject) = self.subject_in_store(subject) else { return Ok(Vec::new()) };
        let records = self.store.find_by_subject(&subject)?.into_iter();
        let sessions = records
            .filter_map(|record| self.stored_session(&record.token, record.data, record.expiry));
        Ok(sessions.collect())
    }

    /// Destroys all sessions of a subject, the present one included, and returns how many: for “log out
    /// everywhere”, and for an account that is closed or whose password was reset.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn destroy_all_of(&self, subject: &str) -> Result<u64, Error> {
        let Ok(subject) = self.subject_in_store(subject) else { return Ok(0) };
        Ok(self.store.delete_by_subject(&subject, None)?)
    }

    /// Destroys a session of a list or a walk. One that has ended meanwhile is no error; one that was renewed
    /// meanwhile is destroyed under its new token.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn destroy(&self, key: &SessionKey) -> Result<(), Error> {
        self.store.delete(key.as_str())?;
        self.report(EventKind::Destroyed, key);
        Ok(())
    }

    /// Visits all live sessions of this manager, in no particular order, until the visitor breaks
    /// off. Undecodable ones are reported and left out.
    ///
    /// The visitor may destroy sessions; it needs memory for a page of them, not for all.
    ///
    /// # Errors
    /// [`Error::Store`].
    #[doc(alias = "Iterate")]
    pub fn for_each(
        &self,
        mut visit: impl FnMut(StoredSession<'_, C>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.store.for_each(&mut |record| match self.stored_session(
            record.token,
            record.data.to_owned(),
            record.expiry,
        ) {
            Some(session) => visit(session),
            None => ControlFlow::Continue(()),
        })?;
        Ok(())
    }

    fn stored_session(
        &self,
        key: &str,
        data: Vec<u8>,
        expiry: DateTime<Utc>,
    ) -> Option<StoredSession<'_, C>> {
        let key = SessionKey::from_store(key);
        let Ok(decoded) = self.codec.decode(&data) else {
            self.report(EventKind::Undecodable, &key);
            return None;
        };
        let content = Content::stored(decoded);
        // A `touch` may have moved the expiry past a deadline that another request had just moved nearer.
        let is_live = content.deadline > self.now() && self.owns(&content, &data);
        is_live.then_some(StoredSession { codec: &self.codec, key, data, content, expiry })
    }
}

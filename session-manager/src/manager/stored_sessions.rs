//! Sessions that aren't the request's own: those of a user, and all of them.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};

use crate::codec::Codec;
use crate::content::Content;
use crate::error::Error;
use crate::event::EventKind;
use crate::manager::SessionManager;
use crate::manager::resolve::LiveSession;
use crate::session_key::SessionKey;
use crate::stored_session::StoredSession;

impl<C: Codec> SessionManager<C> {
    /// Returns the live sessions of a subject, in no particular order, from one consistent read.
    ///
    /// # Errors
    /// [`Error::Store`].
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// for device in ["Firefox on Linux", "Safari on a telephone"] {
    ///     let mut session = sessions.load([])?;
    ///     session.set_subject("7")?;
    ///     session.insert("device", device)?;
    ///     session.finish()?;
    /// }
    /// assert_eq!(sessions.sessions_of("7")?.len(), 2);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn sessions_of(&self, subject: &str) -> Result<Vec<StoredSession<'_, C>>, Error> {
        let Ok(subject) = self.subject_in_store(subject) else { return Ok(Vec::new()) };
        let records = self.store.find_by_subject(&subject)?.into_iter();
        let sessions = records
            .filter_map(|record| self.stored_session(&record.token, record.data, record.expiry));
        Ok(sessions.collect())
    }

    /// Destroys all sessions of a subject, the present one included, and returns how many: for “log
    /// out everywhere”, and for an account that is closed or whose password was reset.
    ///
    /// To keep the present one, call [`Session::destroy_others`](crate::Session::destroy_others).
    ///
    /// # Errors
    /// [`Error::Store`].
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// let mut session = sessions.load([])?;
    /// session.set_subject("7")?;
    /// session.finish()?;
    ///
    /// assert_eq!(sessions.destroy_all_of("7")?, 1);
    /// assert!(sessions.sessions_of("7")?.is_empty());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn destroy_all_of(&self, subject: &str) -> Result<u64, Error> {
        let Ok(subject) = self.subject_in_store(subject) else { return Ok(0) };
        Ok(self.store.delete_by_subject(&subject, None)?)
    }

    /// Destroys a session of a list or a walk. One that has ended in the meantime is no error; one
    /// that was renewed in the last 30 seconds is destroyed under its new token.
    ///
    /// # Errors
    /// [`Error::Store`].
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
    /// # assert!(sessions.sessions_of("7")?.is_empty());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn destroy(&self, key: &SessionKey) -> Result<(), Error> {
        self.store.delete(key.as_str())?;
        self.report(EventKind::Destroyed, key);
        Ok(())
    }

    /// Visits all live sessions of this manager, in no particular order, until the visitor breaks
    /// off. Undecodable ones are reported and left out.
    ///
    /// The visitor may destroy sessions. A page of sessions is in memory at a time, not all of
    /// them.
    ///
    /// # Errors
    /// [`Error::Store`].
    ///
    /// # Examples
    /// ```
    /// use std::ops::ControlFlow;
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.finish()?;
    ///
    /// let mut logged_in = 0;
    /// sessions.for_each(|session| {
    ///     logged_in += u32::from(session.subject().is_some());
    ///     ControlFlow::Continue(())
    /// })?;
    /// assert_eq!(logged_in, 1);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
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
        let content = Content::from_decoded(decoded);
        // A `touch` may have moved the expiry past a deadline that another request had just moved
        // nearer.
        let is_live = content.deadline > self.now() && self.owns(&content, &data);
        is_live.then(|| StoredSession::new(&self.codec, LiveSession { key, data, content, expiry }))
    }
}

//! Subjects in the store's index as keyed hashes.

use std::ops::ControlFlow;

use store_core::Change;

use crate::codec::Codec;
use crate::codec::sealed::key::SecretKey;
use crate::conflicts::Conflicts;
use crate::error::Error;
use crate::manager::SessionManager;
use crate::manager::resolve::Resolved;
use crate::session_id::SessionId;
use crate::session_key::SessionKey;

impl<C: Codec> SessionManager<C> {
    /// Keeps subjects in the store's index as keyed hashes (HMAC-SHA-256), so that a copy of the
    /// store doesn't say whose sessions there are. Default: as they are.
    ///
    /// It is for sessions that are [sealed](crate::Sealed), because their data has the subject,
    /// too. Lists, logouts everywhere and limits work as before; events and
    /// [`Finished`](crate::Finished) have the subject itself. A copy still says which sessions are
    /// of the same user.
    ///
    /// All processes need the same key, which is another one than those that seal. A session is
    /// found by the key under which it was written last: after this was turned on or off, or the
    /// key was changed, call [`reindex_subjects`](Self::reindex_subjects) before requests are
    /// served. A tool finds a user's sessions by
    /// [`hashed_subject_in_store`](crate::hashed_subject_in_store).
    ///
    /// # Examples
    /// ```
    /// # use session_manager::{Json, KeyRing, Sealed, SessionManager};
    /// use session_manager::SecretKey;
    ///
    /// # let codec = Sealed::new(Json, KeyRing::new(1, SecretKey::from_bytes(&[7; 32])?));
    /// # let sessions = SessionManager::new(store_core::MemoryStore::new()?).with_codec(codec);
    /// let key = SecretKey::from_base64("YW5vdGhlciBvbmUsIHdoaWNoIGlzbid0IHNlY3JldCE=")?;
    /// let sessions = sessions.with_hashed_subjects(key);
    /// # let mut session = sessions.load([])?;
    /// session.set_subject("ada@example.org")?;
    /// # session.finish()?;
    /// assert_eq!(sessions.sessions_of("ada@example.org")?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_hashed_subjects(mut self, key: SecretKey) -> Self {
        self.subject_key = Some(key);
        self
    }

    /// Writes the subjects of all live sessions of this manager into the store's index as this
    /// manager has them there, and returns of how many sessions: after
    /// [`with_hashed_subjects`](Self::with_hashed_subjects) was turned on or off, or its key was
    /// changed.
    ///
    /// Until it has returned, [`sessions_of`](Self::sessions_of),
    /// [`destroy_all_of`](Self::destroy_all_of), [`destroy_others`](crate::Session::destroy_others)
    /// and limits miss sessions from before, and while processes with the earlier option go on,
    /// those that log in there. So end those processes first, and call it before the first request.
    ///
    /// It takes a walk over all sessions, in bounded memory, and a conditional write for each that
    /// has a subject; it is no use of them. What can't be opened or decoded is reported and left as
    /// it is.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Conflict`] if a session was written by others each time that this
    /// call tried; [`Error::Unopened`] if one of them has sealed it with a key that is missing
    /// here. Call it again.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::{SecretKey, SessionManager};
    /// # let store = std::sync::Arc::new(store_core::MemoryStore::new()?);
    /// # let sessions = SessionManager::new(store.clone());
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # session.finish()?;
    /// # let key = SecretKey::from_bytes(&[7; 32])?;
    /// let sessions = SessionManager::new(store.clone()).with_hashed_subjects(key);
    /// assert!(sessions.sessions_of("7")?.is_empty());
    /// assert_eq!(sessions.reindex_subjects()?, 1);
    /// assert_eq!(sessions.sessions_of("7")?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reindex_subjects(&self) -> Result<u64, Error> {
        let (mut indexed, mut failure) = (0, None);
        self.for_each(|session| {
            if session.subject().is_none() {
                return ControlFlow::Continue(());
            }
            match self.reindex(session.key(), session.id()) {
                Ok(is_indexed) => indexed += u64::from(is_indexed),
                Err(error) => failure = Some(error),
            }
            if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failure.map_or(Ok(indexed), Err)
    }

    fn reindex(&self, key: &SessionKey, id: SessionId) -> Result<bool, Error> {
        let mut conflicts = Conflicts::new(&self.conflict_locks);
        loop {
            let session = match self.resolve_renewed(key.clone(), id)? {
                Resolved::Live(session) => session,
                Resolved::Unopened(why) => return Err(Error::Unopened(why)),
                Resolved::Superseded | Resolved::Unusable | Resolved::Missing => return Ok(false),
            };
            let Some(subject) = self.subject_of(&session.content, &session.data) else {
                return Ok(false);
            };
            // The data stays as it is, and if it isn't anymore, nothing is written.
            let change = Change::keeping_expiry(&session.data).with_subject(Some(&subject));
            if self.store.update(session.key.as_str(), &session.data, &change)? {
                return Ok(true);
            }
            conflicts.wait(Some(&session.key))?;
        }
    }
}

//! Sessions that aren't the request's own: those of a user, and all of them.

use std::cmp::Reverse;
use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use store_core::Loaded;

use crate::codec::{Codec, OpenError};
use crate::error::Error;
use crate::event::{EndCause, Event, EventKind};
use crate::manager::SessionManager;
use crate::manager::resolve::LiveSession;
use crate::session::Session;
use crate::session_id::SessionId;
use crate::session_key::SessionKey;
use crate::stored_session::StoredSession;
use crate::unopened::Unopened;

impl<C: Codec> SessionManager<C> {
    /// Returns the live sessions of a subject from one consistent read, the newest login first.
    /// What can't be decoded or opened is reported and left out.
    ///
    /// # Errors
    /// [`Error::Store`].
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// for _ in 0..2 {
    ///     let mut session = sessions.load([])?;
    ///     session.set_subject("7")?;
    ///     session.finish()?;
    /// }
    /// assert_eq!(sessions.sessions_of("7")?.len(), 2);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn sessions_of(&self, subject: &str) -> Result<Vec<StoredSession<'_, C>>, Error> {
        Ok(self.list(subject)?.0)
    }

    /// Returns the sessions of a subject, and why there are some that can't be opened, if there
    /// are.
    fn list(&self, subject: &str) -> Result<(Vec<StoredSession<'_, C>>, Option<Unopened>), Error> {
        let (mut sessions, mut unopened) = (Vec::new(), None);
        let Ok(subject) = self.subject_in_store(subject) else { return Ok((sessions, unopened)) };
        for record in self.store.find_by_subject(&subject)? {
            match self.stored_session(&record.token, record.data, record.expiry) {
                Ok(session) => sessions.extend(session),
                Err(why) => unopened = Some(why),
            }
        }
        // What a Go program has written has no time, and comes last.
        sessions.sort_by_cached_key(|session| Reverse((session.login(), session.id())));
        Ok((sessions, unopened))
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
        self.destroy_by_subject(subject, None)
    }

    /// Destroys one session of a subject, and returns whether there was one with this id: what a
    /// form has sent, which can end nobody else's session.
    ///
    /// # Errors
    /// [`Error::Store`].
    ///
    /// # Examples
    /// ```
    /// use session_manager::SessionId;
    ///
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # let posted = session.finish()?.id.expect("it is stored").to_string();
    /// if let Ok(id) = posted.parse::<SessionId>() {
    ///     assert!(!sessions.destroy_one_of("8", id)?, "it is another user's");
    ///     assert!(sessions.destroy_one_of("7", id)?);
    /// }
    /// # assert!(sessions.sessions_of("7")?.is_empty());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn destroy_one_of(&self, subject: &str, id: SessionId) -> Result<bool, Error> {
        let all = self.sessions_of(subject)?;
        let Some(session) = all.iter().find(|session| session.id() == id) else {
            return Ok(false);
        };
        self.store.delete(session.key().as_str())?;
        let ended = Event::new(EventKind::Ended(EndCause::Revoked), id);
        self.report_event(&ended.with_subject(Some(subject.to_owned())));
        Ok(true)
    }

    /// Destroys the sessions of a subject, except for one, and returns how many.
    pub(crate) fn destroy_by_subject(
        &self,
        subject: &str,
        except: Option<&SessionKey>,
    ) -> Result<u64, Error> {
        let Ok(in_store) = self.subject_in_store(subject) else { return Ok(0) };
        // For the events. The store ends also what logs in after this was read.
        let listed = self.store.find_by_subject(&in_store)?;
        let deleted = self.store.delete_by_subject(&in_store, except.map(SessionKey::as_str))?;
        for record in listed {
            let key = SessionKey::from_store(&record.token);
            if except != Some(&key) {
                let ended = EventKind::Ended(EndCause::LogoutEverywhere);
                self.report_event(&self.event_of_stored(ended, &key, &record.data));
            }
        }
        Ok(deleted)
    }

    /// Changes a session of a list or a walk, and returns whether it was still there. It is no use
    /// of the session: the idle timeout goes on.
    ///
    /// What the closure changes is written as a request's changes are: in one atomic step, and
    /// again, by themselves, on newer data, if a request of the session was quicker. A session that
    /// was renewed after it was listed is changed under its new token; one that has passed to
    /// another user is another session. What is put into one after it was
    /// [destroyed](Session::destroy) is dropped.
    ///
    /// # Errors
    /// [`Error::Superseded`] if the closure asks for a new token ([`Session::renew`],
    /// [`Session::set_subject`]), which only a response to that browser could bring; what the
    /// closure returns; those of [`Session::finish`].
    ///
    /// # Examples
    /// ```
    /// use std::ops::ControlFlow;
    ///
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.insert("theme", "sepia")?;
    /// # session.finish()?;
    /// let mut outcome = Ok(true);
    /// sessions.for_each(|session| {
    ///     if session.keys().any(|key| key == "theme") {
    ///         outcome = sessions.update(&session, |session| session.insert("theme", "dark"));
    ///     }
    ///     if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    /// })?;
    /// outcome?;
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn update(
        &self,
        session: &StoredSession<'_, C>,
        change: impl FnOnce(&mut Session<'_, C>) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let mut session = Session::elsewhere(self, session.live().clone());
        change(&mut session)?;
        if session.is_renewed() {
            return Err(Error::Superseded);
        }
        match session.write_back() {
            Ok(_) => Ok(true),
            Err(Error::Superseded) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Changes all sessions of a subject, the present one included, and returns how many: a role
    /// that is taken away, or a new address. It is no use of the sessions. Each is changed as by
    /// [`update`](Self::update); if one can't be, the others are nevertheless.
    ///
    /// A session that logs in while this runs may be missed, so write first where a login reads it
    /// what the sessions are to know. One whose login has read that before and is written after
    /// this is missed nevertheless: what must hold in every case, each request has to read there.
    ///
    /// # Errors
    /// The first of those of [`update`](Self::update); [`Error::Unopened`] if some of the sessions
    /// can be opened only by other processes, which have to change them, too.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # for _ in 0..2 {
    /// #     let mut session = sessions.load([])?;
    /// #     session.set_subject("7")?;
    /// #     session.insert("role", "editor")?;
    /// #     session.finish()?;
    /// # }
    /// let changed = sessions.update_all_of("7", |session| session.insert("role", "reader"))?;
    /// assert_eq!(changed, 2);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "update_by_subject")]
    pub fn update_all_of(
        &self,
        subject: &str,
        mut change: impl FnMut(&mut Session<'_, C>) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let (sessions, unopened) = self.list(subject)?;
        let (mut changed, mut failure) = (0, unopened.map(Error::Unopened));
        for session in sessions {
            match self.update(&session, &mut change) {
                Ok(is_changed) => changed += u64::from(is_changed),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(changed), Err)
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
        let ended = EventKind::Ended(EndCause::Revoked);
        // For the event. Where the session isn't there under this key, the key names it.
        let event = match self.store.load(key.as_str())? {
            Loaded::Live { data, .. } => self.event_of_stored(ended, key, &data),
            Loaded::Rotated { .. } | Loaded::Missing => Event::new(ended, key.first_id()),
        };
        self.store.delete(key.as_str())?;
        self.report_event(&event);
        Ok(())
    }

    /// Destroys all sessions in the store, also those that can't be decoded and those of other
    /// managers, and returns how many rows that were: after a break-in. They aren't reported one by
    /// one.
    ///
    /// # Errors
    /// [`Error::Store`]; on a server, some sessions may have ended then: call it again.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// let mut session = sessions.load([])?;
    /// session.set_subject("7")?;
    /// session.finish()?;
    ///
    /// assert_eq!(sessions.destroy_all()?, 1);
    /// assert!(sessions.sessions_of("7")?.is_empty());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "clear_all")]
    pub fn destroy_all(&self) -> Result<u64, Error> {
        Ok(self.store.delete_all()?)
    }

    /// Visits all live sessions of this manager, in no particular order, until the visitor breaks
    /// off. What can't be decoded or opened is reported and left out.
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
            Ok(Some(session)) => visit(session),
            Ok(None) | Err(_) => ControlFlow::Continue(()),
        })?;
        Ok(())
    }

    /// Returns a session of a list or a walk, unless it is over, undecodable or another manager's.
    fn stored_session(
        &self,
        key: &str,
        data: Vec<u8>,
        expiry: DateTime<Utc>,
    ) -> Result<Option<StoredSession<'_, C>>, Unopened> {
        let key = SessionKey::from_store(key);
        let content = match self.read(&key, &data) {
            Ok(content) => content,
            Err(OpenError::Unreadable) => {
                self.report(EventKind::Undecodable, &key);
                return Ok(None);
            }
            Err(OpenError::Unopened(unopened)) => {
                self.report(EventKind::Unopened(unopened), &key);
                return Err(unopened);
            }
        };
        // A `touch` may have moved the expiry past a deadline that another request had just moved
        // nearer.
        let is_live = content.deadline > self.now() && self.owns(&content, &data);
        Ok(is_live.then(|| StoredSession::new(self, LiveSession { key, data, content, expiry })))
    }
}

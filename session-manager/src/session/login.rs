//! Tokens and subjects: login, renewal and logout.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

#[cfg(doc)]
use crate::SessionManager;
use crate::codec::Codec;
use crate::content::edit::{Edit, SubjectEdit};
use crate::content::reserved::{AUTHENTICATED, SUBJECT};
use crate::error::Error;
use crate::event::{EndCause, Event, EventKind};
use crate::manager::resolve::Resolved;
use crate::session::Session;
use crate::session::origin::Origin;
use crate::session_key::SessionKey;
use crate::session_limit::SessionLimit;
use crate::token::Token;

impl<C: Codec> Session<'_, C> {
    /// Sets the session's subject: the id of the user who has logged in. If that is another one
    /// than before, the session gets a new token, as by [`renew`](Self::renew). If the session was
    /// another user's, it begins with empty values and a new lifetime, except for flash values and
    /// those that [`with_kept_values`](SessionManager::with_kept_values) names. The sessions of a
    /// subject can be listed and destroyed ([`SessionManager::sessions_of`],
    /// [`SessionManager::destroy_all_of`], [`destroy_others`](Self::destroy_others)).
    ///
    /// A request whose token another one renewed before this one was loaded, but within the grace,
    /// gets its own session: after two clicks on “Log in” the browser is logged in, whichever
    /// response it took. If the other one renewed it later, [`finish`](Self::finish) returns
    /// [`Error::Superseded`].
    ///
    /// For the subject that the session has already, it does nothing. If its user has proved again
    /// who they are, call [`mark_authenticated`](Self::mark_authenticated) as well.
    ///
    /// If the number of a user's sessions is [limited](SessionManager::with_session_limit), the
    /// login ends others, or is refused.
    ///
    /// # Errors
    /// [`Error::TooManySessions`], also from [`finish`](Self::finish) if another login was quicker;
    /// [`Error::Store`] for a subject that is empty or longer than
    /// [`MAX_SUBJECT_LEN`](store_core::MAX_SUBJECT_LEN) minus the name of the cookie and one, in
    /// bytes; [`Error::Unencodable`], from a codec that can't represent a string;
    /// [`Error::Randomness`].
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// // The password was right.
    /// let user_id = 7;
    /// session.set_subject(&user_id.to_string())?;
    /// session.mark_authenticated()?; // also if it is the same user's
    /// # session.finish()?;
    /// # assert_eq!(sessions.sessions_of("7")?.len(), 1);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "log_in")]
    #[doc(alias = "login")]
    #[doc(alias = "user")]
    #[doc(alias = "principal")]
    pub fn set_subject(&mut self, subject: &str) -> Result<(), Error> {
        self.manager.subject_in_store(subject)?;
        if !matches!(self.origin, Origin::Fresh | Origin::Store(_)) {
            self.origin = Origin::Fresh;
            self.new_token = None;
        }
        if self.subject().as_deref() == Some(subject) {
            return Ok(());
        }
        if let Some(SessionLimit::Refuse(_)) = self.manager.session_limit {
            // The write finds out again; here the handler can still answer.
            self.room(&self.manager.subject_in_store(subject)?)?;
        }
        let encoded = self.manager.codec.encode_value(subject);
        let encoded = encoded.map_err(|_| Error::unencodable::<str>(SUBJECT))?;
        // Anyone who knew the token before must not be logged in with it.
        self.renew()?;
        self.change_subject(Some(encoded.into()))
    }

    /// Returns the session's subject: who has logged in.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// assert_eq!(session.subject(), None);
    /// session.set_subject("7")?;
    /// assert_eq!(session.subject().as_deref(), Some("7"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        self.was_read.set(true);
        self.metadata().subject()
    }

    /// Notes that the visitor has just proved again who they are, for example by their password
    /// before something dangerous, and gives the session a new token, as by [`renew`](Self::renew).
    /// [`set_subject`](Self::set_subject) does the same if another user logs in, and nothing if the
    /// same one does, so a login calls both.
    ///
    /// # Errors
    /// [`Error::SubjectMissing`] if nobody has logged in; [`Error::Superseded`] if another request
    /// has just renewed the session; [`Error::Randomness`]; [`Error::Unencodable`], from a codec
    /// that can't represent an integer.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// # let the_password_is_right = true;
    /// if the_password_is_right {
    ///     session.mark_authenticated()?;
    /// }
    /// # session.finish()?;
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "reauthenticate")]
    #[doc(alias = "step_up")]
    #[doc(alias = "sudo_mode")]
    pub fn mark_authenticated(&mut self) -> Result<(), Error> {
        self.check_superseded()?;
        if self.metadata().subject().is_none() {
            return Err(Error::SubjectMissing);
        }
        let now = self.manager.encode_time(AUTHENTICATED, self.manager.now())?;
        self.renew()?;
        self.edit_infallible(Edit::Set(AUTHENTICATED.to_owned(), now));
        Ok(())
    }

    /// Returns when the visitor last proved who they are: when they logged in, or
    /// [again](Self::mark_authenticated). `None` if nobody has logged in.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// assert_eq!(session.authenticated(), None);
    /// session.set_subject("7")?;
    /// assert!(session.authenticated().is_some());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn authenticated(&self) -> Option<DateTime<Utc>> {
        self.was_read.set(true);
        self.metadata().authenticated()
    }

    /// Returns whether the visitor has proved who they are in the last while: what is dangerous,
    /// such as a new password, asks for it again otherwise.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// if !session.authenticated_within(Duration::from_secs(10 * 60)) {
    ///     println!("Please enter your password again.");
    /// }
    /// # assert!(session.authenticated_within(Duration::from_secs(10 * 60)));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn authenticated_within(&self, window: Duration) -> bool {
        let age = self.authenticated().map(|then| (self.manager.now() - then).abs());
        // A time in the future comes from a clock that was wrong: nobody knows how long ago it is.
        age.and_then(|age| age.to_std().ok()).is_some_and(|age| age <= window)
    }

    /// Ends the login and goes on with the session, under a new token: the subject and all values
    /// go, except for flash values and those that
    /// [`with_kept_values`](SessionManager::with_kept_values) names. If the session has no subject,
    /// it does nothing. For a logout, prefer [`destroy`](Self::destroy).
    ///
    /// # Errors
    /// [`Error::Superseded`] if another request has just renewed the session;
    /// [`Error::Randomness`].
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// let sessions = sessions.with_kept_values(["language"]);
    /// # let mut session = sessions.load([])?;
    /// session.set_subject("7")?;
    /// session.insert("language", "fr")?;
    /// session.insert("address", "…")?;
    ///
    /// session.clear_subject()?;
    /// assert_eq!(session.subject(), None);
    /// assert_eq!(session.keys().collect::<Vec<_>>(), ["language"]);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn clear_subject(&mut self) -> Result<(), Error> {
        self.check_superseded()?;
        if self.contains(SUBJECT) {
            self.renew()?;
            self.change_subject(None)?;
        }
        Ok(())
    }

    /// Gives the session a new token when it is written; the old one then opens nothing.
    ///
    /// Call it whenever the rights of the visitor change: at a login, or when a password is changed
    /// (at a logout, call [`destroy`](Self::destroy)). [`set_subject`](Self::set_subject) does it
    /// by itself. The values and the deadline stay; to begin the lifetime again, call
    /// [`reset_lifetime`](Self::reset_lifetime).
    ///
    /// A request whose token another request has renewed in the meantime can't renew the session
    /// again: it fails with [`Error::Superseded`] when it finishes.
    ///
    /// # Errors
    /// [`Error::Randomness`]; [`Error::Unencodable`], from a codec that can't represent a string.
    ///
    /// # Examples
    /// ```
    /// # fn token(headers: &[session_manager::Header]) -> &str {
    /// #     headers[0].1.split(['=', ';']).nth(1).unwrap_or_default()
    /// # }
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.insert("cart", ["tea"])?;
    /// # let headers = session.finish()?.headers;
    /// # let old = token(&headers);
    /// let mut session = sessions.load([old])?;
    /// session.renew()?;
    /// let headers = session.finish()?.headers; // they bring the browser its new token
    ///
    /// assert!(sessions.load([old])?.is_empty());
    /// assert!(sessions.load([token(&headers)])?.contains("cart"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "RenewToken")]
    #[doc(alias = "regenerate")]
    #[doc(alias = "rotate")]
    #[doc(alias = "cycle_id")]
    pub fn renew(&mut self) -> Result<(), Error> {
        self.was_read.set(true);
        // A fresh session gets a new token in any case.
        if matches!(self.origin, Origin::Fresh) {
            return Ok(());
        }
        if self.is_moved() {
            // Under the token that others may know.
            self.new_token = None;
        }
        match &mut self.new_token {
            Some(new_token) if !new_token.old_token_opens => return Ok(()),
            Some(new_token) => new_token.old_token_opens = false,
            None => self.new_token = Some(self.manager.new_token()?),
        }
        self.renew_form_secret()
    }

    /// Returns the token that the browser has or is going to get: a secret of 43 characters. `None`
    /// for a session that was never stored, and if another request has given the session a newer
    /// one.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.insert("name", "Ada")?;
    /// # let headers = session.finish()?.headers;
    /// # let cookie_value = headers[0].1.split(['=', ';']).nth(1).unwrap_or_default();
    /// let session = sessions.load([cookie_value])?;
    /// assert_eq!(session.token(), Some(cookie_value));
    ///
    /// let fresh = sessions.load([])?;
    /// assert_eq!(fresh.token(), None);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Token")]
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.was_read.set(true);
        let snapshot = self.origin.snapshot()?;
        let new = self.new_token.as_ref().map(|new| &new.token);
        new.or(snapshot.token.as_ref()).map(Token::as_str)
    }

    /// Returns the session's name in the store. `None` for a session that was never stored.
    ///
    /// It is the name that the session has while the request is served. If the request gives it a
    /// new token, also by itself ([`with_rotation`](SessionManager::with_rotation)), the session
    /// has a new name once it is written.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let browser = session_manager::testing::Browser::new(&sessions);
    /// # let browser = browser.with(|session| session.set_subject("7"))?;
    /// let session = browser.session()?;
    /// let key = session.key().expect("it is stored").clone();
    /// sessions.destroy(&key)?;
    /// # assert!(sessions.sessions_of("7")?.is_empty());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn key(&self) -> Option<&SessionKey> {
        self.was_read.set(true);
        self.origin.snapshot().map(|snapshot| &snapshot.key)
    }

    /// Ends the session, at once: the store forgets it, and the response removes the cookie, if it
    /// named a session.
    ///
    /// This is final, no matter what the handler answers afterwards, and no matter which of its
    /// tokens the request came with: no request that loaded the session before can bring it back,
    /// and one that another process has renewed in the last 30 seconds ends under its new token.
    /// What is inserted afterwards, for example a flash message, goes into a fresh session with its
    /// own token.
    ///
    /// # Errors
    /// [`Error::Store`]; the session may still exist, so answer with an error.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let browser = session_manager::testing::Browser::new(&sessions);
    /// # let mut session = browser.with(|session| session.set_subject("7"))?.session()?;
    /// session.destroy()?;
    /// session.flash("notice", "You are logged out.")?;
    /// # session.finish()?;
    /// # assert!(sessions.sessions_of("7")?.is_empty());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Destroy")]
    #[doc(alias = "flush")]
    #[doc(alias = "log_out")]
    #[doc(alias = "logout")]
    pub fn destroy(&mut self) -> Result<(), Error> {
        self.was_read.set(true);
        let manager = self.manager;
        let mut tokens: Vec<_> = self.sent_tokens.known.iter().collect();
        for token in &self.sent_tokens.untried {
            // Another manager's session isn't this one's to end.
            let key = manager.key(token);
            if !matches!(manager.resolve_token(token, &key)?, Resolved::Missing) {
                tokens.push(token);
            }
        }
        let own = self.origin.snapshot().map(|snapshot| &snapshot.key);
        let end = |key: &SessionKey| manager.store.delete(key.as_str());
        let mut keys = Vec::new();
        for token in tokens {
            let (key, plain) = (manager.key(token), manager.plain_key(token));
            end(&key)?;
            if let Some(plain) = &plain {
                // After the hash, so that a session which is moved meanwhile ends, too.
                end(plain)?;
            }
            // One of the two names no session.
            keys.push(plain.filter(|plain| Some(plain) == own).unwrap_or(key));
        }
        // A newer key than the cookie's, whose grace may be over by now.
        let newer = own.filter(|own| !keys.contains(own));
        for key in newer.into_iter().chain(self.merged.iter().map(|merged| &merged.key)) {
            end(key)?;
            keys.push(key.clone());
        }
        self.report_destroyed(&keys);
        self.origin = Origin::Fresh;
        self.content = manager.fresh_content();
        self.edits.clear();
        self.merged.clear();
        self.new_token = None;
        self.is_destroyed = true;
        self.removes_cookie |= !keys.is_empty();
        Ok(())
    }

    /// Destroys all other sessions of this session's subject when this one is written: “log out
    /// everywhere else”.
    ///
    /// The others end even if another request ends this session in the meantime. Sessions that this
    /// one [merges](Self::merge) count as this one. To end this one, too, call
    /// [`SessionManager::destroy_all_of`].
    ///
    /// # Errors
    /// [`Error::SubjectMissing`] if the session has none; [`Error::Superseded`] if another request
    /// has just renewed the session.
    ///
    /// # Examples
    /// After a password was changed:
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # for _ in 0..2 {
    /// #     let mut session = sessions.load([])?;
    /// #     session.set_subject("7")?;
    /// #     session.finish()?;
    /// # }
    /// # let mut session = sessions.load([])?;
    /// # session.set_subject("7")?;
    /// session.renew()?;
    /// session.destroy_others()?;
    /// session.finish()?;
    /// assert_eq!(sessions.sessions_of("7")?.len(), 1);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn destroy_others(&mut self) -> Result<(), Error> {
        self.check_superseded()?;
        self.destroys_others = Some(self.subject().ok_or(Error::SubjectMissing)?);
        Ok(())
    }

    /// Reports the sessions with these keys, of which this request may know no more.
    fn report_destroyed(&self, keys: &[SessionKey]) {
        let is_own = self.is_elsewhere.is_none();
        let cause = if is_own { EndCause::Logout } else { EndCause::Revoked };
        let (manager, ended) = (self.manager, EventKind::Ended(cause));
        let own = self.origin.snapshot().map(|snapshot| (&snapshot.key, &snapshot.data));
        let merged = self.merged.iter().map(|merged| (&merged.key, &merged.data));
        let known: Vec<_> = own.into_iter().chain(merged).collect();
        let events = keys.iter().map(|key| match known.iter().find(|(known, _)| *known == key) {
            Some((key, data)) => manager.event_of_stored(ended.clone(), key, data),
            None => Event::new(ended.clone(), key.first_id()),
        });
        let mut reported = Vec::new();
        for event in events {
            // A session's older key may be the one that it has its name by.
            if !reported.contains(&event.session) {
                manager.report_event(&event);
                reported.push(event.session);
            }
        }
    }

    fn change_subject(&mut self, subject: Option<Arc<[u8]>>) -> Result<(), Error> {
        let manager = self.manager;
        let (kept, deadline) = (Arc::clone(&manager.kept_values), manager.fresh_deadline());
        let authenticated = match subject {
            Some(_) => Some(manager.encode_time(AUTHENTICATED, manager.now())?),
            None => None,
        };
        let edit = SubjectEdit { subject, authenticated, kept, deadline };
        self.edit_infallible(Edit::Subject(edit));
        Ok(())
    }

    /// Refuses what can't be answered without the session that the request looked for.
    pub(super) fn check_superseded(&self) -> Result<(), Error> {
        self.was_read.set(true);
        match self.origin {
            Origin::Superseded => Err(Error::Superseded),
            Origin::Unopened(why) => Err(Error::Unopened(why)),
            #[cfg(feature = "dbsc")]
            Origin::Unproven(_) => Err(Error::DeviceUnproven),
            Origin::Fresh | Origin::Store(_) => Ok(()),
        }
    }
}

//! Tokens and subjects: login, renewal and logout.

use std::sync::Arc;

#[cfg(doc)]
use crate::SessionManager;
use crate::codec::Codec;
use crate::content::edit::{Edit, SubjectEdit};
use crate::content::reserved::SUBJECT;
use crate::error::Error;
use crate::manager::resolve::Resolved;
use crate::session::Session;
use crate::session::origin::Origin;
use crate::session_key::SessionKey;
use crate::token::Token;

impl<C: Codec> Session<'_, C> {
    /// Sets the session's subject: the id of the user who has logged in. If that is another one than
    /// before, the session gets a new token, as by [`renew`](Self::renew). If the session was another
    /// user's, it begins with empty values and a new lifetime, except for flash values and those that
    /// [`with_kept_values`](SessionManager::with_kept_values) names. The sessions of a subject can be
    /// listed and destroyed ([`SessionManager::sessions_of`], [`SessionManager::destroy_all_of`],
    /// [`destroy_others`](Self::destroy_others)).
    ///
    /// A request with a token that another one has just renewed gets its own session: somebody who has
    /// clicked “Log in” twice is logged in, whichever response the browser took.
    ///
    /// # Errors
    /// [`Error::Store`] for a subject that is empty or longer than
    /// [`MAX_SUBJECT_LEN`](store_core::MAX_SUBJECT_LEN) minus the name of the cookie and one, in bytes;
    /// [`Error::Unencodable`], from a codec that can't represent a string; [`Error::Randomness`].
    #[doc(alias = "log_in")]
    #[doc(alias = "login")]
    #[doc(alias = "user")]
    #[doc(alias = "principal")]
    pub fn set_subject(&mut self, subject: &str) -> Result<(), Error> {
        self.manager.subject_in_store(subject)?;
        if let Origin::Superseded = self.origin {
            self.origin = Origin::Fresh;
            self.new_token = None;
        }
        if self.subject().as_deref() == Some(subject) {
            return Ok(());
        }
        let encoded = self.manager.codec.encode_value(subject);
        let encoded = encoded.map_err(|_| Error::unencodable::<str>(SUBJECT))?;
        // Anyone who knew the token before must not be logged in with it.
        self.renew()?;
        self.change_subject(Some(encoded.into()));
        Ok(())
    }

    /// Returns the session's subject: who has logged in.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        // A value that isn't a string wasn't written by this crate.
        self.get(SUBJECT).unwrap_or(None)
    }

    /// Ends the login and goes on with the session, under a new token: the subject and all values go,
    /// except for flash values and those that
    /// [`with_kept_values`](SessionManager::with_kept_values) names. If the session has no subject, it
    /// does nothing. For a logout, prefer [`destroy`](Self::destroy).
    ///
    /// # Errors
    /// [`Error::Superseded`] if another request has just renewed the session; [`Error::Randomness`].
    pub fn clear_subject(&mut self) -> Result<(), Error> {
        self.check_superseded()?;
        if self.contains(SUBJECT) {
            self.renew()?;
            self.change_subject(None);
        }
        Ok(())
    }

    /// Gives the session a new token when it is written; the old one then opens nothing.
    ///
    /// Call it whenever the rights of the visitor change: at a login, or when a password is changed (at
    /// a logout, call [`destroy`](Self::destroy)). [`set_subject`](Self::set_subject) does it by itself.
    /// The values and the deadline stay; to begin the lifetime again, call
    /// [`reset_lifetime`](Self::reset_lifetime).
    ///
    /// A request whose token another request has renewed in the meantime can't renew the session again:
    /// it fails with [`Error::Superseded`] when it finishes.
    ///
    /// # Errors
    /// [`Error::Randomness`].
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
        match &mut self.new_token {
            Some(new_token) => new_token.old_token_opens = false,
            None => self.new_token = Some(self.manager.new_token()?),
        }
        Ok(())
    }

    /// Returns the token that the browser has or is going to get: a secret of 43 characters. `None` for
    /// a session that was never stored, and if another request has given the session a newer one.
    #[doc(alias = "Token")]
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.was_read.set(true);
        let snapshot = self.origin.snapshot()?;
        let new = self.new_token.as_ref().map(|new| &new.token);
        new.or(snapshot.token.as_ref()).map(Token::as_str)
    }

    /// Returns the session's name in the store. `None` for a session that was never stored.
    #[must_use]
    pub fn key(&self) -> Option<&SessionKey> {
        self.was_read.set(true);
        let snapshot = self.origin.snapshot()?;
        Some(self.new_token.as_ref().map_or(&snapshot.key, |new| &new.key))
    }

    /// Ends the session, at once: the store forgets it, and the response removes the cookie.
    ///
    /// This is final, no matter what the handler answers afterwards, and no matter which of its tokens
    /// the request came with: no request that loaded the session before can bring it back, and one that
    /// another process has renewed in the last 30 seconds ends under its new token. What is inserted
    /// afterwards, for example a flash message, goes into a fresh session with its own token.
    ///
    /// # Errors
    /// [`Error::Store`]; the session may still exist, so answer with an error.
    #[doc(alias = "Destroy")]
    #[doc(alias = "flush")]
    #[doc(alias = "log_out")]
    #[doc(alias = "logout")]
    pub fn destroy(&mut self) -> Result<(), Error> {
        self.was_read.set(true);
        let manager = self.manager;
        let known = &self.sent_tokens.known;
        let mut keys: Vec<_> = known.iter().map(|token| manager.key(token)).collect();
        for token in &self.sent_tokens.untried {
            let key = manager.key(token);
            // Another manager's session isn't this one's to end.
            if !matches!(manager.resolve(key.clone())?, Resolved::Missing) {
                keys.push(key);
            }
        }
        if let Origin::Store(snapshot) = &self.origin
            && !keys.contains(&snapshot.key)
        {
            // A newer key than the cookie's, whose grace may be over by now.
            keys.push(snapshot.key.clone());
        }
        keys.extend(self.merged.iter().map(|merged| merged.key.clone()));
        for key in &keys {
            manager.destroy(key)?;
        }
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
    /// The others end even if another request ends this session in the meantime. Sessions that this one
    /// [merges](Self::merge) count as this one. To end this one, too, call
    /// [`SessionManager::destroy_all_of`].
    ///
    /// # Errors
    /// [`Error::SubjectMissing`] if the session has none; [`Error::Superseded`] if another request has
    /// just renewed the session.
    pub fn destroy_others(&mut self) -> Result<(), Error> {
        self.check_superseded()?;
        self.destroys_others = Some(self.subject().ok_or(Error::SubjectMissing)?);
        Ok(())
    }

    fn change_subject(&mut self, subject: Option<Arc<[u8]>>) {
        let kept = Arc::clone(&self.manager.kept_values);
        let deadline = self.manager.fresh_deadline();
        self.edit_infallible(Edit::Subject(SubjectEdit { subject, kept, deadline }));
    }

    /// Refuses what can't be answered without the session that the request looked for.
    fn check_superseded(&self) -> Result<(), Error> {
        self.was_read.set(true);
        match self.origin {
            Origin::Superseded => Err(Error::Superseded),
            Origin::Fresh | Origin::Store(_) => Ok(()),
        }
    }
}

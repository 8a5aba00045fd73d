//! Writing a session back.
//!
//! All that a request changes is one [`create`](store_core::Store::create) or one
//! [`update`](store_core::Store::update) of the store, which happens as a whole or not at all. An
//! update is conditional on the data that the request has read. If the store refuses it, the newest
//! session is loaded, this request's own edits are applied to it, and it is tried again. So there
//! is never anything to undo.
//!
//! The guide [`states`](crate::guide::states) has a table of the states that a session can be in
//! when a request finishes, and what follows from each.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::codec::Codec;
use crate::conflicts::Conflicts;
use crate::content::Merged;
use crate::error::Error;
use crate::event::{EndCause, EventKind};
use crate::session::Session;
use crate::session::headers::Header;
use crate::session::origin::Origin;
use crate::session::reload::Reloaded;
use crate::session::write::{Attempt, Written};
use crate::session_id::SessionId;
use crate::session_key::SessionKey;

/// What has become of a session at the end of its request.
///
/// # Examples
/// A login goes into the log:
/// ```
/// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
/// let mut session = sessions.load([])?;
/// session.set_subject("7")?;
/// let finished = session.finish()?;
/// if let (Some(user), Some(id)) = (&finished.subject, finished.id) {
///     println!("user {user} has logged in, session {id}");
/// }
/// # assert_eq!(finished.headers[0].0, "Set-Cookie");
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finished {
    /// The headers to add to the response.
    pub headers: Vec<Header>,
    /// The session's public name. `None` if nothing of it is stored.
    pub id: Option<SessionId>,
    /// Who has logged in.
    pub subject: Option<String>,
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The headers have the token, and the subject may be personal data.
        f.debug_struct("Finished")
            .field("headers", &self.headers.len())
            .field("id", &self.id)
            .field("has_subject", &self.subject.is_some())
            .finish()
    }
}

impl<C: Codec> Session<'_, C> {
    /// Writes the session, if there is anything to write, and returns the headers to add to the
    /// response, and what a log may tell of it.
    ///
    /// Call it once the response is made and before it is sent. An unchanged session writes
    /// nothing, unless its idle timeout has to be moved or its token rotated. The headers are to be
    /// *added*: another `Set-Cookie` or `Vary` of the response must stay.
    ///
    /// # Errors
    /// - [`Error::Superseded`] if there is something to write and another request has ended or
    ///   renewed the session in the meantime;
    /// - [`Error::Store`];
    /// - [`Error::Conflict`] if other requests changed the session at each of 64 attempts;
    /// - [`Error::WrongType`], if types are [strict](crate::SessionManager::with_strict_types), and
    ///   another request has put a value of another type where this one's [`update`](Self::update)
    ///   looks;
    /// - [`Error::TooManyValues`] if they are too many together with those of other requests;
    /// - [`Error::Unencodable`] from a codec;
    /// - [`Error::TooManySessions`] if a login is refused;
    /// - [`Error::Unopened`] if there is something to write and only other processes can open the
    ///   session;
    /// - [`Error::Randomness`].
    ///
    /// Answer with an error, and with the headers of [`removal_headers`](Self::removal_headers).
    /// None of this request's changes is written then, or, if a reply of the store was lost, all of
    /// them are. [`destroy_others`](Self::destroy_others) is a step of its own, which may be done
    /// even so.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// let mut session = sessions.load([])?;
    /// session.insert("visits", 1)?;
    /// for (name, value) in session.finish()?.headers {
    ///     println!("{name}: {value}");
    /// }
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Commit")]
    #[doc(alias = "WriteSessionCookie")]
    pub fn finish(mut self) -> Result<Finished, Error> {
        let (headers, key) = self.write_back()?;
        let id = key.map(|key| self.metadata().id(&key));
        let subject = self.metadata().subject().filter(|_| id.is_some());
        Ok(Finished { headers, id, subject })
    }

    /// As [`finish`](Self::finish), and returns the key under which the session is stored instead
    /// of what a log may tell of it, which takes a hash and few callers need.
    pub(crate) fn write_back(&mut self) -> Result<(Vec<Header>, Option<SessionKey>), Error> {
        // Nothing of this request is in the store yet, except that `destroy` has ended sessions.
        // What it ended stays ended whatever happens below.
        let now = self.manager.now();

        // Before the write, so that a failure of either step leaves the visitor with a session: if
        // this step fails, this session is as it was, and if the write fails, only the others are
        // gone, as the application asked. The sessions that this one merges count as its own, but
        // until the write absorbs them they are others, so in that case this step follows the
        // write.
        if self.merged.is_empty() {
            let own = self.origin.snapshot().map(|snapshot| snapshot.key.clone());
            self.end_others(own.as_ref())?;
        }

        let written = match &self.origin {
            // The session lives on under a token that this request doesn't have. Its edits were
            // made to an empty session and must not be written to the real one.
            Origin::Superseded if self.has_changes() => return Err(Error::Superseded),
            // The same, of a session that this process can't read.
            Origin::Unopened(why) if self.has_changes() => return Err(Error::Unopened(*why)),
            #[cfg(feature = "dbsc")]
            Origin::Unproven(_) if self.has_changes() => return Err(Error::DeviceUnproven),
            #[cfg(feature = "dbsc")]
            Origin::Unproven(_) => None,
            Origin::Superseded | Origin::Unopened(_) => None,
            // What follows the end of another browser's session has no browser that gets its token.
            Origin::Fresh if self.is_elsewhere.is_some() => None,
            // The store has nothing under a new random key that a `create` could meet, so there is
            // nothing to retry.
            Origin::Fresh if self.merged.is_empty() => self.create(now)?,
            // An existing session, or the first that a fresh one merges, may be changed by others
            // at any moment: conditional writes, again and again.
            Origin::Fresh | Origin::Store(_) => self.update_in_store(now)?,
        };

        // Everything is in the store, or there was nothing to write. If the response gets lost from
        // here on, the browser keeps its old cookie: after a rotation that opens the session for
        // the grace, and after a renewal it opens nothing, which is safe.
        let key = match &written {
            Some(written) if written.is_over(now) => None,
            Some(written) => Some(&written.key),
            None => self.origin.snapshot().map(|snapshot| &snapshot.key),
        };
        let key = key.cloned();
        let set_cookie = written.and_then(|written| self.cookie_after(&written, now));
        // A new token replaces the cookie of a destroyed session; a response never sets it twice.
        let headers = self.headers(set_cookie.or_else(|| self.removal()));
        #[cfg(feature = "dbsc")]
        let headers = self.with_registration(headers, key.is_some());
        Ok((headers, key))
    }

    /// Ends the other sessions of the subject, if that was asked for.
    fn end_others(&mut self, own: Option<&SessionKey>) -> Result<(), Error> {
        if let Some(subject) = self.destroys_others.take() {
            self.manager.destroy_by_subject(&subject, own)?;
        }
        Ok(())
    }

    /// Writes what the request changed in a session that the store has, in its own or in the first
    /// of those that a fresh one takes over.
    fn update_in_store(&mut self, now: DateTime<Utc>) -> Result<Option<Written>, Error> {
        let mut conflicts = Conflicts::new(&self.manager.conflict_locks);
        loop {
            // State: nothing of this request is written. `content` is what the store had when it
            // was loaded last, with this request's edits, and `origin` and `merged` hold the data
            // that the write depends on. If the store has anything else by now, it refuses the
            // write as a whole.
            match self.try_write(now)? {
                // State: data, expiry, token, subject and merged sessions are written, all of them.
                // Requests with older data will be refused, so nobody can undo this.
                Attempt::Written(written) => {
                    self.report_written(&written, now);
                    // The merged sessions are gone, so this ends the remaining others. If it fails,
                    // the session is written anyway, which the documentation of `finish`
                    // says.
                    self.end_others(Some(&written.key))?;
                    return Ok(Some(written));
                }
                // State: the edits came to nothing, so the data in the store is right. Only the
                // expiry may have to move, which can't lose anybody's edits.
                Attempt::NotNeeded => return self.touch(now),
                // State: another request was quicker, and nothing of this one is written. It is
                // safe to load again, because the edits can be repeated.
                Attempt::Refused => {
                    let key = self.origin.snapshot().map(|snapshot| &snapshot.key);
                    conflicts.wait(key)?;
                }
            }
            match self.reload()? {
                // State: as at the beginning of the loop, with newer data. The next attempt depends
                // on that data, and not on what was loaded before.
                Reloaded::Newer => {}
                // State: the session has ended or its rights have changed. Writing the edits would
                // bring it back or give them to somebody else, so they are dropped and the visitor
                // is told.
                Reloaded::Gone if self.has_changes() => return Err(Error::Superseded),
                // Only a rotation was due, which the session doesn't need anymore.
                Reloaded::Gone => return Ok(None),
            }
        }
    }

    fn report_written(&self, written: &Written, now: DateTime<Utc>) {
        let (manager, key) = (self.manager, &written.key);
        for Merged { key, data, content } in &self.merged {
            let merged = content.metadata(&manager.codec, data);
            manager.report_session(EventKind::Ended(EndCause::Merged), key, &merged);
        }
        let is_over = written.is_over(now);
        match self.origin.snapshot() {
            None if is_over => {}
            None => manager.report_session(EventKind::Created, key, &self.metadata()),
            Some(snapshot) if self.content.is_another => {
                let ended = EventKind::Ended(EndCause::TakenOver);
                let ended = manager.event_of_stored(ended, &snapshot.key, &snapshot.data);
                manager.report_event(&ended);
                if is_over {
                    return;
                }
                let event = self.metadata().event(EventKind::Created, key);
                manager.report_event(&event.with_previous(ended.session));
            }
            Some(snapshot) if is_over => {
                let is_emptied = self.is_emptied();
                let cause = if is_emptied { EndCause::Emptied } else { EndCause::Deadline };
                let ended = EventKind::Ended(cause);
                manager.report_session(ended, &snapshot.key, &self.metadata());
            }
            Some(snapshot) if snapshot.key != *key && snapshot.token != written.token => {
                manager.report_session(EventKind::Renewed, key, &self.metadata());
            }
            Some(_) => {}
        }
    }
}

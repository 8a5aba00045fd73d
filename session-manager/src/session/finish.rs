//! Writing a session back, and the headers that tell the browser.
//!
//! All that a request changes is one [`create`](store_core::Store::create) or one
//! [`update`](store_core::Store::update) of the store, which happens as a whole or not at all. An update is
//! conditional on the data that the request has read. Where it isn't done, the newest session is loaded, this
//! request's own changes are applied to it, and it is tried again. So there is never anything to undo.
//!
//! `docs/session-states.md` has a table of the states that a session can be in when a request finishes, and
//! what follows from each.

use std::thread;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::MutexGuard;
use store_core::{Change as StoreChange, Rotation};

use crate::codec::{Codec, CodecError};
use crate::content::{Change, Content, MANAGER, REMEMBER_ME, ROTATED};
use crate::error::Error;
use crate::event::EventKind;
use crate::manager::SessionManager;
use crate::manager::resolve::Resolved;
use crate::session::{NewToken, Origin, Session, Stored};
use crate::token::{SessionKey, Token};

/// How often a session is written while other requests change it, before it is given up.
const MAX_ATTEMPTS: usize = 64;

/// A response header: its name and value.
pub type Header = (&'static str, String);

impl<C: Codec> Session<'_, C> {
    /// Writes the session, if there is anything to write, and returns the headers to add to the response.
    ///
    /// Call it once the response is made and before it is sent. An unchanged session writes nothing,
    /// unless its idle timeout has to be moved or its token rotated. The headers are to be *added*:
    /// another `Set-Cookie` or `Vary` of the response must stay.
    ///
    /// # Errors
    /// [`Error::Superseded`] where there is something to write and another request has ended or
    /// renewed the session meanwhile; [`Error::Store`]; [`Error::Conflict`] where other requests
    /// changed the session at each of 64 attempts; [`Error::WrongType`] where another request has put
    /// a value of another type where this one's [`update`](Self::update) looks;
    /// [`Error::Unencodable`] from a codec; [`Error::Randomness`]. Answer with an error, and with the
    /// headers of [`removal_headers`](Self::removal_headers). None of this request's changes is
    /// written then, or, where a reply of the store was lost, all of them are. But
    /// [`destroy_others`](Self::destroy_others) is a step of its own, which may be done then.
    #[doc(alias = "Commit")]
    #[doc(alias = "WriteSessionCookie")]
    pub fn finish(mut self) -> Result<Vec<Header>, Error> {
        let now = self.manager.now();
        // First, so that a failure of either step leaves the visitor with a session. But those that
        // are merged are needed.
        if self.merged.is_empty() {
            let own = self.origin.stored().map(|stored| stored.key.clone());
            self.end_others(own.as_ref())?;
        }
        let set_cookie = match &self.origin {
            Origin::Superseded if self.has_changes() => return Err(Error::Superseded),
            Origin::Superseded => None,
            Origin::Fresh if self.merged.is_empty() => self.create(now)?,
            Origin::Fresh | Origin::Stored(_) => self.update_in_store(now)?,
        };
        Ok(self.headers(set_cookie.or_else(|| self.removal())))
    }

    /// The headers for a response that doesn't write the session, because the handler or
    /// [`finish`](Self::finish) has failed: where the session was destroyed, they take the cookie away.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{Error, Header, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// fn log_out(sessions: &SessionManager, token: &str, page: Option<&str>) -> Result<Vec<Header>, Error> {
    ///     let mut session = sessions.load([token])?;
    ///     session.destroy()?;
    ///     // The logout is done, whether there is a page to answer with or not.
    ///     if page.is_some() { session.finish() } else { Ok(session.removal_headers()) }
    /// }
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.insert("user_id", 7)?;
    /// # let headers = session.finish()?;
    /// # let token = headers[0].1.split(['=', ';']).nth(1).expect("a value");
    /// let headers = log_out(&sessions, token, None)?;
    /// assert!(headers[0].1.contains("Max-Age=0"));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn removal_headers(&self) -> Vec<Header> {
        match self.removal() {
            Some(set_cookie) => self.headers(Some(set_cookie)),
            None => Vec::new(),
        }
    }

    fn removal(&self) -> Option<String> {
        self.removes_cookie.then(|| self.manager.cookie.remove())
    }

    fn headers(&self, set_cookie: Option<String>) -> Vec<Header> {
        let mut headers = Vec::new();
        if let Some(set_cookie) = set_cookie {
            headers.push(("Set-Cookie", set_cookie));
            headers.push(("Cache-Control", "no-store".to_owned()));
        }
        if self.was_read() {
            headers.push(("Vary", "Cookie".to_owned()));
        }
        headers
    }

    /// Ends the other sessions of the subject, if that was asked for.
    fn end_others(&mut self, own: Option<&SessionKey>) -> Result<(), Error> {
        if let Some(subject) = self.destroys_others.take() {
            let subject = self.manager.subject_in_store(&subject)?;
            self.manager.store.delete_by_subject(&subject, own.map(SessionKey::as_str))?;
        }
        Ok(())
    }

    /// Stores a fresh session, unless nothing was put into it, and returns its cookie.
    fn create(&mut self, now: DateTime<Utc>) -> Result<Option<String>, Error> {
        let manager = self.manager;
        if self.content.values.is_empty() || self.content.deadline <= now {
            return Ok(None);
        }
        self.mark_as_new(now)?;
        let expiry = manager.expiry(self.content.deadline, now);
        let data = encode(&manager.codec, &self.content, &[])?;
        let subject = manager.subject_of(&self.content, &[]);
        let NewToken { token, key, .. } = manager.new_token()?;
        manager.store.create(key.as_str(), &data, expiry, subject.as_deref())?;
        manager.report(EventKind::Created, &key);
        Ok(Some(self.cookie(&token, expiry, now)))
    }

    /// Writes what the request changed in a session that the store has, in its own or in the first of
    /// those that a fresh one takes over; returns the cookie, if the browser needs a new one.
    fn update_in_store(&mut self, now: DateTime<Utc>) -> Result<Option<String>, Error> {
        let mut conflicts = Conflicts::default();
        loop {
            // Here `content` is what the store had when it was loaded last, with this request's changes.
            match self.attempt(now)? {
                Attempt::Written(written) => {
                    self.report_written(&written);
                    self.end_others(Some(&written.key))?;
                    return Ok(self.cookie_after(&written, now));
                }
                Attempt::NotNeeded => return self.touch(now),
                // Nothing was written.
                Attempt::Refused => {
                    let key = self.origin.stored().map(|stored| &stored.key);
                    conflicts.note(self.manager, key)?;
                }
            }
            match self.reload()? {
                Reloaded::Newer => {}
                Reloaded::Gone if self.has_changes() => return Err(Error::Superseded),
                Reloaded::Gone => return Ok(None),
            }
        }
    }

    /// One conditional write of everything.
    fn attempt(&mut self, now: DateTime<Utc>) -> Result<Attempt, Error> {
        let manager = self.manager;
        let new_token = self.token_to_write()?;
        if new_token.is_none() && self.changes.is_empty() {
            return Ok(Attempt::NotNeeded);
        }
        if new_token.is_some() {
            self.mark_as_new(now)?;
        }
        let expiry = manager.expiry(self.content.deadline, now);
        let data = encode(&manager.codec, &self.content, self.data())?;
        if new_token.is_none() && self.merged.is_empty() && data == self.data() {
            // The changes come to nothing.
            return Ok(Attempt::NotNeeded);
        }

        let mut change = StoreChange::new(&data, expiry);
        if let Some(NewToken { key, old_token_opens, .. }) = &new_token {
            let to = Rotation::new(key.as_str());
            change = change.with_rotation(if *old_token_opens { to.old_token_opens() } else { to });
        }
        let is_changed = self.changes_subject();
        let subject = if is_changed || new_token.is_some() {
            manager.subject_of(&self.content, self.data())
        } else {
            None
        };
        // A subject that stays is written with a new token as well: where a Go program has renewed
        // the token before, the index doesn't have it.
        if is_changed || subject.is_some() {
            change = change.with_subject(subject.as_deref());
        }
        let ((key, current), absorbed) = self.written_over();
        for (key, data) in absorbed {
            change = change.absorbing(key.as_str(), data);
        }
        if !manager.store.update(key.as_str(), current, &change)? {
            return Ok(Attempt::Refused);
        }
        let (key, token) = match new_token {
            Some(NewToken { token, key, .. }) => (key, Some(token)),
            None => (key.clone(), self.origin.stored().and_then(|stored| stored.token.clone())),
        };
        Ok(Attempt::Written(Written { key, token, expiry }))
    }

    /// The session that is written over, and those that end with that.
    fn written_over(&self) -> ((&SessionKey, &[u8]), impl Iterator<Item = (&SessionKey, &[u8])>) {
        let mut merged = self.merged.iter().map(|merged| (&merged.key, &*merged.data));
        let own = self.origin.stored().map(|stored| (&stored.key, &*stored.data));
        // A fresh session takes the place of the first that it merges.
        let own = own.or_else(|| merged.next());
        (own.expect("a fresh session is updated only if it merges"), merged)
    }

    /// The token that the session gets with this write, if it gets one.
    fn token_to_write(&self) -> Result<Option<NewToken>, Error> {
        match (&self.origin, &self.new_token) {
            (Origin::Fresh | Origin::Superseded, _) => Ok(Some(self.manager.new_token()?)),
            // The browser's newest token is in another response, which could come before this one or
            // after it.
            (Origin::Stored(Stored { token: None, .. }), Some(new_token)) => {
                if new_token.old_token_opens { Ok(None) } else { Err(Error::Superseded) }
            }
            (Origin::Stored(_), new_token) => Ok(new_token.clone()),
        }
    }

    /// Notes in a session that gets a token which manager it is of, and when that was.
    fn mark_as_new(&mut self, now: DateTime<Utc>) -> Result<(), Error> {
        let codec = &self.manager.codec;
        let mark = codec.encode_value(&self.manager.mark());
        let mark = mark.map_err(|_| Error::unencodable::<str>(MANAGER))?;
        self.content.values.set(MANAGER, mark.into());
        if self.manager.rotation.is_some() {
            let rotated = codec.encode_value(&now.timestamp());
            let rotated = rotated.map_err(|_| Error::unencodable::<i64>(ROTATED))?;
            self.content.values.set(ROTATED, rotated.into());
        }
        Ok(())
    }

    /// Whether the subject of the session that is written over may be another. A fresh session takes
    /// the place of another one, whose subject it doesn't take over.
    fn changes_subject(&self) -> bool {
        matches!(self.origin, Origin::Fresh)
            || self.changes.iter().any(|change| matches!(change, Change::Subject(_)))
    }

    /// Loads what the store has by now, and does this request's changes again.
    fn reload(&mut self) -> Result<Reloaded, Error> {
        let manager = self.manager;
        if let Origin::Stored(stored) = &mut self.origin {
            let found = match manager.resolve(stored.key.clone())? {
                Resolved::Live(found) => found,
                Resolved::Superseded => return Ok(Reloaded::Gone),
                Resolved::Missing | Resolved::Unusable => {
                    manager.report(EventKind::Lost, &stored.key);
                    return Ok(Reloaded::Gone);
                }
            };
            if self.merged.iter().any(|merged| merged.key == found.key) {
                // The other session has taken over this one meanwhile; its token isn't this request's
                // to decide on.
                return Ok(Reloaded::Gone);
            }
            let token = if found.key == stored.key { stored.token.take() } else { None };
            let (key, data, expiry) = (found.key, found.data, found.expiry);
            manager.report(EventKind::Conflict, &key);
            *stored = Stored { token, key, data, expiry };
            self.content = found.content;
        } else {
            self.content = manager.fresh_content();
        }
        for merged in &mut self.merged {
            match manager.resolve(merged.key.clone())? {
                // Under the token that the browser has.
                Resolved::Live(found) if found.key == merged.key => {
                    (merged.data, merged.content) = (found.data, found.content);
                }
                _ => return Ok(Reloaded::Gone),
            }
        }
        for change in &mut self.changes {
            self.content.apply(change, &manager.codec, self.origin.data(), &self.merged)?;
        }
        Ok(Reloaded::Newer)
    }

    /// Moves the expiry of a session whose data stay as they are, if it has an idle timeout of which
    /// a tenth has passed; returns the cookie, if the browser has to keep it longer.
    fn touch(&self, now: DateTime<Utc>) -> Result<Option<String>, Error> {
        let (manager, Some(stored)) = (self.manager, self.origin.stored()) else { return Ok(None) };
        let deadline = self.content.deadline;
        let expiry = manager.expiry(deadline, now);
        let is_due = manager.idle_timeout.is_some_and(|timeout| {
            // After a clock went back it isn't.
            stored.expiry - now <= timeout - timeout / 10
        });
        // At the deadline there is nothing left to move.
        if !is_due || expiry - stored.expiry <= TimeDelta::milliseconds(1) {
            return Ok(None);
        }
        let (store, key) = (&manager.store, stored.key.as_str());
        let is_moved = if expiry < deadline {
            store.touch(key, expiry)?
        } else {
            // Another request may have moved the deadline away, and then knows better.
            store.update(key, &stored.data, &StoreChange::new(&stored.data, expiry))?
        };
        // One that has ended meanwhile has nothing to lose here.
        let written = Written { key: stored.key.clone(), token: stored.token.clone(), expiry };
        Ok(if is_moved { self.cookie_after(&written, now) } else { None })
    }

    fn report_written(&self, written: &Written) {
        for merged in &self.merged {
            self.manager.report(EventKind::Destroyed, &merged.key);
        }
        match self.origin.stored() {
            None => self.manager.report(EventKind::Created, &written.key),
            Some(stored) if stored.key != written.key => {
                self.manager.report(EventKind::Renewed, &written.key);
            }
            Some(_) => {}
        }
    }

    fn cookie_after(&self, written: &Written, now: DateTime<Utc>) -> Option<String> {
        if written.expiry <= now {
            return Some(self.manager.cookie.remove());
        }
        // Where only another response can bring the token, this one leaves the browser's cookie alone.
        let token = written.token.as_ref()?;
        let Some(stored) = self.origin.stored() else {
            return Some(self.cookie(token, written.expiry, now));
        };
        let is_rotated = stored.key != written.key;
        let changes_remembering = self.changes.iter().any(|change| {
            matches!(change, Change::Set(key, _) if key == REMEMBER_ME)
                || matches!(change, Change::Merge(..))
        });
        let moves_expiry = (written.expiry - stored.expiry).abs() > TimeDelta::seconds(1);
        let needs_cookie = is_rotated || changes_remembering || (moves_expiry && self.persists());
        needs_cookie.then(|| self.cookie(token, written.expiry, now))
    }

    fn cookie(&self, token: &Token, expiry: DateTime<Utc>, now: DateTime<Utc>) -> String {
        let persistent_until = self.persists().then_some(expiry);
        self.manager.cookie.set(token.as_str(), persistent_until, now)
    }
}

/// What became of an attempt to write a session.
enum Attempt {
    Written(Written),
    /// There is nothing to write but, maybe, the expiry.
    NotNeeded,
    /// The store has something else than what the request knows, and nothing was written.
    Refused,
}

/// What the store has after a write.
struct Written {
    key: SessionKey,
    /// The token that the browser is to have, where this request knows it.
    token: Option<Token>,
    expiry: DateTime<Utc>,
}

/// What a request finds whose write was not done.
enum Reloaded {
    /// The session, changed or rotated by others.
    Newer,
    /// Nothing that the request's changes could be written to: the session has ended or was renewed,
    /// or a session that it merges isn't there any more.
    Gone,
}

/// The conflicts of one request with others that write the same session.
#[derive(Default)]
struct Conflicts<'m> {
    count: usize,
    /// The others of this process that have met a conflict in this session wait for it.
    turn: Option<MutexGuard<'m, ()>>,
    pauses: Option<backon::ExponentialBackoff>,
}

impl<'m> Conflicts<'m> {
    /// Waits as long as is of use before the newer session is loaded, so that that is as new as can
    /// be when it is written.
    fn note<C>(
        &mut self,
        manager: &'m SessionManager<C>,
        key: Option<&SessionKey>,
    ) -> Result<(), Error> {
        self.count += 1;
        if self.count >= MAX_ATTEMPTS {
            return Err(Error::Conflict { attempts: MAX_ATTEMPTS });
        }
        if self.count == 1 {
            self.turn = key.and_then(|key| manager.turns.take(key));
        } else if let Some(pause) = self.pauses.get_or_insert_with(pauses).next() {
            thread::sleep(pause);
        }
        Ok(())
    }
}

fn encode<C: Codec>(codec: &C, content: &Content, data: &[u8]) -> Result<Vec<u8>, Error> {
    let encoded = codec.encode(content.deadline, &mut content.values.iter(data));
    encoded.map_err(|CodecError| Error::unencodable::<Content>("(the whole session)"))
}

/// Short and random, so that requests that met once don't meet again.
fn pauses() -> backon::ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_micros(100))
        .with_max_delay(Duration::from_millis(10))
        .with_max_times(MAX_ATTEMPTS)
        .with_jitter()
        .build()
}

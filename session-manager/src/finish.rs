//! Writing a session back, and the headers that tell the browser.
//!
//! A session that the store has is only ever written by `replace`, which fails where another request has
//! changed, destroyed or renewed it. Where it was changed, this request's changes are applied to the newer data
//! and written again; where it is gone, they are dropped. So a logout is final, and no update is lost.

use std::thread;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{DateTime, TimeDelta, Utc};
use store_core::Store;

use crate::codec::{Codec, CodecError};
use crate::error::Error;
use crate::event::EventKind;
use crate::session::{Defect, Origin, Renewal, Session, Stored};
use crate::token::{SessionKey, Token};
use crate::values::{Change, Content, REMEMBER_ME, Values};

/// How often a session is written while other requests change it, before it is given up.
const MAX_ATTEMPTS: usize = 64;

/// A response header: its name and value.
pub type Header = (&'static str, String);

/// What became of a session that the store had.
enum Outcome {
    /// It is live until then.
    Live { expiry: DateTime<Utc> },
    /// Another request destroyed or renewed it; the browser may have a newer cookie already, so it is told
    /// nothing.
    Lost,
}

impl<C: Codec> Session<'_, C> {
    /// Writes the session, if there is anything to write, and gives the headers to add to the response.
    ///
    /// Call it once the response is made and before it is sent. An unchanged session writes nothing, unless
    /// its idle timeout has to be moved. The headers are to be *added*: another `Set-Cookie` or `Vary` of the
    /// response must stay.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Conflict`] where other requests changed the session at each of 64
    /// attempts; [`Error::WrongType`] where another request has put a value of another type where this one's
    /// [`update`](Self::update) looks. The session is then as the other requests left it, and this one's
    /// changes are lost as a whole; answer with an error.
    #[doc(alias = "Commit")]
    #[doc(alias = "WriteSessionCookie")]
    pub fn finish(mut self) -> Result<Vec<Header>, Error> {
        let manager = self.manager;
        let now = manager.now();
        if let Some(key) = &self.destroyed {
            manager.store.delete(key.as_str())?;
            manager.report(EventKind::Destroyed, key);
        }

        let was_destroyed = self.destroyed.is_some();
        let set_cookie = match self.take_stored()? {
            Some(stored) => self.write(stored, now)?,
            None => self.create(now)?.or_else(|| was_destroyed.then(|| manager.cookie.remove())),
        };

        let mut headers = Vec::new();
        if let Some(set_cookie) = set_cookie {
            headers.push(("Set-Cookie", set_cookie));
            headers.push(("Cache-Control", "no-store".to_owned()));
        }
        if self.was_read() {
            headers.push(("Vary", "Cookie".to_owned()));
        }
        Ok(headers)
    }

    /// The session that the store has, if it can be gone on with.
    fn take_stored(&mut self) -> Result<Option<Stored>, Error> {
        let Origin::Stored(stored) = std::mem::replace(&mut self.origin, Origin::Fresh) else {
            return Ok(None);
        };
        match self.defect() {
            None => Ok(Some(stored)),
            Some(Defect::Poisoned) => Ok(None),
            Some(Defect::Expired) => {
                self.manager.store.delete(stored.key.as_str())?;
                Ok(None)
            }
        }
    }

    /// Stores a fresh session, unless nothing was put into it, and gives its cookie.
    fn create(&mut self, now: DateTime<Utc>) -> Result<Option<String>, Error> {
        let manager = self.manager;
        if self.changes.is_empty() {
            return Ok(None);
        }
        let content = self.content();
        if content.values.is_empty() || content.deadline <= now {
            return Ok(None);
        }
        let expiry = manager.expiry(content.deadline, now);
        let data = encode(&manager.codec, content, &[])?;
        let token = Token::generate()?;
        let key = manager.key(&token);
        manager.store.commit(key.as_str(), &data, expiry)?;
        if let Err(error) = self.write_subject(&key) {
            // Nobody has been given the token, so nobody misses the session.
            let _ = manager.store.delete(key.as_str());
            return Err(error);
        }
        manager.report(EventKind::Created, &key);
        self.end_others(&key)?;
        Ok(Some(self.cookie(&token, expiry, now)))
    }

    /// Writes what the request changed in a session that the store has; gives the cookie, if the browser needs
    /// a new one.
    fn write(&mut self, mut stored: Stored, now: DateTime<Utc>) -> Result<Option<String>, Error> {
        let renewal = self.renewal.take();
        if let Some(Renewal { key, .. }) = &renewal
            && !self.manager.store.rename(stored.key.as_str(), key.as_str())?
        {
            self.manager.report(EventKind::Lost, &stored.key);
            return Ok(None);
        }
        let old_key = stored.key.clone();
        if let Some(Renewal { token, key }) = &renewal {
            (stored.token, stored.key) = (token.clone(), key.clone());
        }

        let outcome = self.write_content(&mut stored, now);
        let expiry = match outcome {
            Ok(Outcome::Live { expiry }) => expiry,
            Ok(Outcome::Lost) => {
                self.manager.report(EventKind::Lost, &stored.key);
                return Ok(None);
            }
            Err(error) => {
                if renewal.is_some() {
                    // The browser isn't going to hear of the new token, so the old one must stay good.
                    let _ = self.manager.store.rename(stored.key.as_str(), old_key.as_str());
                }
                return Err(error);
            }
        };
        if renewal.is_some() {
            self.manager.report(EventKind::Renewed, &stored.key);
        }
        self.end_others(&stored.key)?;

        if expiry <= now {
            return Ok(Some(self.manager.cookie.remove()));
        }
        let changes_remembering = self
            .changes
            .iter()
            .any(|change| matches!(change, Change::Set(key, _) if key == REMEMBER_ME));
        let moves_expiry = (expiry - stored.expiry).abs() > TimeDelta::seconds(1);
        let needs_cookie =
            renewal.is_some() || changes_remembering || (moves_expiry && self.persists());
        Ok(needs_cookie.then(|| self.cookie(&stored.token, expiry, now)))
    }

    /// Subject, values and expiry, in this order: a session that holds a log in is already in the index.
    fn write_content(&mut self, stored: &mut Stored, now: DateTime<Utc>) -> Result<Outcome, Error> {
        if !self.write_subject(&stored.key)? {
            return Ok(Outcome::Lost);
        }
        if self.changes.is_empty() {
            return self.touch(stored, now);
        }
        let Some(mut content) = self.content.take() else {
            unreachable!("a change makes the content")
        };
        let outcome = self.replace(stored, &mut content, now);
        let _ = self.content.set(content);
        outcome
    }

    /// Writes the content, to newer data if need be.
    fn replace(
        &mut self,
        stored: &mut Stored,
        content: &mut Content,
        now: DateTime<Utc>,
    ) -> Result<Outcome, Error> {
        let (store, codec) = (&*self.manager.store, &self.manager.codec);
        let mut pauses = pauses();
        for attempt in 1..=MAX_ATTEMPTS {
            let data = encode(codec, content, &stored.data)?;
            if attempt == 1 && data == stored.data {
                // The changes came to nothing.
                return self.touch_until(stored, content.deadline, now);
            }
            let expiry = self.manager.expiry(content.deadline, now);
            if store.replace(stored.key.as_str(), &stored.data, &data, expiry)? {
                return Ok(Outcome::Live { expiry });
            }

            let Some(newer) = store.find(stored.key.as_str())? else { return Ok(Outcome::Lost) };
            let Ok(decoded) = codec.decode(&newer) else {
                self.manager.report(EventKind::Poisoned, &stored.key);
                return Ok(Outcome::Lost);
            };
            self.manager.report(EventKind::Conflict, &stored.key);
            stored.data = newer;
            *content =
                Content { deadline: decoded.deadline, values: Values::stored(decoded.values) };
            for change in &mut self.changes {
                content.apply(change, codec, &stored.data)?;
            }
            if let Some(pause) = pauses.next() {
                thread::sleep(pause);
            }
        }
        Err(Error::Conflict { attempts: MAX_ATTEMPTS })
    }

    /// Moves the expiry of an unchanged session, if it has an idle timeout of which a tenth has passed.
    fn touch(&self, stored: &Stored, now: DateTime<Utc>) -> Result<Outcome, Error> {
        match self.manager.idle_timeout {
            Some(timeout) if is_due(timeout, stored.expiry, now) => {
                // Only now is the deadline needed. Data without one is left as it is.
                match self.manager.codec.decode(&stored.data) {
                    Ok(decoded) => self.touch_until(stored, decoded.deadline, now),
                    Err(CodecError) => Ok(Outcome::Live { expiry: stored.expiry }),
                }
            }
            _ => Ok(Outcome::Live { expiry: stored.expiry }),
        }
    }

    fn touch_until(
        &self,
        stored: &Stored,
        deadline: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Outcome, Error> {
        let expiry = self.manager.expiry(deadline, now);
        let is_due =
            self.manager.idle_timeout.is_some_and(|timeout| is_due(timeout, stored.expiry, now));
        // At the deadline there is nothing left to move.
        if !is_due || expiry - stored.expiry <= TimeDelta::milliseconds(1) {
            return Ok(Outcome::Live { expiry: stored.expiry });
        }
        if self.manager.store.touch(stored.key.as_str(), expiry)? {
            Ok(Outcome::Live { expiry })
        } else {
            Ok(Outcome::Lost)
        }
    }

    /// Ties the session to its subject or unties it; `false` if the session is gone.
    fn write_subject(&self, key: &SessionKey) -> Result<bool, Error> {
        if !self.changes_subject {
            return Ok(true);
        }
        let subject = self.subject();
        Ok(self.manager.subjects()?.set_subject(key.as_str(), subject.as_deref())?)
    }

    /// Ends the sessions that this one replaces.
    fn end_others(&self, own: &SessionKey) -> Result<(), Error> {
        for key in &self.merged {
            self.manager.store.delete(key.as_str())?;
            self.manager.report(EventKind::Destroyed, key);
        }
        if self.destroys_others
            && let Some(subject) = self.subject()
        {
            self.manager.subjects()?.delete_by_subject(&subject, Some(own.as_str()))?;
        }
        Ok(())
    }

    fn cookie(&self, token: &Token, expiry: DateTime<Utc>, now: DateTime<Utc>) -> String {
        let persistent_until = self.persists().then_some(expiry);
        self.manager.cookie.set(token.as_str(), persistent_until, now)
    }
}

fn encode<C: Codec>(codec: &C, content: &Content, data: &[u8]) -> Result<Vec<u8>, Error> {
    let encoded = codec.encode(content.deadline, &mut content.values.iter(data));
    encoded.map_err(|CodecError| Error::unencodable::<Content>("(the whole session)"))
}

/// Whether a tenth of the timeout has passed since the expiry was moved last. After a clock went back it has
/// not.
fn is_due(timeout: TimeDelta, expiry: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    expiry - now <= timeout - timeout / 10
}

/// Short and random, so that requests that met once don't meet again.
fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_micros(100))
        .with_max_delay(Duration::from_millis(10))
        .with_max_times(MAX_ATTEMPTS)
        .with_jitter()
        .build()
}

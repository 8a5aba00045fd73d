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
use crate::manager::SessionManager;
use crate::session::{Defect, Merged, Origin, Renewal, Session, Stored};
use crate::token::{SessionKey, Token};
use crate::values::{Change, Content, REMEMBER_ME, Values};

/// How often a session is written while other requests change it, before it is given up.
const MAX_ATTEMPTS: usize = 64;

/// A response header: its name and value.
pub type Header = (&'static str, String);

/// Why a session could not be written.
struct Failure {
    error: Error,
    /// The store may have the new content all the same, now or in a moment: a reply was lost, or came too late.
    may_be_written: bool,
}

impl Failure {
    fn not_written(error: impl Into<Error>) -> Self {
        Self { error: error.into(), may_be_written: false }
    }

    fn written(error: Error) -> Self {
        Self { error, may_be_written: true }
    }

    /// Of a write, about which only a refusal of what was to be written is certain.
    fn of_write(error: store_core::Error) -> Self {
        use store_core::Error::{DataTooLarge, ExpiryOutOfRange, InvalidToken};
        let is_refused =
            matches!(error, InvalidToken(_) | DataTooLarge { .. } | ExpiryOutOfRange { .. });
        Self { error: error.into(), may_be_written: !is_refused }
    }
}

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
    /// [`update`](Self::update) looks; answer with an error. The session is then as the other requests left it, and this
    /// one's changes are lost as a whole, unless the store failed in a way that leaves open whether it has them, or failed
    /// to end other sessions afterwards. A session that was to be renewed keeps its old token where it surely wasn't
    /// written, and ends where it may have been.
    #[doc(alias = "Commit")]
    #[doc(alias = "WriteSessionCookie")]
    pub fn finish(mut self) -> Result<Vec<Header>, Error> {
        let manager = self.manager;
        let now = manager.now();
        for key in &self.destroyed {
            manager.destroy(key)?;
        }

        // Asked before the session is looked at for other reasons than the application's.
        let was_read = self.was_read();
        if self.is_touch_due(now) {
            self.content();
        }
        self.leave_defective()?;
        let was_destroyed = !self.destroyed.is_empty();
        let written = self.claim_merged(now).and_then(|are_live| match self.origin {
            // Where a merged session has ended, its values must not live on: all changes are dropped.
            _ if !are_live => Ok(None),
            Origin::Superseded => Ok(None),
            Origin::Stored(_) => self.write(now),
            Origin::Fresh => self.create(now),
        });
        self.release_merged();
        let set_cookie = written?.or_else(|| was_destroyed.then(|| manager.cookie.remove()));

        let mut headers = Vec::new();
        if let Some(set_cookie) = set_cookie {
            headers.push(("Set-Cookie", set_cookie));
            headers.push(("Cache-Control", "no-store".to_owned()));
        }
        if was_read {
            headers.push(("Vary", "Cookie".to_owned()));
        }
        Ok(headers)
    }

    /// Parts with a session that the store has and that can't be gone on with. It ends unless another request has moved
    /// its deadline meanwhile.
    fn leave_defective(&mut self) -> Result<(), Error> {
        let Some(defect) = self.defect() else { return Ok(()) };
        if let Origin::Stored(Stored { key, data, .. }) =
            std::mem::replace(&mut self.origin, Origin::Fresh)
            && let Defect::Expired { deadline } = defect
        {
            self.manager.store.replace(key.as_str(), &data, &data, deadline)?;
        }
        Ok(())
    }

    /// Stores a fresh session, unless nothing was put into it, and gives its cookie.
    fn create(&mut self, now: DateTime<Utc>) -> Result<Option<String>, Error> {
        let manager = self.manager;
        let is_empty = self.changes.is_empty() || {
            let content = self.content();
            content.values.is_empty() || content.deadline <= now
        };
        if is_empty {
            self.end_others(None)?;
            return Ok(None);
        }
        let content = self.content();
        let expiry = manager.expiry(content.deadline, now);
        let data = encode(&manager.codec, content, &[])?;
        let token = Token::generate()?;
        let key = manager.key(&token);
        manager.store.commit(key.as_str(), &data, expiry)?;
        let subject = self.changes_subject.then(|| self.subject()).flatten();
        let tied = subject.map_or(Ok(true), |subject| manager.tie(&key, Some(&subject)));
        let tied = tied.and_then(|tied| {
            if tied {
                self.end_others(Some(&key))?;
            }
            Ok(tied)
        });
        match tied {
            Ok(true) => manager.report(EventKind::Created, &key),
            // Somebody has logged the subject out everywhere, at this very moment.
            Ok(false) => {
                manager.report(EventKind::Lost, &key);
                return Ok(None);
            }
            Err(error) => {
                // Nobody has been given the token, so nobody misses the session.
                let _ = manager.store.delete(key.as_str());
                return Err(error);
            }
        }
        Ok(Some(self.cookie(&token, expiry, now)))
    }

    /// Writes what the request changed in a session that the store has; gives the cookie, if the browser needs
    /// a new one.
    fn write(&mut self, now: DateTime<Utc>) -> Result<Option<String>, Error> {
        let Origin::Stored(stored) = &mut self.origin else { return Ok(None) };
        let (old_key, old_expiry) = (stored.key.clone(), stored.expiry);
        let renewal = self.renewal.take();
        let is_renewed = renewal.is_some();
        if let Some(Renewal { token, key }) = renewal {
            self.manager.superseded.announce(&old_key, &key, now);
            match rename(self.manager, &old_key, &key) {
                Ok(true) => {}
                Ok(false) => {
                    self.manager.superseded.withdraw(&old_key, &key);
                    return Ok(None);
                }
                Err(error) => {
                    // The store may have renamed it all the same, or be about to; so the announcement stands.
                    give_back(self.manager, &key, &old_key, Announcement::Stands);
                    return Err(error);
                }
            }
            (stored.token, stored.key) = (token, key);
        }
        let (token, key) = (stored.token.clone(), stored.key.clone());

        let expiry = match self.write_content(&key, now) {
            Ok(Outcome::Live { expiry }) => expiry,
            // Where the browser isn't going to hear of the new token, the old one must stay good.
            Ok(Outcome::Lost) => {
                if is_renewed {
                    // Others may be able to read what this version can't.
                    give_back(self.manager, &key, &old_key, Announcement::IsWithdrawn);
                }
                self.manager.report(EventKind::Lost, &key);
                return Ok(None);
            }
            Err(Failure { error, may_be_written }) => {
                match (is_renewed, may_be_written) {
                    (true, true) => abandon(self.manager, &key, &old_key),
                    (true, false) => {
                        give_back(self.manager, &key, &old_key, Announcement::IsWithdrawn);
                    }
                    (false, _) => {}
                }
                return Err(error);
            }
        };
        if let Err(error) = self.end_others(Some(&key)) {
            if is_renewed {
                abandon(self.manager, &key, &old_key);
            }
            return Err(error);
        }
        if is_renewed {
            self.manager.report(EventKind::Renewed, &key);
        }

        if expiry <= now {
            return Ok(Some(self.manager.cookie.remove()));
        }
        let changes_remembering = self
            .changes
            .iter()
            .any(|change| matches!(change, Change::Set(key, _) if key == REMEMBER_ME));
        let moves_expiry = (expiry - old_expiry).abs() > TimeDelta::seconds(1);
        let needs_cookie = is_renewed || changes_remembering || (moves_expiry && self.persists());
        Ok(needs_cookie.then(|| self.cookie(&token, expiry, now)))
    }

    /// Values, expiry and subject. A session whose data say who is logged in must be in the index, whatever fails and
    /// whoever else writes; one that the index has although nobody is logged in does no harm. So it is tied before its
    /// data are written, and untied after.
    fn write_content(&mut self, key: &SessionKey, now: DateTime<Utc>) -> Result<Outcome, Failure> {
        let manager = self.manager;
        let subject = self.changes_subject.then(|| self.subject());
        let Origin::Stored(stored) = &mut self.origin else { return Ok(Outcome::Lost) };
        let before = subject.as_ref().and_then(|_| manager.subject_in(&stored.data));
        // Of an error before anything was written. Where another subject has been looked for meanwhile, in order to end all
        // its sessions, this one was missed.
        let undone = |error, subject: &str| {
            restore_tie(manager, key, subject);
            Failure { error, may_be_written: before.as_deref().is_some_and(|own| own != subject) }
        };
        if let Some(Some(subject)) = &subject {
            match manager.tie(key, Some(subject)) {
                Ok(true) => {}
                Ok(false) => return Ok(Outcome::Lost),
                Err(error) => return Err(undone(error, subject)),
            }
        }
        let written = match self.content.get_mut() {
            Some(content) if !self.changes.is_empty() => {
                replace(manager, stored, content, &mut self.changes, now)
            }
            Some(content) => {
                touch(manager, stored, content.deadline, now).map_err(Failure::not_written)
            }
            // Nobody has asked for anything, and it isn't time to move the expiry.
            None => Ok(Outcome::Live { expiry: stored.expiry }),
        };
        match (written, subject) {
            (Ok(Outcome::Live { expiry }), Some(None)) => {
                untie(manager, key, before.as_deref()).map_err(Failure::written)?;
                Ok(Outcome::Live { expiry })
            }
            (Ok(Outcome::Live { expiry }), Some(Some(subject))) if stored.is_newer => {
                // A request that wrote in between may have untied it.
                manager.tie(key, Some(&subject)).map_err(Failure::written)?;
                Ok(Outcome::Live { expiry })
            }
            (Err(Failure { error, may_be_written: false }), Some(Some(subject))) => {
                Err(undone(error, &subject))
            }
            (written, _) => written,
        }
    }

    /// Whether a tenth of the idle timeout has passed since the expiry was moved last.
    fn is_touch_due(&self, now: DateTime<Utc>) -> bool {
        match (&self.origin, self.manager.idle_timeout) {
            (Origin::Stored(stored), Some(timeout)) => is_due(timeout, stored.expiry, now),
            _ => false,
        }
    }

    /// Ends the sessions that this one replaces; `own` is the one that stays.
    fn end_others(&mut self, own: Option<&SessionKey>) -> Result<(), Error> {
        while let Some(Merged { key, claimed }) = self.merged.last() {
            self.manager.store.delete(claimed.as_ref().unwrap_or(key).as_str())?;
            if let Some(claimed) = claimed {
                self.manager.superseded.withdraw(key, claimed);
            }
            self.manager.report(EventKind::Destroyed, key);
            self.merged.pop();
        }
        if let Some(subject) = &self.destroys_others {
            self.manager.subjects()?.delete_by_subject(subject, own.map(SessionKey::as_str))?;
        }
        Ok(())
    }

    /// Takes the merged sessions away from other requests; `false` if one of them has ended meanwhile.
    fn claim_merged(&mut self, now: DateTime<Utc>) -> Result<bool, Error> {
        let manager = self.manager;
        for Merged { key, claimed } in &mut self.merged {
            let own = manager.key(&Token::generate()?);
            manager.superseded.announce(key, &own, now);
            // Noted before the error is: the store may have renamed it all the same.
            let is_live = rename(manager, key, claimed.insert(own));
            if let Ok(false) = is_live
                && let Some(own) = claimed.take()
            {
                manager.superseded.withdraw(key, &own);
            }
            if !is_live? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives back the merged sessions whose values could not be written.
    fn release_merged(&mut self) {
        for Merged { key, claimed } in self.merged.drain(..) {
            if let Some(claimed) = claimed {
                give_back(self.manager, &claimed, &key, Announcement::IsWithdrawn);
            }
        }
    }

    fn cookie(&self, token: &Token, expiry: DateTime<Utc>, now: DateTime<Utc>) -> String {
        let persistent_until = self.persists().then_some(expiry);
        self.manager.cookie.set(token.as_str(), persistent_until, now)
    }
}

/// Gives a session a new key; `false`, and reported, if another request has ended or renamed it.
fn rename<C: Codec>(
    manager: &SessionManager<C>,
    key: &SessionKey,
    new_key: &SessionKey,
) -> Result<bool, Error> {
    let mut is_live = manager.store.rename(key.as_str(), new_key.as_str())?;
    if is_live && manager.superseded.has_ended(key) {
        // A log out was under way, and may have come too late for the old key.
        manager.store.delete(new_key.as_str())?;
        is_live = false;
    }
    if !is_live {
        manager.report(EventKind::Lost, key);
    }
    Ok(is_live)
}

/// What becomes of the announcement that an old key has a successor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Announcement {
    IsWithdrawn,
    Stands,
}

/// Gives a session its old key again, unless somebody has logged out of that meanwhile. Best effort: what has failed may
/// be the store. Where it fails again, a log out must still find the session under either key.
fn give_back<C: Codec>(
    manager: &SessionManager<C>,
    key: &SessionKey,
    old_key: &SessionKey,
    announcement: Announcement,
) {
    if manager.superseded.has_ended(old_key) {
        return abandon(manager, key, old_key);
    }
    let renamed = manager.store.rename(key.as_str(), old_key.as_str());
    if manager.superseded.has_ended(old_key) {
        let _ = manager.store.delete(old_key.as_str());
    }
    if renamed.is_ok() && announcement == Announcement::IsWithdrawn {
        manager.superseded.withdraw(old_key, key);
    }
}

/// Ends a renewed session of whose new token the browser isn't going to hear. It can't have the old one again, because
/// whoever knew that before would be logged in with it. Best effort: nobody knows the new one.
fn abandon<C: Codec>(manager: &SessionManager<C>, key: &SessionKey, old_key: &SessionKey) {
    if manager.store.delete(key.as_str()).is_ok() {
        manager.superseded.withdraw(old_key, key);
    }
}

/// Unties a session whose data name no subject any more, unless another request has logged in since: its tie may be the
/// one that goes. Where that can't be found out, the session is tied as `before`.
fn untie<C: Codec>(
    manager: &SessionManager<C>,
    key: &SessionKey,
    before: Option<&str>,
) -> Result<(), Error> {
    manager.tie(key, None)?;
    let newer = manager.store.find(key.as_str());
    let subject = match &newer {
        Ok(data) => data.as_ref().and_then(|data| manager.subject_in(data)),
        Err(_) => before.map(str::to_owned),
    };
    if let Some(subject) = subject {
        manager.tie(key, Some(&subject))?;
    }
    Ok(newer.map(drop)?)
}

/// Ties a session as its data in the store say, after it was tied to a subject that wasn't written. Best effort: a tie too
/// many does no harm.
fn restore_tie<C: Codec>(manager: &SessionManager<C>, key: &SessionKey, tied: &str) {
    if let Ok(Some(data)) = manager.store.find(key.as_str()) {
        let _ = match manager.subject_in(&data) {
            Some(subject) => manager.tie(key, Some(&subject)).map(drop),
            None => untie(manager, key, Some(tied)),
        };
    }
}

/// Writes the content, to newer data if need be.
fn replace<C: Codec>(
    manager: &SessionManager<C>,
    stored: &mut Stored,
    content: &mut Content,
    changes: &mut [Change<C>],
    now: DateTime<Utc>,
) -> Result<Outcome, Failure> {
    let (store, codec) = (&manager.store, &manager.codec);
    let mut pauses = pauses();
    let mut _turn = None;
    for attempt in 1..=MAX_ATTEMPTS {
        let data = encode(codec, content, &stored.data).map_err(Failure::not_written)?;
        if attempt == 1 && data == stored.data {
            // The changes came to nothing.
            return touch(manager, stored, content.deadline, now).map_err(Failure::not_written);
        }
        let expiry = manager.expiry(content.deadline, now);
        let replaced = store.replace(stored.key.as_str(), &stored.data, &data, expiry);
        if replaced.map_err(Failure::of_write)? {
            return Ok(Outcome::Live { expiry });
        }

        // Before the newer data is read, so that it is as new as can be when it is written.
        if attempt == 1 {
            _turn = manager.turns.take(&stored.key);
        } else if let Some(pause) = pauses.next() {
            thread::sleep(pause);
        }
        let newer = store.find(stored.key.as_str()).map_err(Failure::not_written)?;
        let Some(newer) = newer else { return Ok(Outcome::Lost) };
        let Ok(decoded) = codec.decode(&newer) else {
            manager.report(EventKind::Poisoned, &stored.key);
            return Ok(Outcome::Lost);
        };
        manager.report(EventKind::Conflict, &stored.key);
        (stored.data, stored.is_newer) = (newer, true);
        *content = Content { deadline: decoded.deadline, values: Values::stored(decoded.values) };
        for change in &mut *changes {
            content.apply(change, codec, &stored.data).map_err(Failure::not_written)?;
        }
    }
    Err(Failure::not_written(Error::Conflict { attempts: MAX_ATTEMPTS }))
}

/// Moves the expiry of a session whose data stay as they are, if it has an idle timeout of which a tenth has
/// passed.
fn touch<C: Codec>(
    manager: &SessionManager<C>,
    stored: &Stored,
    deadline: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Outcome, Error> {
    let expiry = manager.expiry(deadline, now);
    let is_due = manager.idle_timeout.is_some_and(|timeout| is_due(timeout, stored.expiry, now));
    // At the deadline there is nothing left to move.
    if !is_due || expiry - stored.expiry <= TimeDelta::milliseconds(1) {
        return Ok(Outcome::Live { expiry: stored.expiry });
    }
    let (store, key) = (&manager.store, stored.key.as_str());
    if expiry < deadline {
        let is_live = store.touch(key, expiry)?;
        return Ok(if is_live { Outcome::Live { expiry } } else { Outcome::Lost });
    }
    // Another request may have moved the deadline, and then knows better.
    if store.replace(key, &stored.data, &stored.data, expiry)? {
        return Ok(Outcome::Live { expiry });
    }
    let newer = store.find_with_expiry(key)?;
    Ok(newer.map_or(Outcome::Lost, |(_, expiry)| Outcome::Live { expiry }))
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

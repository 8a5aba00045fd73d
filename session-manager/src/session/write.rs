//! One write of a session: `create`, `update` or `touch`.

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{Change, Rotation};

use crate::codec::{Codec, CodecError};
use crate::conflicts::Conflicts;
use crate::content::Content;
use crate::content::edit::Edit;
use crate::content::reserved::{CREATED, ID, MANAGER, ROTATED};
use crate::error::Error;
use crate::event::EventKind;
use crate::session::Session;
use crate::session::origin::{Origin, Snapshot};
use crate::session_key::SessionKey;
use crate::token::{NewToken, Token};

/// What became of an attempt to write a session.
pub(super) enum Attempt {
    Written(Written),
    /// There is nothing to write but, maybe, the expiry.
    NotNeeded,
    /// The store has something other than what the request knows, and nothing was written.
    Refused,
}

/// What the store has after a write.
pub(super) struct Written {
    pub(super) key: SessionKey,
    /// The token that the browser is to have, if this request knows it.
    pub(super) token: Option<Token>,
    pub(super) expiry: DateTime<Utc>,
}

impl Written {
    /// Whether the deadline was moved into the past, so that nothing can be found.
    pub(super) fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.expiry <= now
    }
}

impl<C: Codec> Session<'_, C> {
    /// Stores a fresh session, unless nothing was put into it.
    pub(super) fn create(&mut self, now: DateTime<Utc>) -> Result<Option<Written>, Error> {
        let manager = self.manager;
        if self.content.values.is_empty() || self.content.deadline <= now {
            return Ok(None);
        }
        self.mark_as_new(now)?;
        let expiry = self.expiry_after_use(now);
        let encoded = self.encode()?;
        let subject = manager.subject_of(&self.content, &[]);
        let NewToken { token, key, .. } = manager.new_token()?;
        let data = manager.seal(&key, encoded)?;
        self.store_new(&key, &data, expiry, subject.as_deref())?;
        manager.report_session(EventKind::Created, &key, &self.metadata());
        Ok(Some(Written { key, token: Some(token), expiry }))
    }

    /// Stores a new session, if need be in the room of others.
    fn store_new(
        &self,
        key: &SessionKey,
        data: &[u8],
        expiry: DateTime<Utc>,
        subject: Option<&str>,
    ) -> Result<(), Error> {
        let store = &self.manager.store;
        let mut conflicts = Conflicts::new(&self.manager.conflict_locks);
        loop {
            let room = subject.map(|subject| self.room(subject)).transpose()?.flatten();
            let (Some(room), Some(subject)) = (room, subject) else {
                return Ok(store.create(key.as_str(), data, expiry, subject)?);
            };
            let change = Change::new(data, expiry).with_subject(Some(subject));
            if store.create_with(key.as_str(), &room.make(subject, change))? {
                room.report(self.manager);
                return Ok(());
            }
            // The sessions of the subject are others by now.
            conflicts.wait(None)?;
        }
    }

    /// Tries one conditional write of everything: data, expiry, token, subject and merged sessions.
    pub(super) fn try_write(&mut self, now: DateTime<Utc>) -> Result<Attempt, Error> {
        let manager = self.manager;
        let new_token = self.token_to_write()?;
        if new_token.is_none() && self.edits.is_empty() {
            return Ok(Attempt::NotNeeded);
        }
        if self.is_emptied() {
            // For this attempt: another request may just be putting something in.
            self.content.deadline = now;
        }
        let unmarked = self.rotates_by_itself().then(|| self.content.clone());
        if new_token.is_some() {
            self.mark_as_new(now)?;
        }
        let expiry = self.expiry_after_use(now);
        let encoded = self.encode()?;
        let is_same = encoded == self.content.values.encoded(self.data());
        if new_token.is_none() && self.merged.is_empty() && is_same {
            // The edits come to nothing.
            return Ok(Attempt::NotNeeded);
        }
        let ((key, current), absorbed) = self.written_over();
        // Under a new token it is another row.
        let data = manager.seal(new_token.as_ref().map_or(key, |new| &new.key), encoded)?;

        // What is no use of the session leaves its expiry to requests that are.
        let keeps_expiry = self.is_no_use
            && self.origin.snapshot().is_some_and(|snapshot| snapshot.expiry == expiry);
        let mut change =
            if keeps_expiry { Change::keeping_expiry(&data) } else { Change::new(&data, expiry) };
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
        // A subject that stays is written with a new token as well: if a Go program has renewed the
        // token before, the index doesn't have the session.
        if is_changed || subject.is_some() {
            change = change.with_subject(subject.as_deref());
        }
        let room = match &subject {
            Some(subject) if is_changed => self.room(subject)?,
            _ => None,
        };
        if let (Some(room), Some(subject)) = (&room, &subject) {
            change = room.make(subject, change);
        }
        for (key, data) in absorbed {
            change = change.absorbing(key.as_str(), data);
        }
        match (manager.store.update(key.as_str(), current, &change), unmarked) {
            (Ok(true), _) => {}
            (Ok(false), _) => return Ok(Attempt::Refused),
            // Nobody has asked for the rotation, so what it adds to the data must not be too much
            // for the session.
            (Err(store_core::Error::DataTooLarge { .. }), Some(unmarked)) => {
                self.content = unmarked;
                self.new_token = None;
                return self.try_write(now);
            }
            (Err(error), _) => return Err(error.into()),
        }
        if let Some(room) = room {
            room.report(manager);
        }
        let (key, token) = match new_token {
            Some(NewToken { token, key, .. }) => (key, Some(token)),
            None => (key.clone(), self.origin.snapshot().and_then(|own| own.token.clone())),
        };
        Ok(Attempt::Written(Written { key, token, expiry }))
    }

    /// Moves the expiry of a session whose data stay as they are, if it has an idle timeout of
    /// which a tenth has passed.
    pub(super) fn touch(&self, now: DateTime<Utc>) -> Result<Option<Written>, Error> {
        let (manager, Some(snapshot)) = (self.manager, self.origin.snapshot()) else {
            return Ok(None);
        };
        if self.is_no_use {
            return Ok(None);
        }
        let deadline = self.content.deadline;
        let lifetimes = manager.lifetimes.of(&self.metadata());
        let expiry = lifetimes.expiry(deadline, now);
        // At the deadline there is nothing left to move.
        if !lifetimes.is_touch_due(snapshot.expiry, now)
            || expiry - snapshot.expiry <= TimeDelta::milliseconds(1)
        {
            return Ok(None);
        }
        let (store, key) = (&manager.store, snapshot.key.as_str());
        let is_moved = if expiry < deadline {
            store.touch(key, expiry)?
        } else {
            // Another request may have moved the deadline away, and then this one's is outdated.
            store.update(key, &snapshot.data, &Change::new(&snapshot.data, expiry))?
        };
        // If the session has ended in the meantime, nothing is lost.
        Ok(is_moved.then(|| Written {
            key: snapshot.key.clone(),
            token: snapshot.token.clone(),
            expiry,
        }))
    }

    /// Returns the session that is written over, and those that it absorbs.
    fn written_over(&self) -> ((&SessionKey, &[u8]), impl Iterator<Item = (&SessionKey, &[u8])>) {
        let mut merged = self.merged.iter().map(|merged| (&merged.key, &*merged.data));
        let own = self.origin.snapshot().map(|snapshot| (&snapshot.key, &*snapshot.data));
        // A fresh session takes the place of the first that it merges.
        let own = own.or_else(|| merged.next());
        (own.expect("a fresh session is updated only if it merges"), merged)
    }

    /// Returns the token that the session gets with this write, if it gets one.
    fn token_to_write(&self) -> Result<Option<NewToken>, Error> {
        match (&self.origin, &self.new_token) {
            // The browser's newest token is in another response, which may arrive before this one
            // or after it.
            (Origin::Store(Snapshot { token: None, .. }), Some(new_token)) => {
                if new_token.old_token_opens { Ok(None) } else { Err(Error::Superseded) }
            }
            (Origin::Store(_), new_token) => Ok(new_token.clone()),
            _ => Ok(Some(self.manager.new_token()?)),
        }
    }

    /// Returns whether the session ends because this request leaves nothing in it.
    pub(super) fn is_emptied(&self) -> bool {
        self.manager.removes_dead_cookies && self.content.is_bare()
    }

    /// Returns whether the session gets a new token only because the old one is old.
    fn rotates_by_itself(&self) -> bool {
        self.new_token.as_ref().is_some_and(|new| new.old_token_opens)
    }

    /// Notes in a session that gets a token which manager it belongs to, when it began and got the
    /// token, and its name if that isn't the token's.
    fn mark_as_new(&mut self, now: DateTime<Utc>) -> Result<(), Error> {
        let codec = &self.manager.codec;
        match self.origin.snapshot() {
            Some(snapshot) if !self.content.is_another => {
                let id = self.metadata().id(&snapshot.key).to_string();
                let id = codec.encode_value(&id).map_err(|_| Error::unencodable::<str>(ID))?;
                self.content.values.set(ID, id.into());
            }
            _ => {
                let created = self.manager.encode_time(CREATED, now)?;
                self.content.values.set(CREATED, created);
            }
        }
        let mark = codec.encode_value(&self.manager.mark());
        let mark = mark.map_err(|_| Error::unencodable::<str>(MANAGER))?;
        self.content.values.set(MANAGER, mark.into());
        // A token that is only moved is as old as before.
        if self.manager.lifetimes.rotation.is_some() && !self.is_moved() {
            let rotated = self.manager.encode_time(ROTATED, now)?;
            self.content.values.set(ROTATED, rotated);
        }
        Ok(())
    }

    /// Returns whether the subject of the session that is written over may be another. A fresh
    /// session takes the place of another one, but not its subject.
    fn changes_subject(&self) -> bool {
        matches!(self.origin, Origin::Fresh)
            || self.edits.iter().any(|edit| matches!(edit, Edit::Subject(_)))
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut values = self.content.values.iter(self.data());
        let encoded = self.manager.codec.encode(self.content.deadline, &mut values);
        encoded.map_err(|CodecError| Error::unencodable::<Content>("(the whole session)"))
    }
}

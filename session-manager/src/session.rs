//! The session of one request.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{Codec, Decoded, Json};
use crate::error::Error;
use crate::event::EventKind;
use crate::manager::SessionManager;
use crate::token::{SessionKey, Token};
use crate::values::{Change, Content, FLASH, REMEMBER_ME, SUBJECT, Values, is_reserved};

/// The session of one request.
///
/// Nothing reaches the store before [`finish`](Self::finish); a session that is dropped, for example by a panic
/// of the handler, changes nothing. Values are typed through serde.
///
/// Requests of one session may run at the same time. Each sees the session as it was when it was loaded, with
/// its own changes; when it finishes, these are applied to the newest data, so two requests that change
/// different values both win. Where the new value depends on the old one, use [`update`](Self::update).
///
/// # Examples
/// ```
/// use session_manager::{Error, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?);
/// let mut session = sessions.load([])?;
/// session.insert("user_id", 7)?;
/// session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
/// assert_eq!(session.get("user_id")?, Some(7));
/// assert_eq!(session.get::<String>("cart")?, None);
/// # Ok::<(), Error>(())
/// ```
pub struct Session<'m, C = Json> {
    pub(crate) manager: &'m SessionManager<C>,
    pub(crate) origin: Origin,
    /// The content with this request's changes; made when it is first asked for.
    pub(crate) content: OnceCell<Content>,
    /// What is wrong with the stored session, so that the content is that of a fresh one.
    defect: Cell<Option<Defect>>,
    /// Something was asked of the session, so the response may depend on the cookie.
    was_read: Cell<bool>,
    pub(crate) changes: Vec<Change<C>>,
    pub(crate) renewal: Option<Renewal>,
    /// The application has destroyed the session; if the store had it, it ends before anything is written.
    pub(crate) is_destroyed: bool,
    pub(crate) destroyed: Vec<SessionKey>,
    /// The tokens of the request that another one has just renewed or destroyed. Destroying the session ends what has
    /// become of them, too.
    pub(crate) superseded: Vec<SessionKey>,
    /// Sessions whose values this one took over. They end once this one is written.
    pub(crate) merged: Vec<Merged>,
    /// The index of subjects has to be told.
    pub(crate) changes_subject: bool,
    /// The subject whose other sessions end.
    pub(crate) destroys_others: Option<String>,
}

/// The last instant of a whole second that RFC 3339 has a form for, and so every codec.
const LATEST: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(latest) => latest,
    None => DateTime::<Utc>::MAX_UTC,
};

/// Long ago, and an instant that every store has a form for.
const EARLIEST: DateTime<Utc> = match DateTime::from_timestamp(946_684_800, 0) {
    Some(earliest) => earliest,
    None => DateTime::<Utc>::UNIX_EPOCH,
};

/// Where a session came from.
pub(crate) enum Origin {
    /// The store has none of it.
    Fresh,
    /// Another request has just renewed or destroyed it. Nothing is written in its place.
    Superseded,
    /// The store had it when it was loaded.
    Stored(Stored),
}

pub(crate) struct Stored {
    pub(crate) token: Token,
    pub(crate) key: SessionKey,
    pub(crate) data: Vec<u8>,
    pub(crate) expiry: DateTime<Utc>,
    /// Whether another request has written the data since they were loaded.
    pub(crate) is_newer: bool,
}

/// Why a session that the store has can't be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Its data can't be decoded. It may be of a newer version, so it is left alone.
    Poisoned,
    /// Its deadline has passed.
    Expired { deadline: DateTime<Utc> },
}

/// A session whose values another one took over.
pub(crate) struct Merged {
    pub(crate) key: SessionKey,
    /// The name under which nobody else can reach it, while its values are being written.
    pub(crate) claimed: Option<SessionKey>,
}

/// The token that a session is going to have.
pub(crate) struct Renewal {
    pub(crate) token: Token,
    pub(crate) key: SessionKey,
}

/// What has become of a session during the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As it was loaded.
    Unmodified,
    /// It is going to be written.
    Modified,
    /// It is going to be destroyed.
    Destroyed,
}

impl<'m, C: Codec> Session<'m, C> {
    pub(crate) fn fresh(manager: &'m SessionManager<C>) -> Self {
        Self::from(manager, Origin::Fresh, Vec::new())
    }

    pub(crate) fn superseded(manager: &'m SessionManager<C>, superseded: Vec<SessionKey>) -> Self {
        Self::from(manager, Origin::Superseded, superseded)
    }

    pub(crate) fn stored(
        manager: &'m SessionManager<C>,
        stored: Stored,
        superseded: Vec<SessionKey>,
    ) -> Self {
        Self::from(manager, Origin::Stored(stored), superseded)
    }

    fn from(manager: &'m SessionManager<C>, origin: Origin, superseded: Vec<SessionKey>) -> Self {
        Self {
            manager,
            origin,
            content: OnceCell::new(),
            defect: Cell::new(None),
            was_read: Cell::new(false),
            changes: Vec::new(),
            renewal: None,
            is_destroyed: false,
            destroyed: Vec::new(),
            superseded,
            merged: Vec::new(),
            changes_subject: false,
            destroys_others: None,
        }
    }

    /// The value under a key.
    ///
    /// # Errors
    /// [`Error::WrongType`] if there is one, of another type.
    #[doc(alias = "Get")]
    #[doc(alias = "GetString")]
    #[doc(alias = "GetInt")]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        match self.content().values.get(key, self.data()) {
            None => Ok(None),
            Some(value) => {
                let value = self.manager.codec.decode_value(value);
                value.map(Some).map_err(|_| Error::wrong_type::<T>(key))
            }
        }
    }

    /// Puts a value under a key, whatever is there.
    ///
    /// # Errors
    /// [`Error::Unencodable`] if the codec has no form for it; [`Error::ReservedKey`].
    #[doc(alias = "Put")]
    pub fn insert<T: Serialize>(&mut self, key: &str, value: T) -> Result<(), Error> {
        check_key(key)?;
        self.set(key, &value)
    }

    /// Replaces the value under a key by what `update` makes of it, and gives the new value.
    ///
    /// Where another request has changed the session meanwhile, `update` is called again, with the newest
    /// value, when this one finishes: a counter under any number of requests counts all of them. So it must
    /// depend on its argument alone.
    ///
    /// # Errors
    /// [`Error::WrongType`] if the value there is of another type; [`Error::Unencodable`];
    /// [`Error::ReservedKey`].
    pub fn update<T, F>(&mut self, key: &str, mut update: F) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned,
        F: FnMut(Option<T>) -> T + Send + 'static,
    {
        check_key(key)?;
        let own_key = key.to_owned();
        let change = move |codec: &C, old: Option<&[u8]>| {
            let old = old.map(|old| codec.decode_value(old)).transpose();
            let old = old.map_err(|_| Error::wrong_type::<T>(&own_key))?;
            let new = codec.encode_value(&update(old));
            new.map(Arc::from).map_err(|_| Error::unencodable::<T>(&own_key))
        };
        self.change(Change::Update(key.to_owned(), Box::new(change)))?;
        match self.get(key)? {
            Some(new) => Ok(new),
            None => unreachable!("it has just been set"),
        }
    }

    /// Removes the value under a key, and says whether there was one.
    #[doc(alias = "Remove")]
    pub fn remove(&mut self, key: &str) -> bool {
        let is_there = !is_reserved(key) && self.contains(key);
        if is_there {
            self.do_infallibly(Change::Remove(key.to_owned()));
        }
        is_there
    }

    /// Removes the value under a key and gives it.
    ///
    /// # Errors
    /// [`Error::WrongType`] if there is one, of another type; it stays.
    #[doc(alias = "Pop")]
    #[doc(alias = "PopString")]
    pub fn pop<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let value = self.get(key)?;
        self.remove(key);
        Ok(value)
    }

    /// Whether there is a value under a key.
    #[doc(alias = "Exists")]
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.content().values.contains(key)
    }

    /// The keys of the application's values, in the order in which they were first inserted.
    #[doc(alias = "Keys")]
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.content().values.keys().filter(|key| !is_reserved(key))
    }

    /// Whether there is no value of the application.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys().next().is_none()
    }

    /// Removes all values, flash values included. Token, deadline, subject and
    /// [`remember_me`](Self::remember_me) stay.
    #[doc(alias = "Clear")]
    pub fn clear(&mut self) {
        self.do_infallibly(Change::Clear);
    }

    /// Keeps a value until it is read once, by this request or a later one: for messages such as “Saved.”
    ///
    /// # Errors
    /// [`Error::Unencodable`] if the codec has no form for it.
    pub fn flash<T: Serialize>(&mut self, key: &str, value: T) -> Result<(), Error> {
        self.set(&format!("{FLASH}{key}"), &value)
    }

    /// Takes a flash value.
    ///
    /// # Errors
    /// [`Error::WrongType`] if there is one, of another type; it stays.
    pub fn take_flash<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let key = format!("{FLASH}{key}");
        let value = self.get(&key)?;
        if value.is_some() {
            self.do_infallibly(Change::Remove(key));
        }
        Ok(value)
    }

    /// Ends the session: with the response the cookie is taken away and the store forgets the session.
    ///
    /// No request that loaded it before can bring it back. Where this manager has renewed it in the last 30 seconds, and
    /// this request has still the old token, it ends under the new one. What is inserted afterwards, for example a flash
    /// message, goes into a fresh session with a token of its own.
    #[doc(alias = "Destroy")]
    #[doc(alias = "flush")]
    pub fn destroy(&mut self) {
        self.was_read.set(true);
        self.destroyed.append(&mut self.superseded);
        if let Origin::Stored(stored) = std::mem::replace(&mut self.origin, Origin::Fresh) {
            self.destroyed.push(stored.key);
        }
        self.content = OnceCell::new();
        self.defect.set(None);
        self.changes.clear();
        self.renewal = None;
        self.changes_subject = false;
        self.is_destroyed = true;
    }

    /// Gives the session a new token when it is written; the old one is then worth nothing.
    ///
    /// Call it whenever the rights of the visitor change: at log in, when a password is changed (at log out, call
    /// [`destroy`](Self::destroy)). The values and the deadline stay; to begin the lifetime anew, call
    /// [`restart_lifetime`](Self::restart_lifetime).
    ///
    /// # Errors
    /// [`Error::Randomness`].
    #[doc(alias = "RenewToken")]
    pub fn renew(&mut self) -> Result<(), Error> {
        if self.usable().is_some() {
            let token = Token::generate()?;
            let key = self.manager.key(&token);
            self.renewal = Some(Renewal { token, key });
        }
        Ok(())
    }

    /// The token that the browser has or is going to get: a secret. `None` for a session that was never
    /// stored.
    #[doc(alias = "Token")]
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        let renewed = self.renewal.as_ref().map(|renewal| &renewal.token);
        renewed.or_else(|| self.usable().map(|stored| &stored.token)).map(Token::as_str)
    }

    /// The session's name in the store. `None` for a session that was never stored.
    #[must_use]
    pub fn key(&self) -> Option<&SessionKey> {
        let renewed = self.renewal.as_ref().map(|renewal| &renewal.key);
        renewed.or_else(|| self.usable().map(|stored| &stored.key))
    }

    /// When the session ends, however much it is used.
    #[doc(alias = "Deadline")]
    #[must_use]
    pub fn deadline(&self) -> DateTime<Utc> {
        self.content().deadline
    }

    /// When the session expires unless it is used, as far as this request knows.
    #[must_use]
    pub fn expiry(&self) -> DateTime<Utc> {
        match self.usable() {
            Some(stored) if self.changes.is_empty() => stored.expiry,
            _ => self.manager.expiry(self.deadline(), self.manager.now()),
        }
    }

    /// Lets the lifetime begin anew, for example at a log in: the deadline is a lifetime from now.
    pub fn restart_lifetime(&mut self) {
        let deadline = self.fresh_content().deadline;
        self.set_deadline(deadline);
    }

    /// Moves the end of the session, either way. What is before the year 2000 or after 9999 counts as that.
    ///
    /// A store that can't represent it refuses the session when it is written: a `TIMESTAMP` of MySQL ends in 2038.
    #[doc(alias = "SetDeadline")]
    pub fn set_deadline(&mut self, deadline: DateTime<Utc>) {
        self.do_infallibly(Change::Deadline(deadline.clamp(EARLIEST, LATEST)));
    }

    /// Whether the browser keeps the cookie of this session when it is closed, whatever the
    /// [`CookiePolicy`](crate::CookiePolicy) says.
    ///
    /// # Errors
    /// [`Error::Unencodable`], from a codec that has no form for a bool.
    #[doc(alias = "RememberMe")]
    pub fn remember_me(&mut self, remember: bool) -> Result<(), Error> {
        self.set(REMEMBER_ME, &remember)
    }

    /// What has become of the session during this request.
    #[doc(alias = "Status")]
    #[must_use]
    pub fn status(&self) -> Status {
        if !self.changes.is_empty() || self.renewal.is_some() {
            Status::Modified
        } else if self.is_destroyed {
            Status::Destroyed
        } else {
            Status::Unmodified
        }
    }

    /// Takes over the values of another session and ends that one; says whether there was one. Where both
    /// have a key, the other session's value counts; the later deadline counts.
    ///
    /// For tokens that get lost on the way through another site, such as a log in by OAuth with
    /// SameSite=Strict.
    ///
    /// # Errors
    /// [`Error::Store`].
    #[doc(alias = "MergeSession")]
    pub fn merge(&mut self, token: &str) -> Result<bool, Error> {
        let Some(token) = Token::parse(token) else { return Ok(false) };
        let key = self.manager.key(&token);
        let is_own = self.usable().is_some_and(|stored| stored.key == key);
        if is_own || self.merged.iter().any(|merged| merged.key == key) {
            return Ok(true);
        }
        let Some((data, _)) = self.manager.store.find_with_expiry(key.as_str())? else {
            return Ok(false);
        };
        let Ok(decoded) = self.manager.codec.decode(&data) else {
            self.manager.report(EventKind::Poisoned, &key);
            return Ok(false);
        };
        let deadline = decoded.deadline;
        if deadline <= self.manager.now() {
            self.manager.report(EventKind::Expired, &key);
            return Ok(false);
        }
        let other = Values::stored(decoded.values);
        for (key, value) in other.iter(&data).filter(|(key, _)| *key != SUBJECT) {
            self.do_infallibly(Change::Set(key.to_owned(), value.into()));
        }
        if deadline > self.deadline() {
            self.set_deadline(deadline);
        }
        self.merged.push(Merged { key, claimed: None });
        Ok(true)
    }

    /// Ties the session to a subject: the id of the user who has logged in. If that is another one than before,
    /// the session gets a new token, as by [`renew`](Self::renew). The sessions of a subject can be listed and
    /// destroyed ([`SessionManager::sessions_of`], [`SessionManager::destroy_all`],
    /// [`destroy_others`](Self::destroy_others)).
    ///
    /// A request with a token that another one has just renewed or destroyed gets a session of its own: somebody who has
    /// clicked “Log in” twice is logged in, whichever response the browser took.
    ///
    /// # Errors
    /// [`Error::NoSubjects`] if the manager wasn't made by
    /// [`with_subjects`](SessionManager::with_subjects); [`Error::Store`] for a subject that is empty or longer
    /// than [`MAX_SUBJECT_LEN`](store_core::MAX_SUBJECT_LEN).
    pub fn set_subject(&mut self, subject: &str) -> Result<(), Error> {
        self.manager.subjects()?;
        store_core::check_subject(subject)?;
        if let Origin::Superseded = self.origin {
            self.origin = Origin::Fresh;
        }
        if self.subject().as_deref() != Some(subject) {
            // Whoever knew the token before must not be logged in with it.
            self.renew()?;
        }
        self.set(SUBJECT, subject)?;
        self.changes_subject = true;
        Ok(())
    }

    /// Unties the session from its subject.
    ///
    /// # Errors
    /// [`Error::NoSubjects`].
    pub fn clear_subject(&mut self) -> Result<(), Error> {
        self.manager.subjects()?;
        if self.contains(SUBJECT) {
            self.do_infallibly(Change::Remove(SUBJECT.to_owned()));
            self.changes_subject = true;
        }
        Ok(())
    }

    /// The subject that the session is tied to.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        // What isn't a string wasn't written by this crate.
        self.get(SUBJECT).unwrap_or(None)
    }

    /// Destroys all other sessions of this session's subject when it is written: “log out everywhere else”.
    ///
    /// # Errors
    /// [`Error::NoSubjects`]; [`Error::NoSubject`] if the session has none.
    pub fn destroy_others(&mut self) -> Result<(), Error> {
        self.manager.subjects()?;
        self.destroys_others = Some(self.subject().ok_or(Error::NoSubject)?);
        Ok(())
    }

    /// Whether something was asked of the session.
    pub(crate) fn was_read(&self) -> bool {
        self.was_read.get()
    }

    pub(crate) fn defect(&self) -> Option<Defect> {
        self.defect.get()
    }

    /// The stored session, if it can be gone on with.
    fn usable(&self) -> Option<&Stored> {
        self.content();
        match &self.origin {
            Origin::Stored(stored) if self.defect.get().is_none() => Some(stored),
            _ => None,
        }
    }

    pub(crate) fn persists(&self) -> bool {
        let remembered = self.get(REMEMBER_ME).unwrap_or(None);
        remembered.unwrap_or(self.manager.cookie.is_persistent())
    }

    /// The content with this request's changes.
    pub(crate) fn content(&self) -> &Content {
        self.was_read.set(true);
        self.content.get_or_init(|| match &self.origin {
            Origin::Fresh | Origin::Superseded => self.fresh_content(),
            Origin::Stored(stored) => match self.manager.codec.decode(&stored.data) {
                Ok(decoded) if decoded.deadline > self.manager.now() => {
                    Content { deadline: decoded.deadline, values: Values::stored(decoded.values) }
                }
                outcome => {
                    let (defect, event) = match outcome {
                        Ok(Decoded { deadline, .. }) => {
                            (Defect::Expired { deadline }, EventKind::Expired)
                        }
                        Err(_) => (Defect::Poisoned, EventKind::Poisoned),
                    };
                    self.defect.set(Some(defect));
                    self.manager.report(event, &stored.key);
                    self.fresh_content()
                }
            },
        })
    }

    fn fresh_content(&self) -> Content {
        let now = self.manager.now();
        let deadline = now.checked_add_signed(self.manager.lifetime);
        Content {
            deadline: deadline.map_or(LATEST, |deadline| deadline.min(LATEST)),
            values: Values::default(),
        }
    }

    /// The bytes that the content was decoded from.
    pub(crate) fn data(&self) -> &[u8] {
        match &self.origin {
            Origin::Stored(stored) if self.defect.get().is_none() => &stored.data,
            _ => &[],
        }
    }

    fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        let value = self.manager.codec.encode_value(value);
        let value = value.map_err(|_| Error::unencodable::<T>(key))?;
        self.do_infallibly(Change::Set(key.to_owned(), value.into()));
        Ok(())
    }

    /// Does a change to the content, and remembers it.
    fn change(&mut self, mut change: Change<C>) -> Result<(), Error> {
        self.content();
        if let Some(mut content) = self.content.take() {
            let outcome = content.apply(&mut change, &self.manager.codec, self.data());
            let _ = self.content.set(content);
            outcome?;
        }
        self.changes.push(change);
        Ok(())
    }

    /// A change that calls no code of the application's.
    fn do_infallibly(&mut self, change: Change<C>) {
        debug_assert!(!matches!(change, Change::Update(..)), "an update may fail");
        let _ = self.change(change);
    }
}

fn check_key(key: &str) -> Result<(), Error> {
    if is_reserved(key) {
        return Err(Error::ReservedKey { key: key.to_owned() });
    }
    Ok(())
}

impl<C> fmt::Debug for Session<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stored = match &self.origin {
            Origin::Fresh | Origin::Superseded => None,
            Origin::Stored(stored) => Some(stored.key.fingerprint()),
        };
        f.debug_struct("Session")
            .field("stored", &stored)
            .field("changes", &self.changes.len())
            .field("is_renewed", &self.renewal.is_some())
            .field("is_destroyed", &self.is_destroyed)
            .finish_non_exhaustive()
    }
}

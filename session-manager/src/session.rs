//! The session of one request.

pub(crate) mod finish;

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{Codec, Json};
use crate::content::{
    Change, Content, FLASH, Merged, REMEMBER_ME, SUBJECT, SubjectChange, is_reserved,
};
use crate::error::Error;
use crate::manager::SessionManager;
use crate::manager::resolve::{Found, Resolved};
use crate::token::{SessionKey, Token};

/// The session of one request.
///
/// Nothing but [`destroy`](Self::destroy) reaches the store before [`finish`](Self::finish), and then
/// all of it in one atomic step, but for what [`destroy_others`](Self::destroy_others) does to other
/// sessions; a session that is dropped, for example by a panic of the handler, changes nothing.
/// Values are typed through serde.
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
    /// The content with this request's changes.
    pub(crate) content: Content,
    /// Something was asked of the session, so the response may depend on the cookie.
    was_read: Cell<bool>,
    pub(crate) changes: Vec<Change<C>>,
    pub(crate) new_token: Option<NewToken>,
    /// The tokens that the request came with and that named something of this manager's.
    pub(crate) cookies: Vec<Token>,
    /// Those that weren't tried, because one before them named the session.
    pub(crate) untried: Vec<Token>,
    /// The application has destroyed the session.
    is_destroyed: bool,
    /// The browser has a cookie that names nothing any more.
    pub(crate) removes_cookie: bool,
    /// The sessions that end in the step that writes this one.
    pub(crate) merged: Vec<Merged>,
    /// The subject whose other sessions end.
    pub(crate) destroys_others: Option<String>,
}

/// The last instant of a whole second that RFC 3339 has a form for, and so every codec.
pub(crate) const LATEST: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
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
    /// Another request has just renewed it, and this one's token opens nothing any more. Nothing is
    /// written in its place.
    Superseded,
    /// The store had it when it was loaded.
    Stored(Stored),
}

impl Origin {
    pub(crate) fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Fresh | Self::Superseded => None,
            Self::Stored(stored) => Some(stored),
        }
    }

    /// What the session's values were decoded from.
    pub(crate) fn data(&self) -> &[u8] {
        self.stored().map_or(&[], |stored| &stored.data)
    }
}

/// A session as the store had it when it was loaded last.
pub(crate) struct Stored {
    /// The token that the browser has. `None` where the session has a newer one, of which the store knows the
    /// key alone, and which another response brings to the browser.
    pub(crate) token: Option<Token>,
    pub(crate) key: SessionKey,
    pub(crate) data: Vec<u8>,
    pub(crate) expiry: DateTime<Utc>,
}

/// The token that a session is going to have.
#[derive(Clone)]
pub(crate) struct NewToken {
    pub(crate) token: Token,
    pub(crate) key: SessionKey,
    /// The visitor's rights don't change with it, so requests under way can go on with the old one.
    pub(crate) old_token_opens: bool,
}

/// What has become of a session during the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As it was loaded.
    Unmodified,
    /// Something is going to be written.
    Modified,
    /// It was destroyed, and nothing has been put into a new one.
    Destroyed,
}

impl<'m, C: Codec> Session<'m, C> {
    pub(crate) fn new(manager: &'m SessionManager<C>, origin: Origin, content: Content) -> Self {
        Self {
            manager,
            origin,
            content,
            was_read: Cell::new(false),
            changes: Vec::new(),
            new_token: None,
            cookies: Vec::new(),
            untried: Vec::new(),
            is_destroyed: false,
            removes_cookie: false,
            merged: Vec::new(),
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
            self.apply_infallible(Change::Remove(key.to_owned()));
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
        self.apply_infallible(Change::Clear);
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
            self.apply_infallible(Change::Remove(key));
        }
        Ok(value)
    }

    /// Ends the session, at once: the store forgets it, and with the response the cookie is taken away.
    ///
    /// It is final, whatever the handler answers afterwards, and whichever of its tokens the request
    /// came with: no request that loaded the session before can bring it back, and one that another
    /// process has renewed in the last 30 seconds ends under its new token. What is inserted
    /// afterwards, for example a flash message, goes into a fresh session with a token of its own.
    ///
    /// # Errors
    /// [`Error::Store`]; the session may be there still, so answer with an error.
    #[doc(alias = "Destroy")]
    #[doc(alias = "flush")]
    #[doc(alias = "log_out")]
    pub fn destroy(&mut self) -> Result<(), Error> {
        self.was_read.set(true);
        let manager = self.manager;
        let mut keys: Vec<_> = self.cookies.iter().map(|token| manager.key(token)).collect();
        for token in &self.untried {
            let key = manager.key(token);
            // Another manager's session isn't this one's to end.
            if !matches!(manager.resolve(key.clone())?, Resolved::Missing) {
                keys.push(key);
            }
        }
        if let Origin::Stored(stored) = &self.origin
            && !keys.contains(&stored.key)
        {
            // A newer one than the cookie's, whose grace may be over by now.
            keys.push(stored.key.clone());
        }
        keys.extend(self.merged.iter().map(|merged| merged.key.clone()));
        for key in &keys {
            manager.destroy(key)?;
        }
        self.origin = Origin::Fresh;
        self.content = self.manager.fresh_content();
        self.changes.clear();
        self.merged.clear();
        self.new_token = None;
        self.is_destroyed = true;
        self.removes_cookie |= !keys.is_empty();
        Ok(())
    }

    /// Gives the session a new token when it is written; the old one then opens nothing.
    ///
    /// Call it whenever the rights of the visitor change: at a login, when a password is changed (at
    /// a logout, call [`destroy`](Self::destroy)). The values and the deadline stay; to begin the
    /// lifetime again, call [`reset_lifetime`](Self::reset_lifetime).
    ///
    /// A request whose token another request has renewed meanwhile can't renew the session again: it
    /// fails with [`Error::Superseded`] when it finishes.
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

    /// The token that the browser has or is going to get: a secret. `None` for a session that was never
    /// stored, and where another request has given the session a newer one.
    #[doc(alias = "Token")]
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.was_read.set(true);
        let stored = self.origin.stored()?;
        let new = self.new_token.as_ref().map(|new| &new.token);
        new.or(stored.token.as_ref()).map(Token::as_str)
    }

    /// The session's name in the store. `None` for a session that was never stored.
    #[must_use]
    pub fn key(&self) -> Option<&SessionKey> {
        self.was_read.set(true);
        let stored = self.origin.stored()?;
        Some(self.new_token.as_ref().map_or(&stored.key, |new| &new.key))
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
        self.was_read.set(true);
        match self.origin.stored() {
            Some(stored) if self.changes.is_empty() => stored.expiry,
            _ => self.manager.expiry(self.content.deadline, self.manager.now()),
        }
    }

    /// Lets the lifetime begin again, for example at a login: the deadline is a lifetime from now.
    pub fn reset_lifetime(&mut self) {
        self.set_deadline(self.manager.fresh_deadline());
    }

    /// Moves the end of the session, either way. What is before the year 2000 or after 9999 counts as that.
    ///
    /// A store that can't represent it refuses the session when it is written: a `TIMESTAMP` of MySQL
    /// ends in 2038. A [persistent](crate::CookiePolicy::persistent) cookie hears of it with the next
    /// token where this request's token has just been [rotated](SessionManager::with_rotation) by
    /// another one.
    #[doc(alias = "SetDeadline")]
    pub fn set_deadline(&mut self, deadline: DateTime<Utc>) {
        self.apply_infallible(Change::Deadline(deadline.clamp(EARLIEST, LATEST)));
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
        if self.has_changes() || self.destroys_others.is_some() {
            Status::Modified
        } else if self.is_destroyed {
            Status::Destroyed
        } else {
            Status::Unmodified
        }
    }

    /// Takes over the values of another session, which ends in the step that writes this one; returns
    /// whether there was one. Where both have a key, the other session's value counts; the later
    /// deadline counts. Values don't pass from one subject to another: of a session of another
    /// subject's, only flash values and those that
    /// [`with_kept_values`](SessionManager::with_kept_values) names are taken over, and where nobody
    /// has logged in yet, the values go once somebody else than their subject does.
    ///
    /// What other requests do to either session meanwhile is not lost: the values are taken over as
    /// they are when this one is written. Where the other session has ended by then, or was taken
    /// over by another request, nothing is written, and [`finish`](Self::finish) is
    /// [`Error::Superseded`].
    ///
    /// For tokens that get lost on the way through another site, such as a login by OAuth with
    /// SameSite=Strict.
    ///
    /// # Errors
    /// [`Error::Superseded`] where the other session has got a newer token [by
    /// itself](SessionManager::with_rotation), which another response brings to the browser;
    /// [`Error::Store`].
    #[doc(alias = "MergeSession")]
    pub fn merge(&mut self, token: &str) -> Result<bool, Error> {
        let Some(token) = Token::parse(token) else { return Ok(false) };
        let key = self.manager.key(&token);
        let Resolved::Live(found) = self.manager.resolve(key.clone())? else {
            return Ok(false);
        };
        let is_own = self.origin.stored().is_some_and(|stored| stored.key == found.key);
        if is_own || self.merged.iter().any(|merged| merged.key == found.key) {
            return Ok(true);
        }
        if found.key != key {
            return Err(Error::Superseded);
        }
        let Found { key, data, content, .. } = found;
        self.merged.push(Merged { key, data, content });
        let kept = Arc::clone(&self.manager.kept_values);
        self.apply_infallible(Change::Merge(self.merged.len() - 1, kept));
        Ok(true)
    }

    /// Sets the session's subject: the id of the user who has logged in. If that is another one than
    /// before, the session gets a new token, as by [`renew`](Self::renew). If the session was another
    /// user's, it begins with empty values and a new lifetime, but for flash values and those that
    /// [`with_kept_values`](SessionManager::with_kept_values) names. The sessions of a subject can be
    /// listed and destroyed ([`SessionManager::sessions_of`], [`SessionManager::destroy_all_of`],
    /// [`destroy_others`](Self::destroy_others)).
    ///
    /// A request with a token that another one has just renewed gets a session of its own: somebody who has
    /// clicked “Log in” twice is logged in, whichever response the browser took.
    ///
    /// # Errors
    /// [`Error::Store`] for a subject that is empty or longer than
    /// [`MAX_SUBJECT_LEN`](store_core::MAX_SUBJECT_LEN) minus the name of the cookie and one.
    #[doc(alias = "log_in")]
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
        // Whoever knew the token before must not be logged in with it.
        self.renew()?;
        self.change_subject(Some(encoded.into()));
        Ok(())
    }

    /// Ends the login and goes on with the session, under a new token: the subject and all values go,
    /// but for flash values and those that [`with_kept_values`](SessionManager::with_kept_values)
    /// names. Where the session has no subject, it does nothing. A logout is better served by
    /// [`destroy`](Self::destroy).
    ///
    /// # Errors
    /// [`Error::Superseded`] where another request has just renewed the session; [`Error::Randomness`].
    pub fn clear_subject(&mut self) -> Result<(), Error> {
        self.check_superseded()?;
        if self.contains(SUBJECT) {
            self.renew()?;
            self.change_subject(None);
        }
        Ok(())
    }

    fn change_subject(&mut self, subject: Option<Arc<[u8]>>) {
        let kept = Arc::clone(&self.manager.kept_values);
        let deadline = self.manager.fresh_deadline();
        self.apply_infallible(Change::Subject(SubjectChange { subject, kept, deadline }));
    }

    /// The session's subject: who has logged in.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        // What isn't a string wasn't written by this crate.
        self.get(SUBJECT).unwrap_or(None)
    }

    /// Destroys all other sessions of this session's subject when it is written: “log out everywhere else”.
    ///
    /// The others end though another request should end this session meanwhile. Sessions that this one
    /// [merges](Self::merge) count as this one.
    ///
    /// # Errors
    /// [`Error::SubjectMissing`] if the session has none; [`Error::Superseded`] where another request
    /// has just renewed the session.
    pub fn destroy_others(&mut self) -> Result<(), Error> {
        self.check_superseded()?;
        self.destroys_others = Some(self.subject().ok_or(Error::SubjectMissing)?);
        Ok(())
    }

    /// What can't be answered without the session that the request looked for.
    fn check_superseded(&self) -> Result<(), Error> {
        self.was_read.set(true);
        match self.origin {
            Origin::Superseded => Err(Error::Superseded),
            Origin::Fresh | Origin::Stored(_) => Ok(()),
        }
    }

    /// Whether the request has something to write. A rotation that is due isn't the request's.
    pub(crate) fn has_changes(&self) -> bool {
        !self.changes.is_empty() || self.new_token.as_ref().is_some_and(|new| !new.old_token_opens)
    }

    /// Whether something was asked of the session.
    pub(crate) fn was_read(&self) -> bool {
        self.was_read.get()
    }

    pub(crate) fn persists(&self) -> bool {
        let remembered = self.content.values.get(REMEMBER_ME, self.data());
        let remembered = remembered.and_then(|value| self.manager.codec.decode_value(value).ok());
        remembered.unwrap_or(self.manager.cookie.is_persistent())
    }

    /// The content with this request's changes.
    fn content(&self) -> &Content {
        self.was_read.set(true);
        &self.content
    }

    /// The bytes that the content was decoded from.
    pub(crate) fn data(&self) -> &[u8] {
        self.origin.data()
    }

    fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        let value = self.manager.codec.encode_value(value);
        let value = value.map_err(|_| Error::unencodable::<T>(key))?;
        self.apply_infallible(Change::Set(key.to_owned(), value.into()));
        Ok(())
    }

    /// Does a change to the content, and remembers it.
    fn change(&mut self, mut change: Change<C>) -> Result<(), Error> {
        self.was_read.set(true);
        let (codec, data) = (&self.manager.codec, self.origin.data());
        self.content.apply(&mut change, codec, data, &self.merged)?;
        self.changes.push(change);
        Ok(())
    }

    /// A change that calls no code of the application's.
    fn apply_infallible(&mut self, change: Change<C>) {
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
        let stored = self.origin.stored().map(|stored| stored.key.fingerprint());
        f.debug_struct("Session")
            .field("stored", &stored)
            .field("merged", &self.merged.len())
            .field("changes", &self.changes.len())
            .field("is_renewed", &self.new_token.is_some())
            .field("is_destroyed", &self.is_destroyed)
            .finish_non_exhaustive()
    }
}

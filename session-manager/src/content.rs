//! The values of a session, still encoded, and the changes that a request makes to them.

use std::ops::Range;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::codec::{Codec, Decoded};
use crate::error::Error;
use crate::token::SessionKey;

/// Values under keys, in the order in which they were first inserted. Sessions have few, so they are looked
/// for one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    entries: Vec<(String, Value)>,
}

/// An encoded value: still in the session's stored bytes, or new.
#[derive(Clone)]
enum Value {
    Stored(Range<usize>),
    New(Arc<[u8]>),
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Values {
    pub(crate) fn stored(places: Vec<(String, Range<usize>)>) -> Self {
        let entries = places.into_iter().map(|(key, place)| (key, Value::Stored(place)));
        Self { entries: entries.collect() }
    }

    /// The encoded value; `data` is what the session was decoded from.
    pub(crate) fn get<'a>(&'a self, key: &str, data: &'a [u8]) -> Option<&'a [u8]> {
        let (_, value) = self.entries.iter().find(|(own, _)| own == key)?;
        Some(value.bytes(data))
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.entries.iter().any(|(own, _)| own == key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| key.as_str())
    }

    pub(crate) fn iter<'a>(&'a self, data: &'a [u8]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.bytes(data)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn set(&mut self, key: &str, new: Arc<[u8]>) {
        match self.entries.iter_mut().find(|(own, _)| own == key) {
            Some((_, value)) => *value = Value::New(new),
            None => self.entries.push((key.to_owned(), Value::New(new))),
        }
    }

    fn remove(&mut self, key: &str) {
        self.entries.retain(|(own, _)| own != key);
    }

    fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.entries.retain(|(key, _)| keep(key));
    }
}

impl Value {
    fn bytes<'a>(&'a self, data: &'a [u8]) -> &'a [u8] {
        match self {
            // A codec that gives places outside the data has a value of no bytes, which decodes to nothing.
            Self::Stored(place) => data.get(place.clone()).unwrap_or_default(),
            Self::New(bytes) => bytes,
        }
    }
}

/// What a request did to its session. It can be done again, to newer data.
pub(crate) enum Change<C> {
    Set(String, Arc<[u8]>),
    Remove(String),
    /// Removes all keys but those that the session keeps for itself.
    Clear,
    Deadline(DateTime<Utc>),
    Update(String, Update<C>),
    /// Takes over the values of the merged session with this number. Of another subject's, only those
    /// with these keys.
    Merge(usize, Arc<[String]>),
    Subject(SubjectChange),
}

/// From the encoded old value, if there is one, to the encoded new one.
pub(crate) type Update<C> = Box<dyn FnMut(&C, Option<&[u8]>) -> Result<Arc<[u8]>, Error> + Send>;

/// Another subject, or none.
pub(crate) struct SubjectChange {
    /// The encoded subject.
    pub(crate) subject: Option<Arc<[u8]>>,
    /// Keys of values that stay when the session passes from one subject to another.
    pub(crate) kept: Arc<[String]>,
    /// When the session ends if it does.
    pub(crate) deadline: DateTime<Utc>,
}

/// A session's content, at some moment of the request.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) deadline: DateTime<Utc>,
    pub(crate) values: Values,
}

/// A session that this one takes over, as it was when it was loaded last.
pub(crate) struct Merged {
    pub(crate) key: SessionKey,
    pub(crate) data: Vec<u8>,
    pub(crate) content: Content,
}

impl Content {
    pub(crate) fn stored(decoded: Decoded) -> Self {
        Self { deadline: decoded.deadline, values: Values::stored(decoded.values) }
    }

    /// Does one change. `data` is what the values were decoded from.
    pub(crate) fn apply<C: Codec>(
        &mut self,
        change: &mut Change<C>,
        codec: &C,
        data: &[u8],
        merged: &[Merged],
    ) -> Result<(), Error> {
        match change {
            Change::Set(key, value) => self.values.set(key, Arc::clone(value)),
            Change::Remove(key) => self.values.remove(key),
            Change::Clear => self.values.retain(is_session_key),
            Change::Deadline(deadline) => self.deadline = *deadline,
            Change::Update(key, update) => {
                let new = update(codec, self.values.get(key, data))?;
                self.values.set(key, new);
            }
            Change::Merge(number, kept) => self.merge(&merged[*number], kept, data),
            Change::Subject(change) => self.change_subject(change, data),
        }
        Ok(())
    }

    /// Values don't pass from one subject to another, nor does what is left of the lifetime.
    fn merge(&mut self, merged: &Merged, kept: &[String], data: &[u8]) {
        let (own, other) = (self.owner(data), merged.content.owner(&merged.data));
        let is_another = own.is_some() && other.is_some() && own != other;
        // The visitor isn't logged in by this, but nobody else may log in over these values.
        let owner: Option<Arc<[u8]>> = if own.is_none() { other.map(Arc::from) } else { None };
        for (key, value) in merged.content.values.iter(&merged.data) {
            let is_taken = if is_another {
                is_kept(key, kept)
            } else {
                key == REMEMBER_ME || !is_session_key(key)
            };
            if is_taken {
                self.values.set(key, value.into());
            }
        }
        if let Some(owner) = owner {
            self.values.set(OWNER, owner);
        }
        if !is_another {
            self.deadline = self.deadline.max(merged.content.deadline);
        }
    }

    /// The encoded subject to whom the values belong, though nobody may be logged in.
    fn owner<'a>(&'a self, data: &'a [u8]) -> Option<&'a [u8]> {
        self.values.get(SUBJECT, data).or_else(|| self.values.get(OWNER, data))
    }

    /// Values don't pass from one subject to another, nor does what is left of the lifetime.
    fn change_subject(&mut self, change: &SubjectChange, data: &[u8]) {
        let old = self.owner(data);
        if old.is_some() && old != change.subject.as_deref() {
            self.values.retain(|key| key == MANAGER || is_kept(key, &change.kept));
            self.deadline = change.deadline;
        }
        self.values.remove(OWNER);
        match &change.subject {
            Some(subject) => self.values.set(SUBJECT, Arc::clone(subject)),
            None => self.values.remove(SUBJECT),
        }
    }
}

/// Whether a value passes from one subject to another.
fn is_kept(key: &str, kept: &[String]) -> bool {
    key.starts_with(FLASH) || kept.iter().any(|k| k == key)
}

/// The key of SCS's `RememberMe`.
pub(crate) const REMEMBER_ME: &str = "__rememberMe";

/// The subject, also in the session itself, so that it needn't be looked up.
pub(crate) const SUBJECT: &str = "__subject";

/// The subject of a merged session, where nobody is logged in: the values are that subject's and
/// nobody else's.
pub(crate) const OWNER: &str = "__owner";

/// Which manager the session is of: how it makes keys from tokens, and the name of its cookie.
pub(crate) const MANAGER: &str = "__manager";

/// When the session got its token, in seconds since 1970, where tokens are rotated by themselves.
pub(crate) const ROTATED: &str = "__rotated";

/// Keys of flash values begin with this.
pub(crate) const FLASH: &str = "__flash.";

/// Whether the key is one of those that stay when the application clears its values.
pub(crate) fn is_session_key(key: &str) -> bool {
    [REMEMBER_ME, SUBJECT, OWNER, MANAGER, ROTATED].contains(&key)
}

/// Whether the key is not the application's.
pub(crate) fn is_reserved(key: &str) -> bool {
    is_session_key(key) || key.starts_with(FLASH)
}

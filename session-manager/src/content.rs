//! The content of a session: its values, still encoded, and its deadline.

pub(crate) mod reserved;

pub(crate) mod values;

pub(crate) mod edit;

pub(crate) mod metadata;

pub(crate) mod typed;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::codec::{Codec, Decoded};
use crate::content::edit::{Edit, SubjectEdit};
use crate::content::metadata::Metadata;
use crate::content::reserved::{
    AUTHENTICATED, CREATED, DEVICE, FLASH, FORM, FORM_BEFORE, ID, IDLE_TIMEOUT, MANAGER, OWNER,
    REMEMBER_ME, ROTATED, SUBJECT, is_session_key,
};
use crate::content::typed::TypedReader;
use crate::content::values::{MAX_VALUES, Values};
use crate::error::Error;
use crate::lifetimes::clamp_deadline;
use crate::session_key::SessionKey;

/// A session's content, at some moment of the request.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) deadline: DateTime<Utc>,
    pub(crate) values: Values,
    /// It isn't the session that was loaded: that belongs to another subject.
    pub(crate) is_another: bool,
}

/// A session that this one takes over, as it was when it was loaded last.
pub(crate) struct Merged {
    pub(crate) key: SessionKey,
    pub(crate) data: Vec<u8>,
    pub(crate) content: Content,
}

impl Content {
    /// Returns what was decoded from `opened` or, if that is `None`, from the session's data in the
    /// store themselves.
    pub(crate) fn from_decoded(decoded: Decoded, opened: Option<Vec<u8>>) -> Self {
        // What wrote the session may know later deadlines than can be written again.
        let deadline = clamp_deadline(decoded.deadline);
        let values = Values::from_ranges(decoded.values, opened);
        Self { deadline, values, is_another: false }
    }

    /// Returns what the session knows about itself. `data` is what the store has.
    pub(crate) fn metadata<'a, C>(&'a self, codec: &'a C, data: &'a [u8]) -> Metadata<'a, C> {
        Metadata { codec, content: self, data }
    }

    /// Returns whether there is nothing that the application or its visitor would miss.
    pub(crate) fn is_bare(&self) -> bool {
        self.values.keys().all(|key| [MANAGER, ROTATED, ID, CREATED].contains(&key))
    }

    /// Refuses values beyond the bound, unless there were as many before.
    pub(crate) fn check_len(&self, before: usize) -> Result<(), Error> {
        if self.values.len() > MAX_VALUES.max(before) {
            return Err(Error::TooManyValues { max: MAX_VALUES });
        }
        Ok(())
    }

    /// Applies one edit. `data` is what the store has.
    pub(crate) fn apply<C: Codec>(
        &mut self,
        edit: &mut Edit<C>,
        reader: &TypedReader<'_, C>,
        data: &[u8],
        merged: &[Merged],
    ) -> Result<(), Error> {
        match edit {
            Edit::Set(key, value) => self.values.set(key, Arc::clone(value)),
            Edit::Remove(key) => self.values.remove(key),
            Edit::Clear => self.values.retain(is_session_key),
            Edit::Deadline(deadline) => self.deadline = *deadline,
            Edit::Update(key, update) => {
                let new = update(reader, self.values.get(key, data))?;
                self.values.set(key, new);
            }
            Edit::Merge(index, kept) => self.merge(&merged[*index], kept, data),
            Edit::Subject(edit) => self.change_subject(edit, data),
            Edit::Form(secret) => match self.values.get(FORM, data) {
                None => self.values.set(FORM, Arc::clone(secret)),
                Some(stored) if *stored == **secret => {}
                // The session has another token by now, and the page's forms would be refused.
                Some(_) => return Err(Error::Superseded),
            },
            Edit::RenewForm(secret, now) => {
                self.renew_form(secret, *now, &reader.manager.codec, data)?;
            }
        }
        Ok(())
    }

    /// Values don't pass from one subject to another, nor does the rest of the lifetime.
    fn merge(&mut self, merged: &Merged, kept: &[String], data: &[u8]) {
        let (own, other) = (self.owner(data), merged.content.owner(&merged.data));
        let is_another = own.is_some() && other.is_some() && own != other;
        // This doesn't log the visitor in, but nobody else may log in over these values.
        let owner: Option<Arc<[u8]>> = if own.is_none() { other.map(Arc::from) } else { None };
        let is_taken = |key: &str| {
            if is_another { is_kept(key, kept) } else { is_preference(key) || !is_session_key(key) }
        };
        let taken = merged.content.values.iter(&merged.data).filter(|(key, _)| is_taken(key));
        self.values.set_all(taken.map(|(key, value)| (key, value.into())));
        if let Some(owner) = owner {
            self.values.set(OWNER, owner);
        }
        if !is_another {
            self.deadline = self.deadline.max(merged.content.deadline);
        }
    }

    /// Returns the encoded subject to whom the values belong, even if nobody is logged in.
    fn owner<'a>(&'a self, data: &'a [u8]) -> Option<&'a [u8]> {
        self.values.get(SUBJECT, data).or_else(|| self.values.get(OWNER, data))
    }

    /// Returns to whom the values belong, even if nobody is logged in.
    pub(crate) fn owner_text<C: Codec>(&self, codec: &C, data: &[u8]) -> Option<String> {
        codec.decode_value(self.owner(data)?).ok()
    }

    fn renew_form<C: Codec>(
        &mut self,
        secret: &Arc<[u8]>,
        now: i64,
        codec: &C,
        data: &[u8],
    ) -> Result<(), Error> {
        let Some(old) = self.values.get(FORM, data) else { return Ok(()) };
        // What isn't a string wasn't written by this crate, and no form has it.
        let old: String = codec.decode_value(old).unwrap_or_default();
        let before: FormBefore = (old, now, self.owner_text(codec, data));
        let before = codec.encode_value(&before);
        let before = before.map_err(|_| Error::unencodable::<FormBefore>(FORM_BEFORE))?;
        self.values.set(FORM_BEFORE, before.into());
        self.values.set(FORM, Arc::clone(secret));
        Ok(())
    }

    /// Values don't pass from one subject to another, nor does the rest of the lifetime.
    fn change_subject(&mut self, edit: &SubjectEdit, data: &[u8]) {
        let old = self.owner(data);
        if old.is_some() && old != edit.subject.as_deref() {
            let is_form = |key: &str| [FORM, FORM_BEFORE].contains(&key);
            self.values.retain(|key| key == MANAGER || is_form(key) || is_kept(key, &edit.kept));
            self.deadline = edit.deadline;
            self.is_another = true;
        }
        self.values.remove(OWNER);
        match &edit.subject {
            Some(subject) => self.values.set(SUBJECT, Arc::clone(subject)),
            None => self.values.remove(SUBJECT),
        }
        // A login that was cleared has no values at all.
        if let Some(authenticated) = &edit.authenticated {
            self.values.set(AUTHENTICATED, Arc::clone(authenticated));
        }
    }
}

/// Returns whether a value of the session's own was set by the application.
fn is_preference(key: &str) -> bool {
    [REMEMBER_ME, IDLE_TIMEOUT, DEVICE].contains(&key)
}

/// The value under [`FORM_BEFORE`]: the secret, when it was replaced, in milliseconds since 1970,
/// and whose the session was until then.
pub(crate) type FormBefore = (String, i64, Option<String>);

/// Returns whether a value passes from one subject to another.
fn is_kept(key: &str, kept: &[String]) -> bool {
    key.starts_with(FLASH) || kept.iter().any(|k| k == key)
}

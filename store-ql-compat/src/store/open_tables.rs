//! The tables of a write transaction, and the steps that writes consist of.
//!
//! Each step leaves the tables consistent with each other.

use redb::{Error as RedbError, ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::format::{Instant, join, split, subject_prefix};
use super::rotations::Rotations;
use super::tables::{Bytes, Tables};

/// The tables of a write transaction.
pub(super) struct OpenTables<'t> {
    names: &'t Tables,
    transaction: &'t WriteTransaction,
    pub(super) sessions: Table<'t, Bytes, Bytes>,
    pub(super) subjects: Table<'t, Bytes, Bytes>,
    pub(super) by_subject: Table<'t, Bytes, ()>,
    /// Opened by the first write that needs them: most don't, and to open a table takes time.
    rotations: Option<Rotations<'t>>,
    /// Whether a live session was given an earlier end than it had.
    pub(super) has_shortened: bool,
}

impl<'t> OpenTables<'t> {
    pub(super) fn new(
        names: &'t Tables,
        transaction: &'t WriteTransaction,
    ) -> Result<Self, RedbError> {
        Ok(Self {
            names,
            transaction,
            sessions: transaction.open_table(names.sessions())?,
            subjects: transaction.open_table(names.subjects())?,
            by_subject: transaction.open_table(names.by_subject())?,
            rotations: None,
            has_shortened: false,
        })
    }

    pub(super) fn rotations(&mut self) -> Result<&mut Rotations<'t>, RedbError> {
        match &mut self.rotations {
            Some(rotations) => Ok(rotations),
            none => Ok(none.insert(Rotations::new(self.names, self.transaction)?)),
        }
    }

    pub(super) fn is_live(&self, token: &[u8], now: Instant) -> Result<bool, RedbError> {
        Ok(self.live(token, now, |_, _| ())?.is_some())
    }

    /// Whether a session is live and has exactly this data.
    pub(super) fn has_data(
        &self,
        token: &[u8],
        data: &[u8],
        now: Instant,
    ) -> Result<bool, RedbError> {
        Ok(self.live(token, now, |_, its| its == data)? == Some(true))
    }

    /// Looks up a live session.
    pub(super) fn live<T>(
        &self,
        token: &[u8],
        now: Instant,
        get: impl FnOnce(Instant, &[u8]) -> T,
    ) -> Result<Option<T>, RedbError> {
        let Some(value) = self.sessions.get(token)? else { return Ok(None) };
        let (expiry, data) = split(value.value())?;
        Ok((now < expiry).then(|| get(expiry, data)))
    }

    /// Creates the session, or overwrites its data and expiry.
    pub(super) fn put(
        &mut self,
        token: &[u8],
        expiry: Instant,
        data: &[u8],
        now: Instant,
    ) -> Result<(), RedbError> {
        let old = match self.sessions.insert(token, &*join(expiry, data))? {
            Some(old) => split(old.value())?.0,
            None => return Ok(()),
        };
        if old <= now {
            // It is a new session, which isn't the expired one's subject's.
            self.unlink(token)?;
        } else if expiry < old {
            self.has_shortened = true;
        }
        Ok(())
    }

    /// Removes all sessions, live or not, and returns how many. Records of rotations lead to
    /// sessions that are gone, and are swept.
    pub(super) fn delete_all(&mut self) -> Result<u64, RedbError> {
        let removed = self.sessions.len()?;
        self.sessions.retain(|_, _| false)?;
        self.subjects.retain(|_, _| false)?;
        self.by_subject.retain(|_, ()| false)?;
        Ok(removed)
    }

    /// Removes a session, live or not, and says whether there was one.
    pub(super) fn delete(&mut self, token: &[u8]) -> Result<bool, RedbError> {
        if self.sessions.remove(token)?.is_none() {
            return Ok(false);
        }
        self.unlink(token)?;
        Ok(true)
    }

    /// Removes a session's row, so that the caller can put it under a token that no live session
    /// has. The subject is linked to the new token.
    pub(super) fn rotate(&mut self, token: &[u8], newest: &[u8]) -> Result<(), RedbError> {
        // An expired session may still have the new token.
        self.delete(newest)?;
        let subject = self.subjects.get(token)?.map(|subject| subject.value().to_vec());
        self.delete(token)?;
        match subject {
            Some(subject) => self.link(newest, &subject),
            None => Ok(()),
        }
    }

    /// Replaces a session's subject, or removes it.
    pub(super) fn set_subject(
        &mut self,
        token: &[u8],
        subject: Option<&str>,
    ) -> Result<(), RedbError> {
        self.unlink(token)?;
        match subject {
            Some(subject) => self.link(token, subject.as_bytes()),
            None => Ok(()),
        }
    }

    /// Links a session to a subject. It must not be linked to another.
    pub(super) fn link(&mut self, token: &[u8], subject: &[u8]) -> Result<(), RedbError> {
        self.subjects.insert(token, subject)?;
        self.by_subject.insert(&*[&subject_prefix(subject), token].concat(), ())?;
        Ok(())
    }

    /// Ends the link of a session to its subject, if it has one.
    pub(super) fn unlink(&mut self, token: &[u8]) -> Result<(), RedbError> {
        let subject = match self.subjects.remove(token)? {
            Some(subject) => subject.value().to_vec(),
            None => return Ok(()),
        };
        self.by_subject.remove(&*[&subject_prefix(&subject), token].concat())?;
        Ok(())
    }
}

//! What a store writes, as pieces of work that any thread can do: so that writers who come at the same time share a
//! transaction.

use redb::{Error as RedbError, ReadableTable};
use store_core::{Change, Error, MAX_SUBJECT_LEN};

use crate::format::{Instant, Opened, join, split, subject_prefix};

/// A change of sessions by the application, or of those that have expired.
pub(crate) enum Write<'a> {
    Change(Change<'a, Instant>),
    /// Removes so many expired sessions at the most.
    Sweep {
        batch_size: usize,
    },
    /// Changes nothing, durably: with it, all that was written before is.
    Flush,
}

/// How many sessions were changed; a renaming can be refused.
pub(crate) type Written = Result<u64, Error>;

impl Write<'_> {
    /// The same for another thread.
    pub(crate) fn to_owned(&self) -> Write<'static> {
        match self {
            Self::Change(change) => Write::Change(change.to_owned()),
            Self::Sweep { batch_size } => Write::Sweep { batch_size: *batch_size },
            Self::Flush => Write::Flush,
        }
    }

    /// Whether it ends a session that a crash must not bring back, or is asked for the sake of the disk. A sweep removes
    /// only what nobody finds anyway. What other changes do to the end of a session shows when they are made, in
    /// [`Opened::has_shortened`].
    pub(crate) fn must_be_durable(&self) -> bool {
        match self {
            Self::Change(
                Change::Rename { .. } | Change::Delete { .. } | Change::DeleteBySubject { .. },
            )
            | Self::Flush => true,
            Self::Change(
                Change::Commit { .. }
                | Change::Replace { .. }
                | Change::Touch { .. }
                | Change::SetSubject { .. },
            )
            | Self::Sweep { .. } => false,
        }
    }

    /// Does it, in a transaction. `now` is from when the transaction had begun.
    pub(crate) fn execute(
        &self,
        tables: &mut Opened<'_>,
        now: Instant,
    ) -> Result<Written, RedbError> {
        match self {
            Self::Change(change) => tables.execute(change, now),
            Self::Sweep { batch_size } => Ok(Ok(tables.delete_expired(*batch_size, now)?)),
            Self::Flush => Ok(Ok(0)),
        }
    }
}

/// Each of these leaves the four tables true to each other.
impl Opened<'_> {
    fn execute(
        &mut self,
        change: &Change<'_, Instant>,
        now: Instant,
    ) -> Result<Written, RedbError> {
        let changed = match change {
            Change::Commit { token, data, expiry } => {
                self.put(token.as_bytes(), *expiry, data, now)?;
                1
            }
            Change::Replace { token, current, data, expiry } => {
                let token = token.as_bytes();
                let is_current = self.live(token, now, |_, data| data == &**current)?;
                if is_current == Some(true) {
                    self.put(token, *expiry, data, now)?;
                }
                u64::from(is_current == Some(true))
            }
            Change::Touch { token, expiry } => {
                let token = token.as_bytes();
                let data = self.live(token, now, |_, data| data.to_vec())?;
                if let Some(data) = &data {
                    self.put(token, *expiry, data, now)?;
                }
                u64::from(data.is_some())
            }
            Change::Rename { token, new_token } => {
                return self.rename(token.as_bytes(), new_token.as_bytes(), now);
            }
            Change::Delete { token } => u64::from(self.delete(token.as_bytes())?),
            Change::SetSubject { token, subject } => {
                let token = token.as_bytes();
                let is_live = self.live(token, now, |_, _| ())?.is_some();
                if is_live {
                    self.untie(token)?;
                    if let Some(subject) = subject {
                        self.tie(token, subject.as_bytes())?;
                    }
                }
                u64::from(is_live)
            }
            Change::DeleteBySubject { subject, except } => self.delete_by_subject(
                subject.as_bytes(),
                except.as_deref().map(str::as_bytes),
                now,
            )?,
        };
        Ok(Ok(changed))
    }

    /// What is in a live session.
    fn live<T>(
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
    fn put(
        &mut self,
        token: &[u8],
        expiry: Instant,
        data: &[u8],
        now: Instant,
    ) -> Result<(), RedbError> {
        let value = join(expiry, data);
        let old = match self.sessions.insert(token, &*value)? {
            Some(old) => Some(split(old.value())?.0),
            None => None,
        };
        if old == Some(expiry) && now < expiry {
            return Ok(());
        }
        if let Some(old) = old {
            self.expiries.remove(&*join(old, token))?;
            if old <= now {
                // A new session, which isn't of the expired one's subject.
                self.untie(token)?;
            } else if expiry < old {
                self.has_shortened = true;
            }
        }
        self.expiries.insert(&*join(expiry, token), ())?;
        Ok(())
    }

    /// Removes a session, live or not, and says whether there was one.
    fn delete(&mut self, token: &[u8]) -> Result<bool, RedbError> {
        let expiry = match self.sessions.remove(token)? {
            Some(value) => split(value.value())?.0,
            None => return Ok(false),
        };
        self.expiries.remove(&*join(expiry, token))?;
        self.untie(token)?;
        Ok(true)
    }

    fn rename(
        &mut self,
        token: &[u8],
        new_token: &[u8],
        now: Instant,
    ) -> Result<Written, RedbError> {
        let Some((expiry, data)) = self.live(token, now, |expiry, data| (expiry, data.to_vec()))?
        else {
            return Ok(Ok(0));
        };
        if token == new_token {
            return Ok(Ok(1));
        }
        if self.live(new_token, now, |_, _| ())?.is_some() {
            return Ok(Err(Error::TokenTaken));
        }
        let subject = self.subjects.get(token)?.map(|subject| subject.value().to_vec());
        self.delete(token)?;
        // An expired session may still be in the way.
        self.delete(new_token)?;
        self.put(new_token, expiry, &data, now)?;
        if let Some(subject) = subject {
            self.tie(new_token, &subject)?;
        }
        Ok(Ok(1))
    }

    /// Removes the sessions that expired first, and gives how many.
    fn delete_expired(&mut self, batch_size: usize, now: Instant) -> Result<u64, RedbError> {
        let mut expired = Vec::new();
        for row in self.expiries.iter()?.take(batch_size) {
            let key = row?.0;
            if split(key.value())?.0 > now {
                break;
            }
            expired.push(key.value().to_vec());
        }
        for key in &expired {
            let (expiry, token) = split(key)?;
            self.expiries.remove(&**key)?;
            // The index is true; where a damaged one isn't, no live session may go with it.
            let is_it = match self.sessions.get(token)? {
                Some(value) => split(value.value())?.0 == expiry,
                None => false,
            };
            if is_it {
                self.sessions.remove(token)?;
                self.untie(token)?;
            }
        }
        Ok(expired.len() as u64)
    }

    fn tie(&mut self, token: &[u8], subject: &[u8]) -> Result<(), RedbError> {
        self.subjects.insert(token, subject)?;
        self.by_subject.insert(&*[&subject_prefix(subject), token].concat(), ())?;
        Ok(())
    }

    fn untie(&mut self, token: &[u8]) -> Result<(), RedbError> {
        let subject = match self.subjects.remove(token)? {
            Some(subject) => subject.value().to_vec(),
            None => return Ok(()),
        };
        self.by_subject.remove(&*[&subject_prefix(&subject), token].concat())?;
        Ok(())
    }

    /// Removes the live sessions of a subject but one, and gives how many. Expired ones are left to the sweep.
    fn delete_by_subject(
        &mut self,
        subject: &[u8],
        except: Option<&[u8]>,
        now: Instant,
    ) -> Result<u64, RedbError> {
        let mut deleted = 0;
        for token in tokens_of(&self.by_subject, subject)? {
            if except != Some(&*token) && self.live(&token, now, |_, _| ())?.is_some() {
                self.delete(&token)?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

/// The tokens that are tied to a subject, of live sessions and others.
pub(crate) fn tokens_of(
    by_subject: &impl ReadableTable<&'static [u8], ()>,
    subject: &[u8],
) -> Result<Vec<Vec<u8>>, RedbError> {
    let mut tokens = Vec::new();
    // A longer one has no sessions, and no length in one byte: it would meet the keys of the subject that it begins with,
    // and take parts of their tokens for others' tokens.
    if subject.len() > MAX_SUBJECT_LEN {
        return Ok(tokens);
    }
    let prefix = subject_prefix(subject);
    for row in by_subject.range(&*prefix..)? {
        let key = row?.0;
        let Some(token) = key.value().strip_prefix(&*prefix) else { break };
        tokens.push(token.to_vec());
    }
    Ok(tokens)
}

//! What a store writes, as pieces of work that any thread can do: so that writers who come at the
//! same time share a transaction.

use redb::{Error as RedbError, ReadableTable};
use store_core::backend::Operation;
use store_core::{Change, Error, MAX_SUBJECT_LEN, Rotation};

use super::format::{Instant, Opened, instant, join, split, subject_prefix, text, to_utc};
use super::rotations::Rotated;

/// An operation of the application, or one of the store's own.
pub(crate) enum Write<'a> {
    Operation(Operation<'a>),
    /// Removes this many expired sessions and ended rotations at most.
    Sweep {
        batch_size: usize,
    },
    /// Changes nothing, durably: with it, all that was written before is.
    Flush,
}

/// What a write did. A token can be taken.
pub(crate) type Written = Result<Done, Error>;

/// What a write did that was possible.
pub(crate) struct Done {
    /// How many sessions it changed.
    pub(crate) sessions: u64,
    /// Whether a sweep has left something.
    pub(crate) has_more: bool,
}

impl Write<'_> {
    /// The same for another thread.
    pub(crate) fn to_static(&self) -> Write<'static> {
        match self {
            Self::Operation(operation) => Write::Operation(operation.to_static()),
            Self::Sweep { batch_size } => Write::Sweep { batch_size: *batch_size },
            Self::Flush => Write::Flush,
        }
    }

    /// Whether it ends a session, a token or a login that a crash must not bring back, or is asked
    /// for the sake of the disk. A sweep removes only what nobody finds anyway. What other writes do
    /// to the end of a session shows when they are made, in [`Opened::has_shortened`].
    pub(crate) fn must_be_durable(&self) -> bool {
        match self {
            Self::Operation(Operation::Update { change, .. }) => {
                change.rotation.is_some() || change.subject.is_some() || !change.absorbed.is_empty()
            }
            Self::Operation(Operation::Delete { .. } | Operation::DeleteBySubject { .. })
            | Self::Flush => true,
            Self::Operation(
                Operation::Commit { .. } | Operation::Create { .. } | Operation::Touch { .. },
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
        let done = |sessions| Done { sessions, has_more: false };
        match self {
            Self::Operation(operation) => Ok(tables.execute(operation, now)?.map(done)),
            Self::Sweep { batch_size } => tables.sweep(*batch_size, now).map(Ok),
            Self::Flush => Ok(Ok(done(0))),
        }
    }
}

/// Each of these leaves the tables true to each other.
impl Opened<'_> {
    /// Returns how many sessions were changed.
    fn execute(
        &mut self,
        operation: &Operation<'_>,
        now: Instant,
    ) -> Result<Result<u64, Error>, RedbError> {
        let changed = match operation {
            Operation::Commit { token, data, expiry } => {
                self.put(token.as_bytes(), instant(*expiry), data, now)?;
                1
            }
            Operation::Create { token, data, expiry, subject } => {
                let token = token.as_bytes();
                if self.is_live(token, now)? {
                    return Ok(Err(Error::TokenTaken));
                }
                self.put(token, instant(*expiry), data, now)?;
                if let Some(subject) = subject {
                    self.tie(token, subject.as_bytes())?;
                }
                1
            }
            Operation::Update { token, current, change } => {
                return self.update(token.as_bytes(), current, change, now);
            }
            Operation::Touch { token, expiry } => {
                let token = token.as_bytes();
                let data = self.live(token, now, |_, data| data.to_vec())?;
                if let Some(data) = &data {
                    self.put(token, instant(*expiry), data, now)?;
                }
                u64::from(data.is_some())
            }
            Operation::Delete { token } => match self.live_or_rotated(token.as_bytes(), now)? {
                Some(token) => u64::from(self.delete(&token)?),
                None => 0,
            },
            Operation::DeleteBySubject { subject, except } => {
                let except = match except {
                    Some(except) => self.live_or_rotated(except.as_bytes(), now)?,
                    None => None,
                };
                self.delete_by_subject(subject.as_bytes(), except.as_deref(), now)?
            }
        };
        Ok(Ok(changed))
    }

    /// Does all of a change, or nothing, and returns how many sessions were changed.
    fn update(
        &mut self,
        token: &[u8],
        current: &[u8],
        change: &Change<'_>,
        now: Instant,
    ) -> Result<Result<u64, Error>, RedbError> {
        // The transaction is shared with other writes, so nothing is written before all is known to
        // be possible.
        if !self.has_data(token, current, now)? {
            return Ok(Ok(0));
        }
        for absorbed in &change.absorbed {
            let other = absorbed.token.as_bytes();
            if other == token || !self.has_data(other, &absorbed.data, now)? {
                return Ok(Ok(0));
            }
        }
        let rotation = change.rotation.as_ref();
        let rotation = rotation.filter(|rotation| rotation.new_token.as_bytes() != token);
        if let Some(rotation) = rotation
            && self.is_live(rotation.new_token.as_bytes(), now)?
        {
            return Ok(Err(Error::TokenTaken));
        }

        if !change.absorbed.is_empty() {
            let text = text(token)?;
            for absorbed in &change.absorbed {
                let absorbed = absorbed.token.as_bytes();
                self.delete(absorbed)?;
                self.record(absorbed, &change.absorption(text), now)?;
            }
        }
        let mut newest = token;
        if let Some(rotation) = rotation {
            newest = rotation.new_token.as_bytes();
            self.rotate(token, newest)?;
            self.record(token, rotation, now)?;
        }
        self.put(newest, instant(change.expiry), &change.data, now)?;
        if let Some(subject) = &change.subject {
            self.set_subject(newest, subject.as_deref())?;
        }
        Ok(Ok(1))
    }

    fn is_live(&self, token: &[u8], now: Instant) -> Result<bool, RedbError> {
        Ok(self.live(token, now, |_, _| ())?.is_some())
    }

    /// Whether a session is live and has exactly this data.
    fn has_data(&self, token: &[u8], data: &[u8], now: Instant) -> Result<bool, RedbError> {
        Ok(self.live(token, now, |_, its| its == data)? == Some(true))
    }

    /// The token under which the session is live that this token names, or named until a moment ago.
    fn live_or_rotated(
        &mut self,
        token: &[u8],
        now: Instant,
    ) -> Result<Option<Vec<u8>>, RedbError> {
        if self.is_live(token, now)? {
            return Ok(Some(token.to_vec()));
        }
        let Some(newest) = self.rotations()?.newest(token, now)? else { return Ok(None) };
        Ok(self.is_live(&newest, now)?.then_some(newest))
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

    /// Removes a session's row, so that it can be put under a token that no live session has. Its
    /// subject is there already.
    fn rotate(&mut self, token: &[u8], newest: &[u8]) -> Result<(), RedbError> {
        // An expired session may still have the new token.
        self.delete(newest)?;
        let subject = self.subjects.get(token)?.map(|subject| subject.value().to_vec());
        self.delete(token)?;
        match subject {
            Some(subject) => self.tie(newest, &subject),
            None => Ok(()),
        }
    }

    /// Records what becomes of an old token.
    fn record(
        &mut self,
        token: &[u8],
        rotation: &Rotation<'_>,
        now: Instant,
    ) -> Result<(), RedbError> {
        let (from, until) = rotation.window(to_utc(now)?);
        let (from, until) = (instant(from), instant(until));
        let newest = rotation.new_token.as_bytes();
        let rotated = Rotated { from, until, opens: rotation.old_token_opens, newest };
        self.rotations()?.record(token, rotated)
    }

    /// Removes what has come to its end, the earliest first.
    fn sweep(&mut self, batch_size: usize, now: Instant) -> Result<Done, RedbError> {
        let sessions = self.delete_expired(batch_size, now)?;
        let mut removed = sessions;
        if removed < batch_size {
            removed += self.rotations()?.delete_ended(batch_size - removed, now)?;
        }
        Ok(Done { sessions: sessions as u64, has_more: removed == batch_size })
    }

    /// Removes the sessions that expired first, and returns how many.
    fn delete_expired(&mut self, batch_size: usize, now: Instant) -> Result<usize, RedbError> {
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
        Ok(expired.len())
    }

    /// Replaces a session's subject, or removes it.
    fn set_subject(&mut self, token: &[u8], subject: Option<&str>) -> Result<(), RedbError> {
        self.untie(token)?;
        match subject {
            Some(subject) => self.tie(token, subject.as_bytes()),
            None => Ok(()),
        }
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

    /// Removes the live sessions of a subject but one, and gives how many. Expired ones are left to
    /// the sweep.
    fn delete_by_subject(
        &mut self,
        subject: &[u8],
        except: Option<&[u8]>,
        now: Instant,
    ) -> Result<u64, RedbError> {
        let mut deleted = 0;
        for token in tokens_of(&self.by_subject, subject)? {
            if except != Some(&*token) && self.is_live(&token, now)? {
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
    // A longer one has no sessions, and no length in one byte: it would meet the keys of the subject
    // that it begins with, and take parts of their tokens for others' tokens.
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

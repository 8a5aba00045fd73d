//! Writes, as values that any thread can execute, so that concurrent writers share a transaction.

use redb::Error as RedbError;
use store_core::backend::Operation;
use store_core::{Change, Error, Rotation};

use super::cleanup::Expired;
use super::format::{Instant, to_instant, to_text, to_utc};
use super::open_tables::OpenTables;
use super::read::tokens_of;
use super::rotations::Rotated;

/// An operation of the application, or one of the store's own.
pub(super) enum Write<'a> {
    Operation(Operation<'a>),
    /// Removes what a step of the cleanup has found, unless it is in effect again.
    Remove(Expired),
    /// Changes nothing, durably: with it, everything that was written before becomes durable.
    Flush,
}

/// What a write did, or the error that is its own and doesn't fail the transaction: a token is
/// taken.
pub(super) type WriteResult = Result<Done, Error>;

/// What a write did.
pub(super) struct Done {
    /// How many sessions it changed.
    pub(super) sessions: u64,
}

impl Write<'_> {
    /// Returns how many bytes of data there are to write.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Operation(operation) => operation.bytes(),
            Self::Remove(_) | Self::Flush => 0,
        }
    }

    /// Returns the same write for another thread.
    pub(super) fn to_static(&self) -> Write<'static> {
        match self {
            Self::Operation(operation) => Write::Operation(operation.to_static()),
            Self::Remove(expired) => Write::Remove(expired.clone()),
            Self::Flush => Write::Flush,
        }
    }

    /// Whether it is the cleanup's, which lets others go first.
    pub(super) fn is_background(&self) -> bool {
        matches!(self, Self::Remove(_))
    }

    /// Whether it ends a session, a token or a login that a crash must not bring back, or is a
    /// flush. What cleanup removes isn't found anyway. Whether another write lets a session end
    /// sooner is known once it is executed: [`OpenTables::has_shortened`].
    pub(super) fn must_be_durable(&self) -> bool {
        match self {
            Self::Operation(Operation::Update { change, .. }) => {
                change.rotation.is_some() || change.subject.is_some() || !change.absorbed.is_empty()
            }
            Self::Operation(Operation::Create { change, .. }) => !change.absorbed.is_empty(),
            Self::Operation(
                Operation::Delete { .. } | Operation::DeleteBySubject { .. } | Operation::DeleteAll,
            )
            | Self::Flush => true,
            Self::Operation(Operation::Commit { .. } | Operation::Touch { .. })
            | Self::Remove(_) => false,
        }
    }

    /// Executes it in a transaction. `now` is from after the transaction began.
    pub(super) fn execute(
        &self,
        tables: &mut OpenTables<'_>,
        now: Instant,
    ) -> Result<WriteResult, RedbError> {
        let done = |sessions| Done { sessions };
        match self {
            Self::Operation(operation) => Ok(tables.execute(operation, now)?.map(done)),
            Self::Remove(expired) => Ok(Ok(done(tables.remove(expired, now)?))),
            Self::Flush => Ok(Ok(done(0))),
        }
    }
}

/// Each of these leaves the tables consistent with each other.
impl OpenTables<'_> {
    /// Returns how many sessions were changed.
    fn execute(
        &mut self,
        operation: &Operation<'_>,
        now: Instant,
    ) -> Result<Result<u64, Error>, RedbError> {
        let changed = match operation {
            Operation::Commit { token, data, expiry } => {
                self.put(token.as_bytes(), to_instant(*expiry), data, now)?;
                1
            }
            Operation::Create { token, change } => {
                return self.create(token.as_bytes(), change, now);
            }
            Operation::Update { token, current, change } => {
                return self.update(token.as_bytes(), current, change, now);
            }
            Operation::Touch { token, expiry } => {
                let token = token.as_bytes();
                let data = self.live(token, now, |_, data| data.to_vec())?;
                if let Some(data) = &data {
                    self.put(token, to_instant(*expiry), data, now)?;
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
            Operation::DeleteAll => self.delete_all()?,
        };
        Ok(Ok(changed))
    }

    /// Makes a session by all of a change, or by none of it, and returns how many sessions were
    /// made.
    fn create(
        &mut self,
        token: &[u8],
        change: &Change<'_>,
        now: Instant,
    ) -> Result<Result<u64, Error>, RedbError> {
        let expiry = match change.first_expiry() {
            Ok(expiry) => to_instant(expiry),
            Err(error) => return Ok(Err(error)),
        };
        // As for an update, nothing is written before all of it is known to be possible.
        if !self.conditions_hold(token, change, now)? {
            return Ok(Ok(0));
        }
        if self.is_live(token, now)? {
            return Ok(Err(Error::TokenTaken));
        }
        self.absorb(token, change, now)?;
        self.put(token, expiry, &change.data, now)?;
        if let Some(subject) = change.new_subject() {
            self.link(token, subject.as_bytes())?;
        }
        Ok(Ok(1))
    }

    /// Makes all of a change, or none of it, and returns how many sessions were changed.
    fn update(
        &mut self,
        token: &[u8],
        current: &[u8],
        change: &Change<'_>,
        now: Instant,
    ) -> Result<Result<u64, Error>, RedbError> {
        // The transaction is shared with other writes and can't be rolled back for this one alone,
        // so nothing is written before all of the change is known to be possible.
        let matching = |expiry, data: &[u8]| (data == current).then_some(expiry);
        let Some(expiry) = self.live(token, now, matching)?.flatten() else {
            return Ok(Ok(0));
        };
        let expiry = change.expiry.map_or(expiry, to_instant);
        if !self.conditions_hold(token, change, now)? {
            return Ok(Ok(0));
        }
        let rotation = change.rotation.as_ref();
        let rotation = rotation.filter(|rotation| rotation.new_token.as_bytes() != token);
        if let Some(rotation) = rotation
            && self.is_live(rotation.new_token.as_bytes(), now)?
        {
            return Ok(Err(Error::TokenTaken));
        }

        // From here on nothing but a failure of redb stops the change, and that ends the
        // transaction.
        self.absorb(token, change, now)?;
        let mut newest = token;
        if let Some(rotation) = rotation {
            newest = rotation.new_token.as_bytes();
            self.rotate(token, newest)?;
            self.record(token, rotation, now)?;
        }
        self.put(newest, expiry, &change.data, now)?;
        if let Some(subject) = &change.subject {
            self.set_subject(newest, subject.as_deref())?;
        }
        Ok(Ok(1))
    }

    /// Returns whether a change's conditions on sessions other than its own hold.
    fn conditions_hold(
        &self,
        token: &[u8],
        change: &Change<'_>,
        now: Instant,
    ) -> Result<bool, RedbError> {
        for absorbed in &change.absorbed {
            let other = absorbed.token.as_bytes();
            if other == token || !self.has_data(other, &absorbed.data, now)? {
                return Ok(false);
            }
        }
        let Some(expected) = &change.expected_sessions else { return Ok(true) };
        let tokens = tokens_of(&self.by_subject, expected.subject.as_bytes())?;
        let mut live = Vec::new();
        for token in &tokens {
            if self.is_live(token, now)? {
                live.push(to_text(token)?);
            }
        }
        Ok(expected.are(live))
    }

    /// Ends the sessions that a change absorbs, and leads their tokens to its own if they are to.
    fn absorb(&mut self, token: &[u8], change: &Change<'_>, now: Instant) -> Result<(), RedbError> {
        for absorbed in &change.absorbed {
            let other = absorbed.token.as_bytes();
            self.delete(other)?;
            if absorbed.leads_on {
                self.record(other, &change.absorption(to_text(token)?), now)?;
            }
        }
        Ok(())
    }

    /// Returns the token of the live session that this token names, or named until a moment ago.
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

    /// Records what has become of an old token.
    fn record(
        &mut self,
        token: &[u8],
        rotation: &Rotation<'_>,
        now: Instant,
    ) -> Result<(), RedbError> {
        let (from, until) = rotation.window(to_utc(now)?);
        let (from, until) = (to_instant(from), to_instant(until));
        let newest = rotation.new_token.as_bytes();
        let rotated = Rotated { from, until, opens: rotation.old_token_opens, newest };
        self.rotations()?.record(token, rotated)
    }

    /// Removes what had expired, unless it is in effect again, and returns how many sessions that
    /// were.
    fn remove(&mut self, expired: &Expired, now: Instant) -> Result<u64, RedbError> {
        let mut removed = 0;
        for token in &expired.sessions {
            if !self.is_live(token, now)? {
                removed += u64::from(self.delete(token)?);
            }
        }
        for token in &expired.rotations {
            self.rotations()?.delete_if_ended(token, now)?;
        }
        Ok(removed)
    }

    /// Removes the live sessions of a subject except one, and returns how many. Expired ones are
    /// left to the cleanup.
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

//! How one session gets from the old store to the new one, whoever is killed meanwhile.

use std::ops::ControlFlow;

use chrono::TimeDelta;

use super::marks::{self, Form};
use super::place::Place;
use super::report::MoveReport;
use crate::parallel_walk::for_each_parallel;
use crate::sync::{Arc, Mutex, PoisonError};
use crate::{Absorbed, Change, Error, Loaded, OwnedRecord, Record, Rotation, Store};

/// How often an operation begins again because others have changed the same sessions.
pub(super) const ATTEMPTS: usize = 1_000;

/// How long a fence holds. A process that doesn't get to the next step by then sets up another.
const FENCE: TimeDelta = TimeDelta::minutes(1);

pub(super) struct Mover {
    pub(super) old: Arc<dyn Store>,
    pub(super) new: Arc<dyn Store>,
}

/// What became of a session that was to be moved.
enum Moved {
    /// It is not in the old store under this token.
    Gone,
    /// It is in the new store.
    Done,
    /// The new store refuses it.
    Refused(Error),
}

/// What became of one step.
enum Step {
    Done,
    Refused(Error),
    /// Another process has changed something: look again.
    Again,
}

/// What became of a session of the new store that was to be ended.
enum Ended {
    Yes,
    /// It has this token since, or belongs to the session that has.
    Rotated(String),
    Missing,
}

pub(super) fn contended() -> Error {
    let source = "others moved or changed the same sessions again and again".into();
    Error::Contended { source }
}

pub(super) fn is_stub(loaded: &Loaded) -> bool {
    matches!(loaded, Loaded::Live { data, .. } if Form::of(data) == Form::Stub)
}

/// Whether the store says that it can't hold such a session.
pub(crate) fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidToken(_)
            | Error::DataTooLarge { .. }
            | Error::ExpiryOutOfRange { .. }
            | Error::InvalidSubject { .. }
    )
}

/// Ends a session if it has this data, and only under this token.
pub(crate) fn end(store: &dyn Store, token: &str, data: &[u8]) -> Result<bool, Error> {
    store.update(token, data, &Change::new(b"", store.now() - TimeDelta::hours(1)))
}

impl Mover {
    pub(super) fn new(old: Arc<dyn Store>, new: Arc<dyn Store>) -> Self {
        Self { old, new }
    }

    pub(super) fn is_marked(absorbed: &Absorbed<'_>) -> bool {
        marks::is_marked(&absorbed.data)
    }

    /// Looks in the new store, then in the old one.
    pub(super) fn load(&self, token: &str) -> Result<Loaded, Error> {
        for _ in 0..ATTEMPTS {
            let new = self.new.load(token)?;
            if Self::is_session(&new) {
                return Ok(new);
            }
            match self.old.load(token)? {
                Loaded::Live { data, expiry } => match Form::of(&data) {
                    // Until the new store has it, what is frozen is what the session is.
                    Form::Frozen(data) => return Ok(Loaded::Live { data: data.to_vec(), expiry }),
                    Form::Plain(_) => return Ok(Loaded::Live { data, expiry }),
                    // It may have come to the new store since that was asked.
                    Form::Stub => match self.new.load(token)? {
                        Loaded::Live { data, .. } if marks::is_marked(&data) => {
                            end(&*self.new, token, &data)?;
                        }
                        found => return Ok(found),
                    },
                },
                Loaded::Rotated { token: newest, opens } if new == Loaded::Missing => {
                    match self.old.load(&newest)? {
                        Loaded::Live { data, .. } if Form::of(&data) == Form::Stub => {
                            return Ok(match self.new.load(&newest)? {
                                Loaded::Live { .. } => Loaded::Rotated { token: newest, opens },
                                Loaded::Rotated { token, opens: later } => {
                                    Loaded::Rotated { token, opens: opens && later }
                                }
                                Loaded::Missing => Loaded::Missing,
                            });
                        }
                        Loaded::Live { .. } => return Ok(Loaded::Rotated { token: newest, opens }),
                        // It was rotated or has ended since.
                        Loaded::Rotated { .. } | Loaded::Missing => {}
                    }
                }
                Loaded::Rotated { .. } | Loaded::Missing => match new {
                    // What a process that came too late has left. It hides a rotation.
                    Loaded::Live { data, .. } => drop(end(&*self.new, token, &data)?),
                    found => return Ok(found),
                },
            }
        }
        Err(contended())
    }

    /// Whether the new store has a session under a token, and not just a mark.
    pub(super) fn is_session(new: &Loaded) -> bool {
        matches!(new, Loaded::Live { data, .. } if !marks::is_marked(data))
    }

    /// Ends a session in both stores, under the newest of its tokens.
    ///
    /// The old store comes first: see step 3 of the [module](super). What is there under the token
    /// says where else the session can be, because it is ended only if it is still that.
    pub(super) fn delete(&self, token: &str) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let new = self.new.load(token)?;
            match self.old.load(token)? {
                Loaded::Live { data, .. } => {
                    if !end(&*self.old, token, &data)? {
                        continue;
                    }
                    return match Form::of(&data) {
                        // Nothing of it was in the new store, unless it was there before.
                        Form::Plain(_) if !Self::is_session(&new) => Ok(()),
                        _ => self.delete_moved(token),
                    };
                }
                Loaded::Rotated { token: newest, .. } if new == Loaded::Missing => {
                    return self.delete(&newest);
                }
                Loaded::Rotated { .. } | Loaded::Missing => match new {
                    // It hides a rotation.
                    Loaded::Live { data, .. } if marks::is_marked(&data) => {
                        end(&*self.new, token, &data)?;
                    }
                    // No process is moving it, so nothing hides a rotation now.
                    _ => return self.new.delete(token),
                },
            }
        }
        Err(contended())
    }

    /// Ends a session in the new store that has ended in the old one, where it was frozen or
    /// a stub.
    fn delete_moved(&self, token: &str) -> Result<(), Error> {
        match self.end_moved(token)? {
            Ended::Rotated(newest) => self.new.delete(&newest),
            Ended::Yes | Ended::Missing => Ok(()),
        }
    }

    fn end_moved(&self, token: &str) -> Result<Ended, Error> {
        for _ in 0..ATTEMPTS {
            match self.new.load(token)? {
                Loaded::Live { data, .. } => {
                    // If it was a fence, it may have hidden a rotation.
                    if end(&*self.new, token, &data)? && !marks::is_marked(&data) {
                        return Ok(Ended::Yes);
                    }
                }
                Loaded::Rotated { token: newest, .. } => return Ok(Ended::Rotated(newest)),
                Loaded::Missing => return Ok(Ended::Missing),
            }
        }
        Err(contended())
    }

    /// Ends a session in both stores if it has this token, and returns whether it did. It may have
    /// been rotated, or another session have absorbed it, which goes on.
    pub(super) fn delete_under(&self, token: &str) -> Result<bool, Error> {
        for _ in 0..ATTEMPTS {
            let has_ended = match self.old.load(token)? {
                Loaded::Live { data, .. } => {
                    if !end(&*self.old, token, &data)? {
                        continue;
                    }
                    // What a stub stands for may be there no more.
                    Form::of(&data) != Form::Stub
                }
                Loaded::Rotated { .. } | Loaded::Missing => false,
            };
            return Ok(has_ended | matches!(self.end_moved(token)?, Ended::Yes));
        }
        Err(contended())
    }

    /// Whether the old store alone has to do with these tokens, and with a subject, as far as one
    /// can see: nothing of them has moved, or has begun to.
    pub(super) fn are_all_in_old(
        &self,
        tokens: &[&str],
        subject: Option<&str>,
    ) -> Result<bool, Error> {
        for token in tokens {
            let is_in_old = match self.old.load(token)? {
                Loaded::Live { data, .. } => matches!(Form::of(&data), Form::Plain(_)),
                Loaded::Rotated { .. } | Loaded::Missing => true,
            };
            if !is_in_old || Self::is_session(&self.new.load(token)?) {
                return Ok(false);
            }
        }
        let Some(subject) = subject else { return Ok(true) };
        let old = self.old.find_by_subject(subject)?;
        Ok(old.iter().all(|record| matches!(Form::of(&record.data), Form::Plain(_)))
            && self.new.find_by_subject(subject)?.is_empty())
    }

    /// Moves these sessions, and those of a subject. If the new store refuses one of them, all are
    /// to be used in the old one, if they are there.
    pub(super) fn bring_all(&self, tokens: &[&str], subject: Option<&str>) -> Result<Place, Error> {
        match self.bring_each(tokens, subject)? {
            None => Ok(Place::New),
            Some(_) if self.are_all_in_old(tokens, subject)? => Ok(Place::Old),
            Some(refusal) => Err(refusal),
        }
    }

    /// Moves these sessions, and those of a subject, and returns why the new store refuses one of
    /// them.
    pub(super) fn bring_each(
        &self,
        tokens: &[&str],
        subject: Option<&str>,
    ) -> Result<Option<Error>, Error> {
        let of_subject = match subject {
            Some(subject) => self.old_sessions_of(subject)?,
            None => Vec::new(),
        };
        let of_subject = of_subject.iter().map(|record| &*record.token);
        let mut refusal = None;
        for token in of_subject.chain(tokens.iter().copied()) {
            if let Moved::Refused(error) = self.bring(token)? {
                refusal = Some(error);
            }
        }
        Ok(refusal)
    }

    /// Moves a session, or finishes what another process has begun.
    fn bring(&self, token: &str) -> Result<Moved, Error> {
        for _ in 0..ATTEMPTS {
            let Loaded::Live { data, expiry } = self.old.load(token)? else {
                return Ok(Moved::Gone);
            };
            match Form::of(&data) {
                Form::Stub => return Ok(Moved::Done),
                Form::Plain(data) => {
                    let frozen = marks::frozen(data);
                    match self.old.update(token, data, &Change::keeping_expiry(&frozen)) {
                        // The mark makes it too long, for the old store already.
                        Err(error) if is_refusal(&error) => return Ok(Moved::Refused(error)),
                        // It is frozen, or another process has changed it.
                        outcome => drop(outcome?),
                    }
                }
                Form::Frozen(plain) => {
                    match self.finish(token, &data, &Change::new(plain, expiry))? {
                        Step::Done => return Ok(Moved::Done),
                        Step::Refused(error) => return Ok(Moved::Refused(error)),
                        Step::Again => {}
                    }
                }
            }
        }
        Err(contended())
    }

    /// Steps 2 to 4, of a session whose data in the old store is `frozen`.
    fn finish(&self, token: &str, frozen: &[u8], session: &Change<'_>) -> Result<Step, Error> {
        let fence = match self.new.load(token)? {
            // That of another process serves as well: it was there before the old store is asked.
            Loaded::Live { data, .. } if marks::is_fence(&data) => data,
            // The stub of an earlier move in the other direction.
            Loaded::Live { data, .. } if marks::is_marked(&data) => {
                end(&*self.new, token, &data)?;
                return Ok(Step::Again);
            }
            // Another process has come as far as step 3.
            Loaded::Live { .. } => return self.leave_stub(token, frozen),
            // A rotation is one of an earlier session: what has come here was a stub before it was
            // rotated.
            Loaded::Rotated { .. } | Loaded::Missing => {
                let fence = marks::new_fence();
                match self.new.create(token, &fence, self.new.now() + FENCE, None) {
                    Ok(()) => fence,
                    Err(Error::TokenTaken) => return Ok(Step::Again),
                    Err(error) if is_refusal(&error) => {
                        return self.thaw(token, frozen, session, error);
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        // Nobody changes the subject of what is frozen.
        let subject = self.old.subject_of(token)?;
        let is_there = |loaded| matches!(loaded, Loaded::Live { data, .. } if data == frozen);
        if !is_there(self.old.load(token)?) {
            end(&*self.new, token, &fence)?;
            return Ok(Step::Again);
        }
        let change = session.clone().with_subject(subject.as_deref());
        match self.new.update(token, &fence, &change) {
            Ok(true) => self.leave_stub(token, frozen),
            Ok(false) => Ok(Step::Again),
            Err(error) if is_refusal(&error) => {
                // Without its fence no other process can finish what this one gives up.
                if end(&*self.new, token, &fence)? {
                    self.thaw(token, frozen, session, error)
                } else {
                    Ok(Step::Again)
                }
            }
            Err(error) => Err(error),
        }
    }

    fn leave_stub(&self, token: &str, frozen: &[u8]) -> Result<Step, Error> {
        let grace = TimeDelta::from_std(Rotation::MAX_GRACE).unwrap_or(TimeDelta::days(1));
        let stub = marks::stub();
        let change = Change::new(&stub, self.old.now() + grace).with_subject(None);
        // If it isn't frozen any more, another process has done it, or has ended the session.
        self.old.update(token, frozen, &change)?;
        Ok(Step::Done)
    }

    fn thaw(
        &self,
        token: &str,
        frozen: &[u8],
        session: &Change<'_>,
        refusal: Error,
    ) -> Result<Step, Error> {
        self.old.update(token, frozen, session)?;
        Ok(Step::Refused(refusal))
    }

    /// The sessions of a subject that are in the old store, in the order of their tokens.
    pub(super) fn old_sessions_of(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        let mut records = self.old.find_by_subject(subject)?;
        records.retain_mut(|record| match Form::of(&record.data) {
            Form::Plain(_) => true,
            Form::Frozen(data) => {
                record.data = data.to_vec();
                true
            }
            Form::Stub => false,
        });
        records.sort_by(|a, b| a.token.cmp(&b.token));
        Ok(records)
    }

    /// Visits the sessions that are in the old store.
    pub(super) fn for_each_old(
        &self,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.old.for_each(&mut |record| match Form::of(record.data) {
            Form::Plain(_) => visit(record),
            Form::Frozen(data) => visit(Record::new(record.token, data, record.expiry)),
            Form::Stub => ControlFlow::Continue(()),
        })
    }

    /// Visits the sessions that are in the new store.
    pub(super) fn for_each_new(
        &self,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.new.for_each(&mut |record| {
            if marks::is_marked(record.data) { ControlFlow::Continue(()) } else { visit(record) }
        })
    }

    pub(super) fn move_all(
        &self,
        progress: &mut (dyn FnMut(&MoveReport) + Send),
    ) -> Result<MoveReport, Error> {
        let state = Mutex::new((MoveReport::default(), progress));
        loop {
            let moved_before = {
                let report = &mut state.lock().unwrap_or_else(PoisonError::into_inner).0;
                report.refused = 0;
                report.moved
            };
            for_each_parallel(&*self.old, |error| error, &|record| {
                if Form::of(&record.data) == Form::Stub {
                    return Ok(());
                }
                let moved = self.bring(&record.token)?;
                let (report, progress) = &mut *state.lock().unwrap_or_else(PoisonError::into_inner);
                match moved {
                    Moved::Gone => return Ok(()),
                    Moved::Done => report.moved += 1,
                    Moved::Refused(_) => report.refused += 1,
                }
                progress(report);
                Ok(())
            })?;
            // A session that was rotated during the walk may be there under its new token.
            let report = state.lock().unwrap_or_else(PoisonError::into_inner).0;
            if report.moved == moved_before {
                return Ok(report);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_of_one_session() {
        let expiry = chrono::DateTime::UNIX_EPOCH;
        assert!(is_refusal(&Error::DataTooLarge { len: 2, max: 1 }));
        assert!(is_refusal(&Error::InvalidSubject { len: 2, max: 1 }));
        let out_of_range = Error::ExpiryOutOfRange { expiry, earliest: expiry, latest: expiry };
        assert!(is_refusal(&out_of_range));
        assert!(!is_refusal(&Error::TableMissing { table: "sessions".to_owned() }));
        assert!(!is_refusal(&Error::TokenTaken) && !is_refusal(&Error::Forked));
    }
}

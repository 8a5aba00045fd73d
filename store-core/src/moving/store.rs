//! The operations, each in the store where its sessions are.

use std::collections::HashSet;
use std::ops::ControlFlow;

use chrono::{DateTime, Utc};

use super::marks::{self, Form};
use super::mover::{self, ATTEMPTS, Mover, contended};
use super::place::Place;
use super::{MovingStore, Phase};
use crate::{Change, CleanupStatistics, Error, Loaded, OwnedRecord, Record, Store};

/// The tokens of which a change makes sessions, and those of the sessions that it ends.
fn tokens_of<'a>(token: &'a str, change: &'a Change<'_>) -> Vec<&'a str> {
    let rotation = change.rotation.iter().map(|rotation| &*rotation.new_token);
    let absorbed = change.absorbed.iter().map(|absorbed| &*absorbed.token);
    std::iter::once(token).chain(rotation).chain(absorbed).collect()
}

fn subject_of<'a>(change: &'a Change<'_>) -> Option<&'a str> {
    change.expected_sessions.as_ref().map(|expected| &*expected.subject)
}

impl Store for MovingStore {
    fn load(&self, token: &str) -> Result<Loaded, Error> {
        self.mover.load(token)
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        marks::check(data)?;
        for _ in 0..ATTEMPTS {
            if self.place(&[token], None)? == Place::New {
                return self.new_store().commit(token, data, expiry);
            }
            // An upsert would overwrite a session that begins to move.
            let change = Change::new(data, expiry);
            let is_done = match self.old().load(token)? {
                Loaded::Live { data: current, .. } => match Form::of(&current) {
                    Form::Plain(_) => self.old().update(token, &current, &change)?,
                    Form::Frozen(_) | Form::Stub => false,
                },
                Loaded::Rotated { .. } | Loaded::Missing => {
                    match self.old().create_with(token, &change) {
                        Err(Error::TokenTaken) => false,
                        created => created?,
                    }
                }
            };
            if is_done {
                return Ok(());
            }
        }
        Err(contended())
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        marks::check(&change.data)?;
        self.run(
            &tokens_of(token, change),
            subject_of(change),
            |outcome| matches!(outcome, Ok(true)),
            |store| store.create_with(token, change),
        )
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        marks::check(&change.data)?;
        // No session has such data.
        if marks::check(current).is_err() || change.absorbed.iter().any(Mover::is_marked) {
            return Ok(false);
        }
        self.run(
            &tokens_of(token, change),
            subject_of(change),
            |outcome| matches!(outcome, Ok(true)),
            |store| store.update(token, current, change),
        )
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        for _ in 0..ATTEMPTS {
            let store = match self.place(&[token], None)? {
                Place::Old => self.old(),
                Place::New => self.new_store(),
            };
            // With its data, by which a session is told from a mark, and from one that begins to
            // move and does so with the expiry that it has.
            let Loaded::Live { data, .. } = store.load(token)? else { return Ok(false) };
            if marks::is_marked(&data) {
                if self.load(token)? == Loaded::Missing {
                    return Ok(false);
                }
            } else if store.update(token, &data, &Change::new(&data, expiry))? {
                return Ok(true);
            }
        }
        Err(contended())
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        self.mover.delete(token)
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        let mut before = self.mover.old_sessions_of(subject)?;
        for _ in 0..ATTEMPTS {
            let mut records = self.new_store().find_by_subject(subject)?;
            let after = self.mover.old_sessions_of(subject)?;
            // Sessions move from the old store alone, so none did while the new one was read.
            if before == after {
                let new: HashSet<String> =
                    records.iter().map(|record| record.token.clone()).collect();
                records.extend(before.into_iter().filter(|old| !new.contains(&old.token)));
                return Ok(records);
            }
            before = after;
        }
        Err(contended())
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        for _ in 0..ATTEMPTS {
            let is_in_new = || Ok::<_, Error>(Mover::is_session(&self.new_store().load(token)?));
            if is_in_new()? {
                return self.new_store().subject_of(token);
            }
            let old = self.old().load(token)?;
            if mover::is_stub(&old) {
                // It may have come to the new store since that was asked.
                if is_in_new()? {
                    continue;
                }
                return Ok(None);
            }
            let subject = self.old().subject_of(token)?;
            if self.old().load(token)? == old {
                return Ok(subject);
            }
        }
        Err(contended())
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        if self.phase == Phase::Preparing {
            return self.delete_one_by_one(subject, except);
        }
        let mut deleted = 0;
        for _ in 0..ATTEMPTS {
            if self.mover.bring_each(&[], Some(subject))?.is_some() {
                // Those that the new store refuses are in the old one.
                return Ok(deleted + self.delete_one_by_one(subject, except)?);
            }
            // The new store follows its own rotations, in the same step.
            let newest = match except {
                Some(token) if self.new_store().load(token)? == Loaded::Missing => {
                    self.newest(token)?
                }
                _ => None,
            };
            let kept = newest.as_deref().or(except);
            deleted += self.new_store().delete_by_subject(subject, kept)?;
            if self.mover.old_sessions_of(subject)?.is_empty() {
                return Ok(deleted);
            }
        }
        Err(contended())
    }

    /// Rows that show what has moved are counted as well.
    fn delete_all(&self) -> Result<u64, Error> {
        // In this order: what is being moved meanwhile is in the new store by its fence, and ends
        // there.
        Ok(self.old().delete_all()? + self.new_store().delete_all()?)
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        Ok(self.old().delete_expired()? + self.new_store().delete_expired()?)
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let is_over = std::cell::Cell::new(false);
        let mut visit = |record: Record<'_>| {
            let flow = visit(record);
            is_over.set(flow.is_break());
            flow
        };
        if self.phase == Phase::Preparing {
            self.mover.for_each_old(&mut visit)?;
            return if is_over.get() { Ok(()) } else { self.mover.for_each_new(&mut visit) };
        }
        let report = self.mover.move_all(&mut |_| {})?;
        self.mover.for_each_new(&mut visit)?;
        if is_over.get() || report.refused == 0 {
            return Ok(());
        }
        self.mover.for_each_old(&mut visit)
    }

    fn count(&self) -> Result<u64, Error> {
        Ok(self.remaining()? + self.new_store().count()?)
    }

    /// The clock of the database to which this process writes.
    fn now(&self) -> DateTime<Utc> {
        match self.phase {
            Phase::Preparing => self.old().now(),
            Phase::Moving => self.new_store().now(),
        }
    }

    /// Ends those of both stores.
    fn stop_cleanup(&self) {
        self.old().stop_cleanup();
        self.new_store().stop_cleanup();
    }

    /// Those of the store to which this process writes.
    fn cleanup_statistics(&self) -> CleanupStatistics {
        match self.phase {
            Phase::Preparing => self.old().cleanup_statistics(),
            Phase::Moving => self.new_store().cleanup_statistics(),
        }
    }
}

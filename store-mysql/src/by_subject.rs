//! Finds and deletes the sessions of a subject.

use std::mem;

use mysql::Result as DriverResult;
use store_core::{Error, Loaded, OwnedRecord};

use crate::connection::{Connection, End};
use crate::error::ErrorClass;
use crate::retry::RetrySafety;
use crate::shared::Shared;
use crate::subjects::SubjectIndex;

/// How many rotations of a session a deletion follows. It loses against each with less than even
/// odds, so hardly ever against three in a row.
const MAX_FOLLOWED: usize = 50;

/// What became of a session that a deletion has followed to lock it.
enum Followed {
    Locked(String),
    Ended,
    /// It was rotated each time that the deletion came to its token.
    Ahead,
}

impl Shared {
    /// Returns the live sessions of a subject.
    pub(crate) fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        let subjects = self.subject_index()?;
        self.run(RetrySafety::ReadOnly, |connection| subjects.find(connection, subject))
    }

    /// Deletes the live sessions of a subject but one. Returns how many; if a reply was lost,
    /// without those that the lost attempt removed.
    pub(crate) fn delete_by_subject(
        &self,
        subject: &str,
        except: Option<&str>,
    ) -> Result<u64, Error> {
        let subjects = self.subject_index()?;
        let except = except.filter(|token| self.check_token(token).is_ok());
        let mut retry = self.retry();
        let mut has_lost = false;
        loop {
            let deleted = retry.run(RetrySafety::Idempotent, |connection| {
                // The deletion takes sessions in the order of the index, and a rotation takes the
                // session first. Sessions that are rotated all the time would deadlock with every
                // attempt, so after the first one they are locked ahead.
                if mem::replace(&mut has_lost, true) {
                    self.delete_followed(connection, subjects, (subject, except))
                } else {
                    self.delete_at_once(connection, subjects, (subject, except)).map(Some)
                }
            });
            if let Some(deleted) = deleted.map_err(|error| self.explain(error))? {
                return Ok(deleted);
            }
            if !retry.should_retry(ErrorClass::Contention) {
                let source = "a session was rotated each time before it was locked".into();
                return Err(Error::Contended { source });
            }
        }
    }

    fn delete_at_once(
        &self,
        connection: &mut Connection,
        subjects: &SubjectIndex,
        (subject, except): (&str, Option<&str>),
    ) -> DriverResult<u64> {
        let Some(except) = except else {
            return subjects.delete_sessions(connection, subject, None);
        };
        connection.transact(|connection| {
            let kept = self.lock_newest(connection, except)?;
            subjects.delete_sessions(connection, subject, kept.as_deref()).map(End::Commit)
        })
    }

    /// Locks the sessions first, in the order in which a rotation takes its locks, and then deletes
    /// them. Returns `None` if one of them couldn't be locked.
    fn delete_followed(
        &self,
        connection: &mut Connection,
        subjects: &SubjectIndex,
        (subject, except): (&str, Option<&str>),
    ) -> DriverResult<Option<u64>> {
        let tokens = subjects.tokens(connection, subject)?;
        let delete = |connection: &mut Connection| {
            let mut kept = None;
            if let Some(except) = except {
                kept = match self.follow(connection, except)? {
                    Followed::Locked(token) => Some(token),
                    Followed::Ended => None,
                    Followed::Ahead => return Ok(End::Rollback(None)),
                };
            }
            for token in &tokens {
                if let Followed::Ahead = self.follow(connection, token)? {
                    return Ok(End::Rollback(None));
                }
            }
            // Without locks on gaps, a session that isn't locked, because the record of its
            // rotation was over, can move behind the deletion, which finds it when it looks again.
            let mut deleted = 0;
            loop {
                match subjects.delete_sessions(connection, subject, kept.as_deref())? {
                    0 => return Ok(End::Commit(Some(deleted))),
                    more => deleted += more,
                }
            }
        };
        if self.rotations.is_some() {
            // A lock on the gap where a token was would deadlock with the next rotation.
            connection.transact_without_gaps(delete)
        } else {
            // Sessions that were rotated can't be followed, and mustn't move behind the deletion.
            connection.transact(delete)
        }
    }

    /// Locks a session, and no more than that, under the token that it has now.
    fn follow(&self, connection: &mut Connection, token: &str) -> DriverResult<Followed> {
        let mut token = token.to_owned();
        for _ in 0..MAX_FOLLOWED {
            // It waits for a rotation under way.
            if self.lock_live(connection, &token)? {
                return Ok(Followed::Locked(token));
            }
            let Some(rotations) = &self.rotations else { return Ok(Followed::Ended) };
            // A plain read: the record is no more this transaction's than the gap.
            match rotations.load(connection, &token)? {
                Loaded::Rotated { token: newest, .. } => token = newest,
                Loaded::Live { .. } => {}
                Loaded::Missing => return Ok(Followed::Ended),
            }
        }
        Ok(Followed::Ahead)
    }
}

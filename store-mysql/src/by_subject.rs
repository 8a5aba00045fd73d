//! Finds and deletes the sessions of a subject.

use mysql::Result as DriverResult;
use store_core::{Error, OwnedRecord};

use crate::connection::{Connection, End};
use crate::retry::RetrySafety;
use crate::shared::Shared;
use crate::subjects::SubjectIndex;

impl Shared {
    /// Returns the live sessions of a subject.
    pub(crate) fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        let subjects = self.subject_index()?;
        self.run(RetrySafety::ReadOnly, |connection| subjects.find(connection, subject))
    }

    /// Returns the subject of a live session.
    pub(crate) fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        let Some(subjects) = &self.subjects else { return Ok(None) };
        if self.check_token(token).is_err() {
            return Ok(None);
        }
        self.run(RetrySafety::ReadOnly, |connection| subjects.subject(connection, token))
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
        let mut is_first = true;
        self.run(RetrySafety::Idempotent, |connection| {
            // The deletion takes sessions in the order of the index, and a rotation takes the
            // session first. Sessions that are rotated all the time would deadlock with every
            // attempt, so after the first one they are locked ahead.
            let to_lock =
                if is_first { Vec::new() } else { subjects.tokens(connection, subject)? };
            is_first = false;
            if except.is_none() && to_lock.is_empty() {
                return subjects.delete_sessions(connection, subject, None);
            }
            connection.transact(|connection| {
                self.delete_locked(connection, subjects, (subject, except), &to_lock)
            })
        })
    }

    fn delete_locked(
        &self,
        connection: &mut Connection,
        subjects: &SubjectIndex,
        (subject, except): (&str, Option<&str>),
        to_lock: &[String],
    ) -> DriverResult<End<u64>> {
        let kept = match except {
            Some(except) => self.lock_newest(connection, except)?,
            None => None,
        };
        for token in to_lock {
            self.lock_newest(connection, token)?;
        }
        subjects.delete_sessions(connection, subject, kept.as_deref()).map(End::Commit)
    }
}

//! Removes what has expired.

use std::collections::HashSet;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store_core::Error;
use store_core::backend::Batch;

use crate::connection::End;
use crate::error::{self, ErrorClass};
use crate::retry::{AttemptError, RetrySafety};
use crate::rotations::Rotations;
use crate::rows::bytes;
use crate::shared::Shared;
use crate::sql::padded;
use crate::subjects::SubjectIndex;

/// After how many rows that can't be removed a run gives up.
const MAX_STUCK: usize = 10_000;

/// How long the removal of one row is tried again, if it is made alone: less than the wait for a
/// lock, which others have waited for already.
const ROW_TIMEOUT: Duration = Duration::from_millis(500);

/// Expired sessions that couldn't be removed in this run, because another table refers to them, or
/// somebody keeps them locked. They are the oldest, and the next page would be full of them again.
#[derive(Default)]
pub(crate) struct Stuck(Mutex<StuckRows>);

#[derive(Default)]
struct StuckRows {
    tokens: HashSet<Vec<u8>>,
    /// Why the first couldn't be removed.
    error: Option<Error>,
}

impl Stuck {
    fn lock(&self) -> MutexGuard<'_, StuckRows> {
        // A panic can leave nothing half-changed that this lock guards.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, token: &[u8], error: Error) {
        let mut rows = self.lock();
        rows.tokens.insert(token.to_vec());
        rows.error.get_or_insert(error);
    }

    fn len(&self) -> usize {
        self.lock().tokens.len()
    }

    fn contains(&self, token: &[u8]) -> bool {
        self.lock().tokens.contains(token)
    }

    /// Forgets the rows at the end of a run, and returns why they are still there.
    fn take(&self) -> Option<Error> {
        mem::take(&mut *self.lock()).error
    }
}

impl Shared {
    /// Removes a batch of expired sessions, of entries without a session, and of records of
    /// rotations. Sessions that can't be removed are the error of the last batch.
    pub(crate) fn remove_batch(&self) -> Result<Batch, Error> {
        let limit = self.batch_size + self.stuck.len();
        let page = self.run(RetrySafety::ReadOnly, |connection| {
            connection.query(&self.statements.expired, vec![limit.into()])
        })?;
        let tokens = page.into_iter().filter_map(|mut row| bytes(&mut row, 0));
        let tokens: Vec<_> = tokens.filter(|token| !self.stuck.contains(token)).collect();
        let removed = if tokens.is_empty() { 0 } else { self.remove_expired(&tokens)? };
        let mut has_more = tokens.len() >= self.batch_size && self.stuck.len() < MAX_STUCK;
        if let Some(subjects) = &self.subjects {
            has_more |= self.remove_orphans(subjects)?;
        }
        if let Some(rotations) = &self.rotations {
            has_more |= self.remove_rotations(rotations)?;
        }
        if !has_more && removed > 0 && self.stuck.len() > 0 {
            // The error comes next, so that what was removed is counted.
            has_more = true;
        }
        match if has_more { None } else { self.stuck.take() } {
            Some(error) => Err(error),
            None => Ok(Batch { removed, has_more }),
        }
    }

    /// Removes expired sessions and their subjects in one transaction, so that a new session under
    /// one of the tokens never finds the subject of the old one. If that can't be done to all of
    /// them, removes those to which it can.
    fn remove_expired(&self, tokens: &[Vec<u8>]) -> Result<u64, Error> {
        let removed = self.retry().run(RetrySafety::Idempotent, |connection| {
            let delete = padded(tokens, self.batch_size);
            let Some(subjects) = &self.subjects else {
                return Ok(connection.execute(&self.statements.delete_expired, delete)?.rows);
            };
            connection.transact(|connection| {
                let deleted = connection.execute(&self.statements.delete_expired, delete)?;
                subjects.unlink_orphans(connection, tokens)?;
                Ok(End::Commit(deleted.rows))
            })
        });
        match removed {
            Err(AttemptError::Failed(error)) if is_of_a_row(&error) => self.remove_each(tokens),
            removed => removed.map_err(|error| self.explain(error)),
        }
    }

    /// As [`remove_expired`](Self::remove_expired), one by one.
    fn remove_each(&self, tokens: &[Vec<u8>]) -> Result<u64, Error> {
        let mut total = 0;
        for token in tokens {
            let removed = self.retry_for(ROW_TIMEOUT).run(RetrySafety::Idempotent, |connection| {
                let delete = vec![token.as_slice().into()];
                connection.transact(|connection| {
                    let row = &self.statements.delete_expired_row;
                    let deleted = connection.execute(row, delete.clone())?;
                    if let Some(subjects) = &self.subjects {
                        subjects.unlink_orphan(connection, token)?;
                    }
                    Ok(End::Commit(deleted.rows))
                })
            });
            match removed {
                Ok(removed) => total += removed,
                Err(AttemptError::Failed(error)) if is_of_a_row(&error) => {
                    self.stuck.add(token, self.explain_driver(&error));
                }
                Err(error) => return Err(self.explain(error)),
            }
        }
        Ok(total)
    }

    /// Removes entries whose sessions are gone from the next page of the index of subjects. Returns
    /// whether there were any.
    fn remove_orphans(&self, subjects: &SubjectIndex) -> Result<bool, Error> {
        let begin = subjects.orphans_from();
        let end =
            self.run(RetrySafety::ReadOnly, |connection| subjects.page_end(connection, &begin))?;
        let orphans = if end.is_empty() {
            Vec::new()
        } else {
            self.run(RetrySafety::ReadOnly, |connection| {
                subjects.orphans(connection, &begin, &end)
            })?
        };
        for orphans in orphans.chunks(self.batch_size) {
            self.run(RetrySafety::Idempotent, |connection| {
                subjects.unlink_orphans(connection, orphans)
            })?;
        }
        subjects.set_orphans_from(end);
        Ok(!orphans.is_empty())
    }

    /// Removes a batch of records of rotations that are past their window. Returns whether there
    /// may be more.
    fn remove_rotations(&self, rotations: &Rotations) -> Result<bool, Error> {
        let tokens = self.run(RetrySafety::ReadOnly, |connection| rotations.expired(connection))?;
        if !tokens.is_empty() {
            self.run(RetrySafety::Idempotent, |connection| {
                rotations.delete_expired(connection, &tokens)
            })?;
        }
        Ok(tokens.len() >= self.batch_size)
    }
}

/// Whether an error may be that of one row, and the others could be removed.
fn is_of_a_row(error: &mysql::Error) -> bool {
    matches!(error::classify(error), ErrorClass::Permanent | ErrorClass::Contention)
}

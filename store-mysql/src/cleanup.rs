//! Removes what has expired, batch by batch, and passes over what can't be removed.

use std::collections::HashSet;
use std::mem;
use std::slice;
use std::time::Duration;

use mysql::Value;
use store_core::Error;
use store_core::backend::Batch;

use crate::connection::End;
use crate::error::{self, ErrorClass};
use crate::retry::{AttemptError, Retry, RetrySafety};
use crate::rotations::Rotations;
use crate::rows::bytes;
use crate::shared::Shared;
use crate::statements::Statements;
use crate::subjects::SubjectIndex;

/// After how many rows that can't be removed a run gives up.
const MAX_STUCK: usize = 10_000;

/// How many pages that aren't full are removed of a table into which others write.
const MAX_LAST_PAGES: usize = 5;

/// How long the removal of one row is tried again, if it is made alone: less than the wait for a
/// lock, which others have waited for already.
const ROW_TIMEOUT: Duration = Duration::from_millis(500);

/// A run of the cleanup: the expired sessions that it couldn't remove, because another table refers
/// to them, or somebody keeps them locked. They are the oldest, and would be on every page.
#[derive(Default)]
pub(crate) struct CleanupRun {
    stuck: HashSet<Vec<u8>>,
    /// Why the first couldn't be removed.
    error: Option<Error>,
}

impl Shared {
    /// Removes a batch of expired sessions, of entries without a session, and of records of
    /// rotations. Sessions that can't be removed are the error of the run's last batch, after which
    /// `run` is that of the next one.
    pub(crate) fn remove_batch(&self, run: &mut CleanupRun) -> Result<Batch, Error> {
        let mut current = mem::take(run);
        let mut batch = self.remove_next(&mut current)?;
        if !batch.has_more
            && let Some(error) = &current.error
        {
            if batch.removed == 0 {
                return Err(error.clone());
            }
            // The error comes next, so that what was removed is counted.
            batch.has_more = true;
        }
        if batch.has_more {
            *run = current;
        }
        Ok(batch)
    }

    /// Removes all sessions, page by page.
    pub(crate) fn delete_all(&self) -> Result<u64, Error> {
        let Statements { first_page, next_page, delete_page, .. } = &self.statements;
        let (mut removed, mut last_pages) = (0, 0);
        // A page begins where the last one ended: the server reads deleted rows until it has purged
        // them, so that from the first one each page would take longer than the one before.
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.run(RetrySafety::ReadOnly, |connection| {
                let limit = Value::from(self.batch_size);
                match &after {
                    None => connection.query_first(first_page, vec![limit]),
                    Some(after) => connection.query_first(next_page, vec![after.into(), limit]),
                }
            })?;
            let page = page.and_then(|mut row| {
                Some((row.take::<u64, _>(0)?, bytes(&mut row, 1)?, bytes(&mut row, 2)?))
            });
            let is_last = match &page {
                None if after.is_none() => return Ok(removed),
                None => true,
                Some((rows, begin, end)) => {
                    self.run(RetrySafety::Idempotent, |connection| {
                        connection.execute(delete_page, vec![begin.into(), end.into()])
                    })?;
                    // The server's number includes the entries of the index of subjects.
                    removed += rows;
                    *rows < self.batch_size as u64
                }
            };
            // Others go on: what has moved to another token may be on an earlier page by now, and
            // so may be what begins meanwhile.
            last_pages += usize::from(is_last);
            if last_pages > MAX_LAST_PAGES {
                return Ok(removed);
            }
            after = page.map(|(.., end)| end).filter(|_| !is_last);
        }
    }

    fn remove_next(&self, run: &mut CleanupRun) -> Result<Batch, Error> {
        let limit = self.batch_size + run.stuck.len();
        let page = self.run(RetrySafety::ReadOnly, |connection| {
            connection.query(&self.statements.expired, vec![limit.into()])
        })?;
        let tokens = page.into_iter().filter_map(|mut row| bytes(&mut row, 0));
        let tokens: Vec<_> = tokens.filter(|token| !run.stuck.contains(token)).collect();
        let removed = if tokens.is_empty() { 0 } else { self.remove_expired(&tokens, run)? };
        let mut has_more = tokens.len() >= self.batch_size && run.stuck.len() < MAX_STUCK;
        if let Some(subjects) = &self.subjects {
            has_more |= self.remove_orphans(subjects)?;
        }
        if let Some(rotations) = &self.rotations {
            has_more |= self.remove_rotations(rotations)?;
        }
        Ok(Batch { removed, has_more })
    }

    /// Removes expired sessions. If that can't be done to all of them, removes those to which it
    /// can, one by one.
    fn remove_expired(&self, tokens: &[Vec<u8>], run: &mut CleanupRun) -> Result<u64, Error> {
        match self.remove_together(self.retry(), tokens) {
            Err(AttemptError::Failed(error)) if is_of_a_row(&error) => {}
            removed => return removed.map_err(|error| self.explain(error)),
        }
        let mut total = 0;
        for token in tokens {
            match self.remove_together(self.retry_for(ROW_TIMEOUT), slice::from_ref(token)) {
                Ok(removed) => total += removed,
                Err(AttemptError::Failed(error)) if is_of_a_row(&error) => {
                    run.stuck.insert(token.clone());
                    run.error.get_or_insert_with(|| self.explain_driver(&error));
                }
                Err(error) => return Err(self.explain(error)),
            }
        }
        Ok(total)
    }

    /// Removes expired sessions and their subjects in one transaction, so that a new session under
    /// one of the tokens never finds the subject of the old one.
    fn remove_together(
        &self,
        mut retry: Retry<'_>,
        tokens: &[Vec<u8>],
    ) -> Result<u64, AttemptError> {
        retry.run(RetrySafety::Idempotent, |connection| {
            let (sql, params) = self.statements.delete_expired.on(tokens);
            let Some(subjects) = &self.subjects else {
                return Ok(connection.execute(sql, params)?.rows);
            };
            connection.transact(|connection| {
                let deleted = connection.execute(sql, params)?;
                subjects.unlink_orphans(connection, tokens)?;
                Ok(End::Commit(deleted.rows))
            })
        })
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

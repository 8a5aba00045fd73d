//! Removes what has expired, batch by batch, and passes over what can't be removed.

use std::mem;

use store_core::Error;
use store_core::backend::Batch;

use crate::error;
use crate::expired::Search;
use crate::shared::Shared;
use crate::write::{Done, Write};

/// After how many rows of a table that can't be removed a run leaves the table alone.
const MAX_STUCK: i64 = 10_000;

/// A run of the cleanup: what it has left because a foreign key or a trigger of the application
/// refuses the removal. These rows would be in every batch.
#[derive(Default)]
pub(crate) struct CleanupRun {
    /// Where the search for sessions has come, once it has begun.
    search: Option<Search>,
    sessions: Stuck,
    records: Stuck,
    orphans: Stuck,
    /// Why the first row couldn't be removed.
    error: Option<Error>,
}

/// The rows of one table that couldn't be removed in this run.
#[derive(Default)]
struct Stuck {
    rows: i64,
    /// The most rows of the next batch, after one that has failed: it has half as many, down to the
    /// single row that is passed over. Batches that succeed double it.
    limit: Option<i64>,
}

impl Stuck {
    fn limited(&self, rows: i64) -> i64 {
        self.limit.map_or(rows, |limit| limit.min(rows))
    }

    fn grow(&mut self) {
        self.limit = self.limit.map(|limit| limit.saturating_mul(2));
    }

    /// Makes the next batch smaller. Returns whether there is no smaller one, so that the row is
    /// stuck.
    fn shrink(&mut self, rows: i64) -> bool {
        self.limit = Some((rows / 2).max(1));
        self.rows += i64::from(rows <= 1);
        rows <= 1
    }

    fn are_too_many(&self) -> bool {
        self.rows >= MAX_STUCK
    }
}

impl Shared {
    /// Removes one batch of what has expired. What can't be removed is the error of the run's last
    /// batch, after which `run` is that of the next one.
    pub(crate) fn remove_batch(&self, run: &mut CleanupRun) -> Result<Batch, Error> {
        self.database.open.owner().check()?;
        let mut current = mem::take(run);
        let mut batch = self.remove_next(&mut current)?;
        if !batch.has_more
            && let Some(error) = &current.error
        {
            if batch.removed == 0 {
                self.batch_sizer.end_batch(false);
                return Err(error.clone());
            }
            // The error comes next, so that what was removed is counted.
            batch.has_more = true;
        }
        if batch.has_more {
            *run = current;
        }
        self.batch_sizer.end_batch(batch.has_more);
        Ok(batch)
    }

    /// Removes sessions and, once there are no more, records of rotations and orphans in the index
    /// of subjects.
    fn remove_next(&self, run: &mut CleanupRun) -> Result<Batch, Error> {
        let (removed, has_more) =
            self.remove_sessions(&mut run.search, &mut run.sessions, &mut run.error)?;
        if has_more {
            return Ok(Batch { removed, has_more });
        }
        match self.remove_rest(run) {
            Ok(has_more) => Ok(Batch { removed, has_more }),
            // The next batch meets it again, and what was removed is counted.
            Err(_) if removed > 0 => Ok(Batch { removed, has_more: true }),
            Err(error) => Err(error),
        }
    }

    /// Returns whether there may be more.
    fn remove_rest(&self, run: &mut CleanupRun) -> Result<bool, Error> {
        let mut has_more = false;
        if self.database.tables.rotations.is_some() {
            has_more |= self.remove_records(&mut run.records, &mut run.error)?;
        }
        // Once the expired sessions are gone.
        has_more |= self.remove_orphans(&mut run.orphans, &mut run.error)?;
        Ok(has_more)
    }

    /// Removes the sessions that the next step of the search finds. Returns how many, and whether
    /// there may be more.
    fn remove_sessions(
        &self,
        search: &mut Option<Search>,
        stuck: &mut Stuck,
        first_error: &mut Option<Error>,
    ) -> Result<(u64, bool), Error> {
        if stuck.are_too_many() {
            return Ok((0, false));
        }
        let limit = usize::try_from(stuck.limited(self.batch_sizer.next_rows())).unwrap_or(1);
        let found = self.read(|tables, connection, now| {
            let search = search.unwrap_or(tables.search);
            search.find(&tables.sessions, connection, now, limit, stuck.rows)
        })?;
        if found.rows.is_empty() {
            *search = Some(found.next);
            return Ok((0, !found.is_last));
        }
        let len = found.rows.len();
        let removal = Write::RemoveSessions { rows: found.rows, is_full: len >= limit };
        let rows = i64::try_from(len).unwrap_or(i64::MAX);
        match self.remove(&removal, rows, stuck, first_error)? {
            Removed::Done(done) => {
                *search = Some(found.next);
                Ok((done.rows, !found.is_last))
            }
            Removed::PassedOver => {
                *search = Some(found.next);
                Ok((0, true))
            }
            Removed::TooMany => Ok((0, true)),
        }
    }

    /// Removes a batch of records of rotations. Returns whether there may be more.
    fn remove_records(
        &self,
        stuck: &mut Stuck,
        first_error: &mut Option<Error>,
    ) -> Result<bool, Error> {
        if stuck.are_too_many() {
            return Ok(false);
        }
        let rows = stuck.limited(self.batch_sizer.next_rows());
        let removal = Write::RemoveRecords { rows, stuck: stuck.rows };
        match self.remove(&removal, rows, stuck, first_error)? {
            Removed::Done(done) => Ok(done.removal.is_some_and(|removal| removal.is_full)),
            Removed::PassedOver | Removed::TooMany => Ok(true),
        }
    }

    /// Removes the orphans from the next page of the index of subjects. Returns whether there were
    /// any.
    fn remove_orphans(
        &self,
        stuck: &mut Stuck,
        first_error: &mut Option<Error>,
    ) -> Result<bool, Error> {
        let Some(subjects) = &self.database.tables.subjects else { return Ok(false) };
        if stuck.are_too_many() {
            return Ok(false);
        }
        let rows = stuck.limited(self.batch_size);
        let after = subjects.searched();
        let end = self.read(|_, connection, _| subjects.page_end(connection, &after, rows))?;
        let Some(end) = end else {
            subjects.set_searched(String::new());
            return Ok(false);
        };
        let removal = Write::RemoveOrphans { after, end: end.clone() };
        match self.remove(&removal, rows, stuck, first_error)? {
            Removed::Done(done) => {
                subjects.set_searched(end);
                Ok(done.rows > 0)
            }
            Removed::PassedOver => {
                subjects.set_searched(end);
                Ok(true)
            }
            Removed::TooMany => Ok(true),
        }
    }

    /// Does a write that removes this many rows at most. If one of them refuses it, the next batch
    /// is smaller.
    fn remove(
        &self,
        write: &Write<'_>,
        rows: i64,
        stuck: &mut Stuck,
        first_error: &mut Option<Error>,
    ) -> Result<Removed, Error> {
        match self.submit(write, true, self.deadline()) {
            Ok(done) => {
                stuck.grow();
                Ok(Removed::Done(done))
            }
            Err(error) if error::is_of_a_row(&error) => {
                if !stuck.shrink(rows) {
                    return Ok(Removed::TooMany);
                }
                first_error.get_or_insert(error);
                Ok(Removed::PassedOver)
            }
            Err(error) => Err(error),
        }
    }
}

/// What became of a batch.
enum Removed {
    Done(Done),
    /// It was a single row, which can't be removed and is stuck.
    PassedOver,
    /// One of its rows can't be removed: the next batch has fewer.
    TooMany,
}

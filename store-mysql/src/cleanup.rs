//! Removes what has expired.

use store_core::Error;
use store_core::backend::Batch;

use crate::connection::End;
use crate::retry::RetrySafety;
use crate::rotations::Rotations;
use crate::rows::bytes;
use crate::shared::Shared;
use crate::sql::padded;
use crate::subjects::SubjectIndex;

impl Shared {
    /// Removes a batch of expired sessions, of entries without a session, and of records of
    /// rotations.
    pub(crate) fn remove_batch(&self) -> Result<Batch, Error> {
        let page = self.run(RetrySafety::ReadOnly, |connection| {
            connection.query(&self.statements.expired, vec![self.batch_size.into()])
        })?;
        let tokens: Vec<_> = page.into_iter().filter_map(|mut row| bytes(&mut row, 0)).collect();
        let removed = if tokens.is_empty() { 0 } else { self.remove_expired(&tokens)? };
        let mut has_more = tokens.len() >= self.batch_size;
        if let Some(subjects) = &self.subjects {
            has_more |= self.remove_orphans(subjects)?;
        }
        if let Some(rotations) = &self.rotations {
            has_more |= self.remove_rotations(rotations)?;
        }
        Ok(Batch { removed, has_more })
    }

    /// Removes expired sessions and their subjects in one transaction, so that a new session under
    /// one of the tokens never finds the subject of the old one.
    fn remove_expired(&self, tokens: &[Vec<u8>]) -> Result<u64, Error> {
        self.run(RetrySafety::Idempotent, |connection| {
            let delete = padded(tokens, self.batch_size);
            let Some(subjects) = &self.subjects else {
                return Ok(connection.execute(&self.statements.delete_expired, delete)?.rows);
            };
            connection.transact(|connection| {
                let deleted = connection.execute(&self.statements.delete_expired, delete)?;
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

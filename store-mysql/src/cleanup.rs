//! The sweep of what has expired.

use store_core::Error;
use store_core::backend::Batch;

use crate::connection::End;
use crate::retry::RetrySafety;
use crate::shared::Shared;
use crate::statements::{bytes, padded};

impl Shared {
    pub(crate) fn remove_batch(&self) -> Result<Batch, Error> {
        let page = self.run(RetrySafety::ReadOnly, |connection| {
            connection.query(&self.statements.expired, vec![self.batch_size.into()])
        })?;
        let tokens: Vec<_> = page.into_iter().filter_map(|mut row| bytes(&mut row, 0)).collect();
        let removed = if tokens.is_empty() { 0 } else { self.remove_expired(&tokens)? };
        let mut has_more = tokens.len() >= self.batch_size;
        if let Some(subjects) = &self.subjects {
            has_more |= subjects.sweep(self)?;
        }
        if let Some(rotations) = &self.rotations {
            has_more |= rotations.sweep(self)?;
        }
        Ok(Batch { removed, has_more })
    }

    /// Removes sessions that have expired, with their subjects: in one transaction, so that a new
    /// session under one of the tokens never finds the subject of the old one.
    fn remove_expired(&self, tokens: &[Vec<u8>]) -> Result<u64, Error> {
        self.run(RetrySafety::Idempotent, |connection| {
            let delete = padded(tokens, self.batch_size);
            let Some(subjects) = &self.subjects else {
                return Ok(connection.execute(&self.statements.delete_expired, delete)?.affected);
            };
            connection.transact(|connection| {
                let deleted = connection.execute(&self.statements.delete_expired, delete)?;
                subjects.unlink_orphans(connection, tokens)?;
                Ok(End::Commit(deleted.affected))
            })
        })
    }
}

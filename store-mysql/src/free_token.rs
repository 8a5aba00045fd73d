//! Frees tokens that expired sessions still have.

use mysql::Result as DriverResult;
use store_core::{Error, TokenProblem};

use crate::connection::{Connection, End};
use crate::retry::RetrySafety;
use crate::shared::Shared;

impl Shared {
    /// Removes an expired session that has the token, with its subject, and locks its place until
    /// the transaction ends. Returns why the token can't be freed, if a live session has it.
    pub(crate) fn free_token(
        &self,
        connection: &mut Connection,
        token: &str,
    ) -> DriverResult<Option<Error>> {
        let Some(row) = self.lock(connection, token)? else { return Ok(None) };
        if row.is_live {
            let is_same = row.token == token.as_bytes();
            return Ok(Some(if is_same {
                Error::TokenTaken
            } else {
                // The column takes another session's token for the same.
                Error::InvalidToken(TokenProblem::Unrepresentable)
            }));
        }
        connection.execute(&self.statements.delete_row, vec![token.into()])?;
        if let Some(subjects) = &self.subjects {
            subjects.unlink(connection, &row.token)?;
        }
        Ok(None)
    }

    /// As [`free_token`](Self::free_token), in a transaction of its own.
    pub(crate) fn free_token_in_transaction(&self, token: &str) -> Result<Option<Error>, Error> {
        self.run(RetrySafety::Idempotent, |connection| {
            connection.transact(|connection| Ok(End::Commit(self.free_token(connection, token)?)))
        })
    }
}

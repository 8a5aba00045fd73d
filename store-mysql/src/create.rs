//! Creates sessions, and clears their tokens of what has expired.

use mysql::{Result as DriverResult, Value};
use store_core::{Error, TokenProblem};

use crate::connection::{Connection, End};
use crate::error::is_duplicate;
use crate::lost_reply::WriteResult;
use crate::retry::RetrySafety;
use crate::shared::Shared;

/// A session that must be new, checked.
pub(crate) struct NewSession<'a> {
    pub(crate) token: &'a str,
    pub(crate) data: &'a [u8],
    pub(crate) expiry: Value,
    pub(crate) subject: Option<&'a str>,
}

impl Shared {
    /// Creates a session, and its subject with it.
    pub(crate) fn create(&self, session: &NewSession<'_>) -> Result<(), Error> {
        self.write(
            |connection, progress| {
                if session.subject.is_none() {
                    // One statement, unless something is in the way.
                    progress.begin_final_statement();
                    match self.insert(connection, session) {
                        Ok(()) => return Ok(Ok(true)),
                        Err(error) if is_duplicate(&error) => progress.reset(),
                        Err(error) => return Err(error),
                    }
                }
                connection
                    .write(progress, |connection| self.create_in_transaction(connection, session))
            },
            |retry| Ok(self.find(retry, session.token)?.is_none()),
        )
        .map(drop)
    }

    fn insert(&self, connection: &mut Connection, session: &NewSession<'_>) -> DriverResult<()> {
        let params = vec![session.token.into(), session.data.into(), session.expiry.clone()];
        connection.execute(&self.statements.insert, params).map(drop)
    }

    /// Creates a session in a transaction, in place of an expired one if need be.
    fn create_in_transaction(
        &self,
        connection: &mut Connection,
        session: &NewSession<'_>,
    ) -> DriverResult<WriteResult> {
        match self.insert(connection, session) {
            Err(error) if is_duplicate(&error) => {
                if let Some(refusal) = self.free_token(connection, session.token)? {
                    return Ok(Err(refusal));
                }
                self.insert(connection, session)?;
            }
            inserted => inserted?,
        }
        if let (Some(subjects), Some(subject)) = (&self.subjects, session.subject) {
            subjects.link(connection, session.token, subject)?;
        }
        Ok(Ok(true))
    }

    /// Removes a session that is in a new one's way, with its subject, if it has expired, and locks
    /// its place until the transaction ends. Returns why it can't be removed.
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

    /// Removes a session that is in a new one's way if it has expired, by itself.
    pub(crate) fn free_token_in_transaction(&self, token: &str) -> Result<Option<Error>, Error> {
        self.run(RetrySafety::Idempotent, |connection| {
            connection.transact(|connection| Ok(End::Commit(self.free_token(connection, token)?)))
        })
    }
}

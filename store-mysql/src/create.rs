//! Creates sessions.

use mysql::{Result as DriverResult, Value};
use store_core::Error;

use crate::connection::Connection;
use crate::error::is_duplicate;
use crate::lost_reply::WriteResult;
use crate::shared::Shared;

/// A session to be created, checked.
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
                    // One statement, unless the token is taken.
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

    /// Creates a session in a transaction, in place of an expired one if there is one.
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
}

//! Creates sessions.

use mysql::{Result as DriverResult, Value};
use store_core::{Change, Error};

use crate::conditions::Conditions;
use crate::connection::Connection;
use crate::error::is_duplicate;
use crate::lost_reply::WriteResult;
use crate::shared::Shared;

/// A session to be created, checked.
pub(crate) struct NewSession<'a> {
    token: &'a str,
    data: &'a [u8],
    expiry: Value,
    subject: Option<&'a str>,
    conditions: Conditions<'a>,
}

impl<'a> NewSession<'a> {
    /// Checks a change by which a session is to be created. Returns `None` if its conditions can
    /// never hold.
    pub(crate) fn new(
        shared: &Shared,
        token: &'a str,
        change: &'a Change<'a>,
    ) -> Result<Option<Self>, Error> {
        change.check_creation(token, &shared.table.limits)?;
        shared.check_token(token)?;
        let expiry = shared.table.range.expiry(change.first_expiry()?)?;
        if change.needs_subjects() {
            shared.subject_index()?;
        }
        let Some(conditions) = Conditions::new(shared, token, change)? else { return Ok(None) };
        let subject = change.new_subject();
        Ok(Some(Self { token, data: &change.data, expiry, subject, conditions }))
    }

    /// Whether there is nothing to write but the session.
    fn is_plain(&self) -> bool {
        self.subject.is_none() && self.conditions.is_empty()
    }
}

impl Shared {
    /// Creates a session, and all that belongs to it. Returns whether the conditions held.
    pub(crate) fn create(&self, session: &NewSession<'_>) -> Result<bool, Error> {
        self.write(
            |connection, progress| {
                if session.is_plain() {
                    // One statement, unless the token is taken.
                    progress.begin_final_statement();
                    match self.insert(connection, session) {
                        Ok(()) => return Ok(Ok(true)),
                        Err(error) if is_duplicate(&error) => progress.reset(),
                        Err(error) => return Err(error),
                    }
                }
                self.write_under(connection, progress, &session.conditions, |connection| {
                    self.create_in_transaction(connection, session)
                })
            },
            |retry| Ok(self.find(retry, session.token)?.is_none()),
        )
    }

    fn insert(&self, connection: &mut Connection, session: &NewSession<'_>) -> DriverResult<()> {
        let params = vec![session.token.into(), session.data.into(), session.expiry.clone()];
        connection.execute(&self.statements.insert, params).map(drop)
    }

    /// Creates a session in a transaction, in place of an expired one if there is one. The
    /// transaction is rolled back if this returns anything but `true`.
    fn create_in_transaction(
        &self,
        connection: &mut Connection,
        session: &NewSession<'_>,
    ) -> DriverResult<WriteResult> {
        match self.insert(connection, session) {
            Err(error) if is_duplicate(&error) => {
                if let Some(refusal) = self.free_token(connection, session.token)? {
                    let is_possible = self.absorbed_match(connection, &session.conditions)?;
                    return Ok(if is_possible { Err(refusal) } else { Ok(false) });
                }
                self.insert(connection, session)?;
            }
            inserted => inserted?,
        }
        if !self.absorb(connection, &session.conditions)? {
            return Ok(Ok(false));
        }
        if let (Some(subjects), Some(subject)) = (&self.subjects, session.subject) {
            subjects.link(connection, session.token, subject)?;
        }
        Ok(Ok(true))
    }
}

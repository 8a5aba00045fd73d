//! What a change asks of sessions other than its own, and what becomes of them.

use mysql::{Result as DriverResult, Value};
use store_core::{Absorbed, Change, Error, ExpectedSessions, Rotation};

use crate::connection::Connection;
use crate::lost_reply::{Progress, WriteResult};
use crate::shared::Shared;

/// The conditions of a change on sessions other than its own, checked.
pub(crate) struct Conditions<'a> {
    /// Each once.
    absorbed: Vec<&'a Absorbed<'a>>,
    /// What becomes of their tokens.
    absorption: Rotation<'a>,
    expected: Option<&'a ExpectedSessions<'a>>,
}

impl<'a> Conditions<'a> {
    /// Checks the conditions of a change of the session with this token. Returns `None` if they can
    /// never hold.
    pub(crate) fn new(
        shared: &Shared,
        token: &'a str,
        change: &'a Change<'a>,
    ) -> Result<Option<Self>, Error> {
        let Some(absorbed) = distinct(&change.absorbed) else { return Ok(None) };
        let is_possible = absorbed
            .iter()
            .all(|other| other.token != token && shared.check_token(&other.token).is_ok());
        if !is_possible {
            return Ok(None);
        }
        for other in &absorbed {
            shared.check_current(&other.data)?;
        }
        let (absorption, expected) =
            (change.absorption(token), change.expected_sessions.as_deref());
        Ok(Some(Self { absorbed, absorption, expected }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.absorbed.is_empty() && self.expected.is_none()
    }
}

/// Each session once, and leading on if it is to once; `None` if one is asked for with different
/// data.
fn distinct<'a>(absorbed: &'a [Absorbed<'a>]) -> Option<Vec<&'a Absorbed<'a>>> {
    let mut distinct: Vec<&Absorbed<'_>> = Vec::new();
    for other in absorbed {
        match distinct.iter_mut().find(|known| known.token == other.token) {
            None => distinct.push(other),
            Some(known) if known.data != other.data => return None,
            Some(known) if other.leads_on => *known = other,
            Some(_) => {}
        }
    }
    Some(distinct)
}

impl Shared {
    /// Runs a write in a transaction if the sessions are those that are expected.
    ///
    /// The subject is locked first, and its sessions are read by a plain read after that. In a
    /// transaction without gaps such a read sees all that has been committed by then, so it sees
    /// what the last write that had the lock has done; and it waits for nobody.
    pub(crate) fn write_under(
        &self,
        connection: &mut Connection,
        progress: &mut Progress,
        conditions: &Conditions<'_>,
        operation: impl FnOnce(&mut Connection) -> DriverResult<WriteResult>,
    ) -> DriverResult<WriteResult> {
        let (Some(expected), Some(subjects)) = (conditions.expected, &self.subjects) else {
            return connection.write(progress, operation);
        };
        connection.write_without_gaps(progress, |connection| {
            subjects.lock(connection, &expected.subject)?;
            let live = subjects.live_tokens(connection, &expected.subject)?;
            if expected.are(live.iter().map(String::as_str)) {
                operation(connection)
            } else {
                Ok(Ok(false))
            }
        })
    }

    /// Ends the sessions that a change absorbs, and records where their tokens lead, if they do.
    /// Returns whether all were live and matched.
    pub(crate) fn absorb(
        &self,
        connection: &mut Connection,
        conditions: &Conditions<'_>,
    ) -> DriverResult<bool> {
        let Conditions { absorbed, absorption, .. } = conditions;
        for other in absorbed {
            // If the other session had the new token, the change would have failed.
            if other.token == absorption.new_token
                || !self.delete_matching(connection, &other.token, &other.data)?
            {
                return Ok(false);
            }
        }
        // After all rows are locked, because the first plain read can fix the transaction's
        // snapshot.
        if let Some(rotations) = &self.rotations {
            for other in absorbed.iter().filter(|other| other.leads_on) {
                rotations.record(connection, &other.token, absorption)?;
            }
        }
        Ok(true)
    }

    /// Whether all sessions to be absorbed are live and match, and so whether a token that is taken
    /// is what the change fails by.
    pub(crate) fn absorbed_match(
        &self,
        connection: &mut Connection,
        conditions: &Conditions<'_>,
    ) -> DriverResult<bool> {
        for other in &conditions.absorbed {
            let token = Value::from(&*other.token);
            let params = vec![token.clone(), token, Value::from(&*other.data)];
            if connection.query_first(&self.statements.matches, params)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

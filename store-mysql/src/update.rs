//! The conditional write: all of a change, in one statement or in one transaction.

use mysql::{Result as DriverResult, Value};
use store_core::{Change, Error, Rotation};

use crate::conditions::Conditions;
use crate::connection::Connection;
use crate::error::is_duplicate;
use crate::lost_reply::WriteResult;
use crate::shared::Shared;

/// A change of a session, checked.
pub(crate) struct Update<'a> {
    token: &'a str,
    current: &'a [u8],
    data: &'a [u8],
    /// Unless it stays as it is.
    expiry: Option<Value>,
    /// The token that the session has afterwards.
    new_token: &'a str,
    /// Only if that is another one.
    rotation: Option<&'a Rotation<'a>>,
    subject: Subject<'a>,
    conditions: Conditions<'a>,
}

/// What happens to the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject<'a> {
    Kept,
    Cleared,
    Set(&'a str),
}

impl<'a> Update<'a> {
    /// Checks a change. Returns `None` if no session can match it.
    pub(crate) fn new(
        shared: &Shared,
        token: &'a str,
        current: &'a [u8],
        change: &'a Change<'a>,
    ) -> Result<Option<Self>, Error> {
        change.check(&shared.table.limits)?;
        let rotation = change.rotation.as_ref().filter(|rotation| rotation.new_token != token);
        let new_token = rotation.map_or(token, |rotation| &rotation.new_token);
        if rotation.is_some() {
            shared.check_token(new_token)?;
        }
        let expiry = change.expiry.map(|expiry| shared.table.range.expiry(expiry)).transpose()?;
        if change.needs_subjects() {
            shared.subject_index()?;
        }
        let subject = match &change.subject {
            Some(Some(subject)) => Subject::Set(subject),
            // Without the index no session has a subject.
            Some(None) if shared.subjects.is_some() => Subject::Cleared,
            Some(None) | None => Subject::Kept,
        };
        if shared.check_token(token).is_err() {
            return Ok(None);
        }
        let Some(conditions) = Conditions::new(shared, token, change)? else { return Ok(None) };
        shared.check_current(current)?;
        Ok(Some(Self {
            token,
            current,
            data: &change.data,
            expiry,
            new_token,
            rotation,
            subject,
            conditions,
        }))
    }

    /// Whether only data and perhaps the expiry change.
    fn is_plain(&self) -> bool {
        self.rotation.is_none() && self.subject == Subject::Kept && self.conditions.is_empty()
    }
}

impl Shared {
    /// Makes a change. Returns whether the session was live and matched.
    pub(crate) fn update(&self, update: &Update<'_>) -> Result<bool, Error> {
        self.write(
            |connection, progress| {
                if update.is_plain() {
                    progress.begin_final_statement();
                    return self.set(connection, update).map(Ok);
                }
                self.write_under(connection, progress, &update.conditions, |connection| {
                    self.change(connection, update)
                })
            },
            |retry| {
                let session = self.find(retry, update.token)?;
                Ok(session.is_some_and(|(data, _)| data == update.current))
            },
        )
    }

    /// Makes a change in a transaction, which is rolled back if this returns anything but `true`.
    ///
    /// The session's row is locked first, by the statement that compares its data. A transaction
    /// that rotates, absorbs or deletes the session needs that lock, so what is read of the session
    /// and its records afterwards stays true until this transaction ends.
    fn change(
        &self,
        connection: &mut Connection,
        update: &Update<'_>,
    ) -> DriverResult<WriteResult> {
        match self.set(connection, update) {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(false)),
            Err(error) if is_duplicate(&error) && update.rotation.is_some() => {
                // Only the statement was rolled back: the row is still locked.
                if let Some(refusal) = self.free_token(connection, update.new_token)? {
                    let is_possible = self.absorbed_match(connection, &update.conditions)?;
                    return Ok(if is_possible { Err(refusal) } else { Ok(false) });
                }
                if !self.set(connection, update)? {
                    return Ok(Ok(false));
                }
            }
            Err(error) => return Err(error),
        }
        if !self.absorb(connection, &update.conditions)? {
            return Ok(Ok(false));
        }
        if let (Some(rotations), Some(rotation)) = (&self.rotations, update.rotation) {
            rotations.record(connection, update.token, rotation)?;
        }
        // Last, because it may lock a gap into which other transactions insert.
        self.set_subject(connection, update)?;
        Ok(Ok(true))
    }

    /// Sets data, token and perhaps the expiry if the session is live and its data is `current`.
    fn set(&self, connection: &mut Connection, update: &Update<'_>) -> DriverResult<bool> {
        let mut params = vec![update.data.into()];
        params.extend(update.expiry.clone());
        params.push(update.new_token.into());
        params.extend([update.token, update.token].map(Value::from));
        params.push(update.current.into());
        let statement = match update.expiry {
            Some(_) => &self.statements.update,
            None => &self.statements.update_data,
        };
        Ok(connection.execute(statement, params)?.has_matched())
    }

    /// Brings the index of subjects up to date with the change.
    ///
    /// An entry is inserted before another one is deleted. A deletion that finds nothing locks a
    /// gap, and in the other order the gaps and the insertions of two transactions deadlock.
    fn set_subject(&self, connection: &mut Connection, update: &Update<'_>) -> DriverResult<()> {
        let Some(subjects) = &self.subjects else { return Ok(()) };
        let Update { token, new_token, .. } = *update;
        let is_rotated = update.rotation.is_some();
        match update.subject {
            Subject::Kept if is_rotated => subjects.follow(connection, token, new_token),
            Subject::Kept => Ok(()),
            Subject::Cleared => subjects.unlink(connection, token.as_bytes()),
            Subject::Set(subject) => {
                subjects.link(connection, new_token, subject)?;
                if is_rotated { subjects.unlink(connection, token.as_bytes()) } else { Ok(()) }
            }
        }
    }
}

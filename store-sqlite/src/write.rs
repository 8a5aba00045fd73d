//! What a store writes, as pieces of work that any thread can do: so that writers who come at the
//! same time share a transaction.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Error as SqliteError, Result as SqliteResult, params};
use store_core::backend::Operation;
use store_core::{Change, Error, Rotation};

use crate::julian;
use crate::store::Backend;

/// How many sessions were changed, or why the operation was refused.
pub(crate) type WriteResult = Result<u64, Error>;

/// Whether it is one statement that needs to know neither the time nor anything else, so that it needs no
/// transaction of its own.
pub(crate) fn is_single_statement(operation: &Operation<'_>, has_side_tables: bool) -> bool {
    match operation {
        Operation::Commit { .. } => true,
        Operation::Delete { .. } => !has_side_tables,
        _ => false,
    }
}

/// Executes an operation, in a transaction or as a single statement. `now` is from when the
/// database was ours.
///
/// An operation that is refused, or changes no session, has written nothing: others may share the
/// transaction.
pub(crate) fn execute(
    operation: &Operation<'_>,
    backend: &Backend,
    connection: &Connection,
    now: f64,
) -> SqliteResult<WriteResult> {
    let writer = Writer { backend, connection, now };
    let written = match operation {
        Operation::Commit { token, data, expiry } => writer.commit(token, data, *expiry),
        Operation::Create { token, data, expiry, subject } => {
            writer.create(token, data, *expiry, subject.as_deref())
        }
        Operation::Update { token, current, change } => writer.update(token, current, change),
        Operation::Touch { token, expiry } => writer.touch(token, *expiry),
        Operation::Delete { token } => writer.delete(token),
        Operation::DeleteBySubject { subject, except } => {
            writer.delete_by_subject(subject, except.as_deref())
        }
    };
    match written {
        Ok(changed) => Ok(Ok(changed as u64)),
        Err(WriteError::Refused(error)) => Ok(Err(error)),
        Err(WriteError::Sqlite(error)) => Err(error),
    }
}

/// Why an operation changed nothing.
enum WriteError {
    /// The operation alone is at fault.
    Refused(Error),
    /// The transaction is to be rolled back.
    Sqlite(SqliteError),
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<SqliteError> for WriteError {
    fn from(error: SqliteError) -> Self {
        Self::Sqlite(error)
    }
}

/// Where and when an operation is executed.
struct Writer<'a> {
    backend: &'a Backend,
    connection: &'a Connection,
    now: f64,
}

impl Writer<'_> {
    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<usize, WriteError> {
        let expiry = julian::from_expiry(expiry)?;
        let mut statement = self.connection.prepare_cached(&self.backend.statements.commit)?;
        Ok(statement.execute(params![token, data, expiry])?)
    }

    fn create(
        &self,
        token: &str,
        data: &[u8],
        expiry: DateTime<Utc>,
        subject: Option<&str>,
    ) -> Result<usize, WriteError> {
        let expiry = julian::from_expiry(expiry)?;
        let mut statement = self.connection.prepare_cached(&self.backend.statements.create)?;
        if statement.execute(params![token, data, expiry, self.now])? == 0 {
            return Err(Error::TokenTaken.into());
        }
        // An expired session under the token may have had another.
        self.set_subject(token, subject)?;
        Ok(1)
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<usize, WriteError> {
        let expiry = julian::from_expiry(expiry)?;
        let mut statement = self.connection.prepare_cached(&self.backend.statements.touch)?;
        Ok(statement.execute(params![token, expiry, self.now])?)
    }

    fn update(
        &self,
        token: &str,
        current: &[u8],
        change: &Change<'_>,
    ) -> Result<usize, WriteError> {
        let rotation = change.rotation.as_ref().filter(|rotation| rotation.new_token != token);
        if rotation.is_none() && change.absorbed.is_empty() {
            return self.update_in_place(token, current, change);
        }

        // All checks come before the first write.
        let Some(row) = self.matching_row(token, current)? else { return Ok(0) };
        for other in &change.absorbed {
            if other.token == token || self.matching_row(&other.token, &other.data)?.is_none() {
                return Ok(0);
            }
        }
        if let Some(rotation) = rotation
            && self.is_live(&rotation.new_token)?
        {
            return Err(Error::TokenTaken.into());
        }

        for other in &change.absorbed {
            self.remove(&other.token)?;
            if let Some(rotations) = &self.backend.rotations {
                let absorption = change.absorption(token);
                rotations.record(self.connection, &other.token, &absorption, self.now)?;
            }
        }
        match rotation {
            Some(rotation) => self.rotate(row, token, change, rotation),
            None => self.update_in_place(token, current, change),
        }
    }

    /// Updates a session that keeps its token. The statement checks what it writes over, so that a
    /// change of data and expiry is this one statement.
    fn update_in_place(
        &self,
        token: &str,
        current: &[u8],
        change: &Change<'_>,
    ) -> Result<usize, WriteError> {
        let expiry = julian::from_expiry(change.expiry)?;
        let mut statement = self.connection.prepare_cached(&self.backend.statements.update)?;
        let updated = statement.execute(params![token, current, change.data, expiry, self.now])?;
        if updated == 1
            && let Some(subject) = &change.subject
        {
            self.set_subject(token, subject.as_deref())?;
        }
        Ok(updated)
    }

    /// Updates a session that gets a token which no live one has.
    fn rotate(
        &self,
        row: i64,
        token: &str,
        change: &Change<'_>,
        rotation: &Rotation<'_>,
    ) -> Result<usize, WriteError> {
        let expiry = julian::from_expiry(change.expiry)?;
        let new_token = &*rotation.new_token;
        let statements = &self.backend.statements;
        // An expired session may still have the new token.
        self.connection.prepare_cached(&statements.delete)?.execute([new_token])?;
        let mut statement = self.connection.prepare_cached(&statements.rotate)?;
        let updated = statement.execute(params![row, new_token, change.data, expiry])?;
        if let Some(subjects) = &self.backend.subjects {
            match &change.subject {
                Some(subject) => {
                    subjects.delete(self.connection, token)?;
                    subjects.set(self.connection, new_token, subject.as_deref())?;
                }
                None => subjects.rename(self.connection, token, new_token)?,
            }
        }
        if let Some(rotations) = &self.backend.rotations {
            rotations.record(self.connection, token, rotation, self.now)?;
        }
        Ok(updated)
    }

    fn delete(&self, token: &str) -> Result<usize, WriteError> {
        let newest = self.newest_token(token)?;
        let deleted = self.remove(token)?;
        match newest {
            Some(newest) => Ok(deleted + self.remove(&newest)?),
            None => Ok(deleted),
        }
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<usize, WriteError> {
        let Some(subjects) = &self.backend.subjects else { return Ok(0) };
        let newest = match except {
            Some(except) => self.newest_token(except)?,
            None => None,
        };
        let except = newest.as_deref().or(except);
        Ok(subjects.delete_sessions(self.connection, subject, except, self.now)?)
    }

    /// Returns the newest token of a session that had this one within the grace. A live session
    /// that has the token comes before that.
    fn newest_token(&self, token: &str) -> SqliteResult<Option<String>> {
        let Some(rotations) = &self.backend.rotations else { return Ok(None) };
        match rotations.newest(self.connection, token, self.now)? {
            Some(newest) if !self.is_live(token)? => Ok(Some(newest)),
            _ => Ok(None),
        }
    }

    fn is_live(&self, token: &str) -> SqliteResult<bool> {
        let mut statement = self.connection.prepare_cached(&self.backend.statements.is_live)?;
        statement.exists(params![token, self.now])
    }

    /// Returns the row of the live session that has this token and these data.
    fn matching_row(&self, token: &str, data: &[u8]) -> SqliteResult<Option<i64>> {
        let mut statement =
            self.connection.prepare_cached(&self.backend.statements.matching_row)?;
        let mut found = statement.query(params![token, data, self.now])?;
        found.next()?.map(|row| row.get(0)).transpose()
    }

    /// Removes what is under a token, live or not, and its subject.
    fn remove(&self, token: &str) -> SqliteResult<usize> {
        let mut statement = self.connection.prepare_cached(&self.backend.statements.delete)?;
        let deleted = statement.execute([token])?;
        self.set_subject(token, None)?;
        Ok(deleted)
    }

    fn set_subject(&self, token: &str, subject: Option<&str>) -> SqliteResult<()> {
        match &self.backend.subjects {
            Some(subjects) => subjects.set(self.connection, token, subject),
            None => Ok(()),
        }
    }
}

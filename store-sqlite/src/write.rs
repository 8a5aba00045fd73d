//! What a store writes, as pieces of work that any thread can do, so that concurrent writers share
//! a transaction.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Params, Result as SqliteResult, params};
use store_core::backend::Operation;
use store_core::{Change, Error, Rotation};

use crate::error;
use crate::julian::from_instant;
use crate::tables::Tables;

/// A write of the application, whose expiries are in the range, or one of the store's own.
pub(crate) enum Write<'a> {
    Operation(Operation<'a>),
    /// Removes these sessions, with their subjects, unless they have been renewed.
    RemoveSessions {
        rows: Vec<i64>,
        /// Whether they are as many as were allowed.
        is_full: bool,
    },
    /// Removes this many expired records of rotations at most, after those that are stuck.
    RemoveRecords {
        rows: i64,
        stuck: i64,
    },
    /// Removes the entries without a session from a page of the index of subjects.
    RemoveOrphans {
        after: String,
        end: String,
    },
}

/// What a write did, or why it was refused.
pub(crate) type WriteResult = Result<Done, Error>;

pub(crate) struct Done {
    /// How many sessions were changed, or how many rows a batch of a cleanup run has removed.
    pub(crate) rows: u64,
    /// How long that batch took.
    pub(crate) removal: Option<Removal>,
}

#[derive(Clone, Copy)]
pub(crate) struct Removal {
    pub(crate) duration: Duration,
    /// Whether as many rows were removed as were allowed, so that there may be more.
    pub(crate) is_full: bool,
}

impl Write<'_> {
    /// Returns how many bytes of data there are to write.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Operation(operation) => operation.bytes(),
            Self::RemoveSessions { .. }
            | Self::RemoveRecords { .. }
            | Self::RemoveOrphans { .. } => 0,
        }
    }

    /// The same for another thread.
    pub(crate) fn to_static(&self) -> Write<'static> {
        match self {
            Self::Operation(operation) => Write::Operation(operation.to_static()),
            Self::RemoveSessions { rows, is_full } => {
                Write::RemoveSessions { rows: rows.clone(), is_full: *is_full }
            }
            Self::RemoveRecords { rows, stuck } => {
                Write::RemoveRecords { rows: *rows, stuck: *stuck }
            }
            Self::RemoveOrphans { after, end } => {
                Write::RemoveOrphans { after: after.clone(), end: end.clone() }
            }
        }
    }

    /// Returns whether a single statement does it, or may do it, so that it needs no transaction
    /// around that.
    pub(crate) fn may_be_single_statement(&self, tables: &Tables) -> bool {
        match self {
            Self::Operation(Operation::Commit { .. } | Operation::Touch { .. }) => true,
            Self::Operation(Operation::Update { token, change, .. }) => {
                change.subject.is_none() && !has_conditions_or_rotates(change, token)
            }
            Self::Operation(Operation::Delete { .. }) => !tables.has_side_tables(),
            _ => false,
        }
    }

    /// Executes the single statement. Nothing, if it has done nothing and there is more to do.
    pub(crate) fn execute_single_statement(
        &self,
        tables: &Tables,
        connection: &Connection,
        now: f64,
    ) -> SqliteResult<Option<WriteResult>> {
        if let Self::Operation(Operation::Commit { token, data, expiry }) = self
            && tables.subjects.is_some()
        {
            // A live session keeps its subject. Another may have one that isn't the new session's.
            let mut statement = connection.prepare_cached(&tables.sessions.commit_live)?;
            let rows = statement.execute(params![token, data, from_instant(*expiry), now])?;
            return Ok((rows > 0).then_some(Ok(Done { rows: rows as u64, removal: None })));
        }
        self.execute(tables, connection, now).map(Some)
    }

    /// Executes it, in a transaction or as a single statement. `now` is from when the store had the
    /// database for itself.
    ///
    /// A write that is refused, or changes no session, has written nothing: others may share the
    /// transaction.
    pub(crate) fn execute(
        &self,
        tables: &Tables,
        connection: &Connection,
        now: f64,
    ) -> SqliteResult<WriteResult> {
        let writer = Writer { tables, connection, now };
        match self {
            Self::Operation(operation) => {
                let changed = writer.execute(operation)?;
                Ok(changed.map(|changed| Done { rows: changed as u64, removal: None }))
            }
            Self::RemoveSessions { rows, is_full } => {
                writer.remove_sessions(rows, *is_full).map(Ok)
            }
            Self::RemoveRecords { rows, stuck } => writer.remove_records(*rows, *stuck).map(Ok),
            Self::RemoveOrphans { after, end } => {
                let Some(subjects) = &tables.subjects else {
                    return Ok(Ok(Done { rows: 0, removal: None }));
                };
                let orphans = subjects.delete_orphans(connection, after, end)?;
                Ok(Ok(Done { rows: orphans as u64, removal: None }))
            }
        }
    }
}

/// The rotation to another token than the session's, if there is one.
fn rotation_from<'a, 'b>(change: &'a Change<'b>, token: &str) -> Option<&'a Rotation<'b>> {
    change.rotation.as_ref().filter(|rotation| rotation.new_token != token)
}

/// Whether a change is more than one of the row.
fn has_conditions_or_rotates(change: &Change<'_>, token: &str) -> bool {
    change.has_conditions() || rotation_from(change, token).is_some()
}

/// How many sessions an operation changed, or why it was refused.
type Changed = Result<usize, Error>;

/// Where and when a write is executed.
struct Writer<'a> {
    tables: &'a Tables,
    connection: &'a Connection,
    now: f64,
}

impl Writer<'_> {
    fn execute(&self, operation: &Operation<'_>) -> SqliteResult<Changed> {
        let changed = match operation {
            Operation::Commit { token, data, expiry } => {
                // A live session keeps its subject.
                if let Some(subjects) = &self.tables.subjects {
                    subjects.delete_unless_live(self.connection, token, self.now)?;
                }
                let commit = &self.tables.sessions.commit;
                self.run(commit, params![token, data, from_instant(*expiry)])?
            }
            Operation::Create { token, change } => return self.create(token, change),
            Operation::Update { token, current, change } => {
                return self.update(token, current, change);
            }
            Operation::Touch { token, expiry } => {
                let touch = &self.tables.sessions.touch;
                self.run(touch, params![token, from_instant(*expiry), self.now])?
            }
            Operation::Delete { token } => self.delete(token)?,
            Operation::DeleteBySubject { subject, except } => {
                self.delete_by_subject(subject, except.as_deref())?
            }
            Operation::DeleteAll => {
                // Records of rotations lead to sessions that are gone, and are swept.
                if let Some(subjects) = &self.tables.subjects {
                    subjects.delete_all(self.connection)?;
                }
                self.run(&self.tables.sessions.delete_all, [])?
            }
        };
        Ok(Ok(changed))
    }

    fn create(&self, token: &str, change: &Change<'_>) -> SqliteResult<Changed> {
        // All checks come before the first write.
        if change.has_conditions() {
            if !self.conditions_hold(token, change)? {
                return Ok(Ok(0));
            }
            if self.is_live(token)? {
                return Ok(Err(Error::TokenTaken));
            }
            self.absorb(token, change)?;
        }
        let create = &self.tables.sessions.create;
        let expiry = change.expiry.map(from_instant);
        if self.run(create, params![token, change.data, expiry, self.now])? == 0 {
            return Ok(Err(Error::TokenTaken));
        }
        // An expired session under the token may have had another.
        self.set_subject(token, change.new_subject())?;
        Ok(Ok(1))
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> SqliteResult<Changed> {
        if !has_conditions_or_rotates(change, token) {
            return self.update_in_place(token, current, change).map(Ok);
        }
        let rotation = rotation_from(change, token);

        // All checks come before the first write.
        let Some(row) = self.matching_row(token, current)? else { return Ok(Ok(0)) };
        if !self.conditions_hold(token, change)? {
            return Ok(Ok(0));
        }
        if let Some(rotation) = rotation
            && self.is_live(&rotation.new_token)?
        {
            return Ok(Err(Error::TokenTaken));
        }

        self.absorb(token, change)?;
        match rotation {
            Some(rotation) => self.rotate(row, token, change, rotation).map(Ok),
            None => self.update_in_place(token, current, change).map(Ok),
        }
    }

    /// Returns whether a change's conditions on sessions other than its own hold.
    fn conditions_hold(&self, token: &str, change: &Change<'_>) -> SqliteResult<bool> {
        for other in &change.absorbed {
            if other.token == token || self.matching_row(&other.token, &other.data)?.is_none() {
                return Ok(false);
            }
        }
        let Some(expected) = &change.expected_sessions else { return Ok(true) };
        let Some(subjects) = &self.tables.subjects else { return Ok(false) };
        let found = subjects.find(self.connection, &expected.subject, self.now)?;
        Ok(expected.are(found.iter().map(|record| &*record.token)))
    }

    /// Ends the sessions that a change absorbs, and leads their tokens to its own if they are to.
    fn absorb(&self, token: &str, change: &Change<'_>) -> SqliteResult<()> {
        for other in &change.absorbed {
            self.remove(&other.token)?;
            if let Some(rotations) = self.tables.rotations.as_ref().filter(|_| other.leads_on) {
                let absorption = change.absorption(token);
                rotations.record(self.connection, &other.token, &absorption, self.now)?;
            }
        }
        Ok(())
    }

    /// Updates a session that keeps its token. The statement checks what it overwrites, so that a
    /// change of data and expiry is this one statement.
    fn update_in_place(
        &self,
        token: &str,
        current: &[u8],
        change: &Change<'_>,
    ) -> SqliteResult<usize> {
        let expiry = change.expiry.map(from_instant);
        let update = &self.tables.sessions.update;
        let updated = self.run(update, params![token, current, change.data, expiry, self.now])?;
        if updated == 1
            && let Some(subject) = &change.subject
        {
            self.set_subject(token, subject.as_deref())?;
        }
        Ok(updated)
    }

    /// Updates a session and gives it a token that no live one has.
    fn rotate(
        &self,
        row: i64,
        token: &str,
        change: &Change<'_>,
        rotation: &Rotation<'_>,
    ) -> SqliteResult<usize> {
        let expiry = change.expiry.map(from_instant);
        let new_token = &*rotation.new_token;
        // An expired session may still have the new token.
        self.run(&self.tables.sessions.delete, [new_token])?;
        let rotate = &self.tables.sessions.rotate;
        let updated = self.run(rotate, params![row, new_token, change.data, expiry])?;
        if let Some(subjects) = &self.tables.subjects {
            match &change.subject {
                Some(subject) => {
                    subjects.delete(self.connection, token)?;
                    subjects.set(self.connection, new_token, subject.as_deref())?;
                }
                None => subjects.rename(self.connection, token, new_token)?,
            }
        }
        if let Some(rotations) = &self.tables.rotations {
            rotations.record(self.connection, token, rotation, self.now)?;
        }
        Ok(updated)
    }

    fn delete(&self, token: &str) -> SqliteResult<usize> {
        let newest = self.newest_token(token)?;
        let deleted = self.remove(token)?;
        match newest {
            Some(newest) => Ok(deleted + self.remove(&newest)?),
            None => Ok(deleted),
        }
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> SqliteResult<usize> {
        let Some(subjects) = &self.tables.subjects else { return Ok(0) };
        let newest = match except {
            Some(except) => self.newest_token(except)?,
            None => None,
        };
        let except = newest.as_deref().or(except);
        subjects.delete_sessions(self.connection, subject, except, self.now)
    }

    fn remove_sessions(&self, rows: &[i64], is_full: bool) -> SqliteResult<Done> {
        let started = Instant::now();
        let sessions = &self.tables.sessions;
        let mut removed = 0;
        for &row in rows {
            // Before the session, which says whether it has expired.
            if let Some(subjects) = &self.tables.subjects {
                subjects.delete_expired(self.connection, row, self.now)?;
            }
            match self.run(&sessions.delete_expired, params![row, self.now])? {
                0 => self.expect_none(&sessions.is_left, params![row, self.now])?,
                _ => removed += 1,
            }
        }
        Ok(Done { rows: removed, removal: Some(Removal { duration: started.elapsed(), is_full }) })
    }

    fn remove_records(&self, rows: i64, stuck: i64) -> SqliteResult<Done> {
        let started = Instant::now();
        let Some(rotations) = &self.tables.rotations else {
            return Ok(Done { rows: 0, removal: None });
        };
        let removed = self.run(&rotations.delete_expired, params![self.now, rows, stuck])? as u64;
        let is_full = removed >= rows.unsigned_abs();
        if !is_full {
            self.expect_none(&rotations.expired, params![self.now, 1, stuck])?;
        }
        let removal = Some(Removal { duration: started.elapsed(), is_full });
        Ok(Done { rows: removed, removal })
    }

    /// Checks that a removal has left nothing: a trigger's `RAISE(IGNORE)` keeps a row without an
    /// error.
    fn expect_none(&self, sql: &str, parameters: impl Params) -> SqliteResult<()> {
        if self.connection.prepare_cached(sql)?.exists(parameters)? {
            return Err(error::kept_by_trigger());
        }
        Ok(())
    }

    /// Returns the newest token of a session that had this one within the grace. A live session
    /// that has the token takes precedence.
    fn newest_token(&self, token: &str) -> SqliteResult<Option<String>> {
        let Some(rotations) = &self.tables.rotations else { return Ok(None) };
        match rotations.newest(self.connection, token, self.now)? {
            Some(newest) if !self.is_live(token)? => Ok(Some(newest)),
            _ => Ok(None),
        }
    }

    fn is_live(&self, token: &str) -> SqliteResult<bool> {
        let mut statement = self.connection.prepare_cached(&self.tables.sessions.is_live)?;
        statement.exists(params![token, self.now])
    }

    /// Returns the row of the live session that has this token and these data.
    fn matching_row(&self, token: &str, data: &[u8]) -> SqliteResult<Option<i64>> {
        let mut statement = self.connection.prepare_cached(&self.tables.sessions.matching_row)?;
        let mut found = statement.query(params![token, data, self.now])?;
        found.next()?.map(|row| row.get(0)).transpose()
    }

    /// Removes what is under a token, live or not, and its subject.
    fn remove(&self, token: &str) -> SqliteResult<usize> {
        let deleted = self.run(&self.tables.sessions.delete, [token])?;
        self.set_subject(token, None)?;
        Ok(deleted)
    }

    fn set_subject(&self, token: &str, subject: Option<&str>) -> SqliteResult<()> {
        match &self.tables.subjects {
            Some(subjects) => subjects.set(self.connection, token, subject),
            None => Ok(()),
        }
    }

    /// Executes a statement, and returns how many rows it changed.
    fn run(&self, sql: &str, parameters: impl Params) -> SqliteResult<usize> {
        self.connection.prepare_cached(sql)?.execute(parameters)
    }
}

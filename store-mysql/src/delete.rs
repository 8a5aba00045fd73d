//! Deletes a session under its token or an earlier one.

use mysql::{Result as DriverResult, Value};
use store_core::{Error, Loaded};

use crate::connection::{Connection, End};
use crate::error::ErrorClass;
use crate::retry::RetrySafety;
use crate::shared::Shared;
use crate::sql::Sql;

impl Shared {
    /// Deletes the live session that a token names, or had named until a moment ago.
    pub(crate) fn delete(&self, token: &str) -> Result<(), Error> {
        let mut retry = self.retry();
        loop {
            let is_done = retry
                .run(RetrySafety::Idempotent, |connection| self.try_delete(connection, token))
                .map_err(|error| self.explain(error))?;
            if is_done {
                return Ok(());
            }
            if !retry.should_retry(ErrorClass::Contention) {
                let source =
                    "a new session had the token each time that the old one was deleted".into();
                return Err(Error::Contended { source });
            }
        }
    }

    /// Returns whether the session has ended. Another one may begin under its token between two
    /// statements.
    fn try_delete(&self, connection: &mut Connection, token: &str) -> DriverResult<bool> {
        // This statement waits for a rotation under way. If the rotation comes first, it has
        // committed when this finds nothing, and the next read sees its record. If this comes
        // first, the rotation finds no session.
        if self.delete_live(connection, token)? {
            return Ok(true);
        }
        let Some(rotations) = &self.rotations else { return Ok(true) };
        match rotations.load(connection, token)? {
            Loaded::Missing => Ok(true),
            Loaded::Live { .. } => Ok(false),
            Loaded::Rotated { .. } => connection.transact(|connection| {
                let is_done = self.delete_rotated(connection, token)?;
                Ok(if is_done { End::Commit(true) } else { End::Rollback(false) })
            }),
        }
    }

    /// Deletes a session under its newest token, in a transaction; returns whether it has ended.
    ///
    /// While the old token's place is locked no session begins there. While its record is
    /// locked a rotation that goes further can't commit: what the record says holds until this
    /// ends. If such a rotation has the session already, it and this one wait for each other, and
    /// this one is made again.
    fn delete_rotated(&self, connection: &mut Connection, token: &str) -> DriverResult<bool> {
        let newest = self.lock_newest(connection, token)?;
        if newest.as_deref() == Some(token) {
            return Ok(false);
        }
        if let Some(newest) = newest {
            self.delete_live(connection, &newest)?;
        }
        Ok(true)
    }

    /// Returns the token under which a session is live, its own or the newest one, and keeps it
    /// there until the transaction ends.
    pub(crate) fn lock_newest(
        &self,
        connection: &mut Connection,
        token: &str,
    ) -> DriverResult<Option<String>> {
        if self.lock_live(connection, token)? {
            return Ok(Some(token.to_owned()));
        }
        match &self.rotations {
            Some(rotations) => rotations.lock(connection, token),
            None => Ok(None),
        }
    }

    /// Deletes a live session and its subject, in one statement; returns whether there was one.
    pub(crate) fn delete_live(
        &self,
        connection: &mut Connection,
        token: &str,
    ) -> DriverResult<bool> {
        let params = self.session_and_subject(token);
        self.execute_joined(connection, token, &self.statements.delete_live, params)
    }

    /// As [`delete_live`](Self::delete_live), if the session has this data.
    pub(crate) fn delete_matching(
        &self,
        connection: &mut Connection,
        token: &str,
        data: &[u8],
    ) -> DriverResult<bool> {
        let mut params = self.session_and_subject(token);
        params.push(data.into());
        self.execute_joined(connection, token, &self.statements.delete_matching, params)
    }

    /// Deletes what a join finds of a session; returns whether that was anything.
    fn execute_joined(
        &self,
        connection: &mut Connection,
        token: &str,
        sql: &Sql,
        params: Vec<Value>,
    ) -> DriverResult<bool> {
        let deleted = if self.subjects.is_some() && !connection.engine().joins_after_locking() {
            connection.join_transaction(|connection| {
                self.lock(connection, token)?;
                connection.execute(sql, params)
            })
        } else {
            connection.execute(sql, params)
        };
        Ok(deleted?.rows > 0)
    }

    fn session_and_subject(&self, token: &str) -> Vec<Value> {
        vec![token.into(); if self.subjects.is_some() { 3 } else { 2 }]
    }
}

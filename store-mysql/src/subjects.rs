//! The index of subjects, beside the table of sessions.

use std::sync::{Mutex, PoisonError};

use mysql::Result as DriverResult;
use store_core::{Error, SubjectStore, check_subject};

use crate::attempts::Repetition;
use crate::connection::{Connection, Sql};
use crate::store::{Backend, MysqlStore, bytes, is_token, padded, placeholders};
use crate::table::{self, Table};

// `{subjects}` is the index, `{table}` the table of sessions, `{tie_token}` a token of the index as the table compares it.
// What the index says of a session counts only while the session is live, because Go programs delete sessions without it.

const TIE: &str = "INSERT INTO {subjects} (token, subject) VALUES (?, ?) \
    ON DUPLICATE KEY UPDATE subject = ?";

const UNTIE: &str = "DELETE FROM {subjects} WHERE token = ?";

const DELETE_SESSION: &str = "DELETE session, tie FROM {table} AS session \
    LEFT JOIN {subjects} AS tie ON tie.token = ? WHERE session.token = ? AND {is_session}";

const RENAME: &str = "UPDATE {subjects} SET token = ? WHERE token = ?";

const FIND: &str = "SELECT tie.token, session.token FROM {subjects} AS tie \
    STRAIGHT_JOIN {table} AS session ON session.token = {tie_token} \
    WHERE tie.subject = ? AND session.expiry > UTC_TIMESTAMP(6)";

// The ties of rows that have expired stay, and are swept with them.
const DELETE_SESSIONS: &str = "DELETE session, tie FROM {subjects} AS tie \
    STRAIGHT_JOIN {table} AS session ON session.token = {tie_token} \
    WHERE tie.subject = ? AND tie.token <> ? AND session.expiry > UTC_TIMESTAMP(6) \
    AND CAST(CONVERT(session.token USING utf8mb4) AS BINARY) = CAST(tie.token AS BINARY)";

const PAGE_END: &str = "SELECT MAX(token) FROM \
    (SELECT token FROM {subjects} WHERE token > ? ORDER BY token LIMIT ?) AS page";

const ORPHANS: &str = "SELECT tie.token FROM {subjects} AS tie \
    LEFT JOIN {table} AS session ON session.token = {tie_token} \
    WHERE tie.token > ? AND tie.token <= ? AND session.token IS NULL";

const DELETE_ORPHANS: &str = "DELETE tie FROM {subjects} AS tie \
    LEFT JOIN {table} AS session ON session.token = {tie_token} \
    WHERE tie.token IN ({tokens}) AND session.token IS NULL";

/// The statements on the index of subjects.
pub(crate) struct SubjectIndex {
    tie: Sql,
    untie: Sql,
    delete_session: Sql,
    rename: Sql,
    find: Sql,
    delete_sessions: Sql,
    page_end: Sql,
    orphans: Sql,
    delete_orphans: Sql,
    batch_size: usize,
    /// How far the search for orphans has come: ties of sessions that Go programs have deleted.
    searched: Mutex<Vec<u8>>,
}

impl SubjectIndex {
    pub(crate) fn new(table: &Table, batch_size: usize) -> Self {
        let on_tables = |template: &str| {
            let sql = template
                .replace("{subjects}", &format!("`{}`", table::subjects_name(&table.name)))
                .replace("{table}", &format!("`{}`", table.name))
                .replace("{tie_token}", &table.tie_token)
                .replace("{is_session}", &is_token("session.token"))
                .replace("{tokens}", &placeholders(batch_size));
            Sql::new(sql)
        };
        Self {
            tie: on_tables(TIE),
            untie: on_tables(UNTIE),
            delete_session: on_tables(DELETE_SESSION),
            rename: on_tables(RENAME),
            find: on_tables(FIND),
            delete_sessions: on_tables(DELETE_SESSIONS),
            page_end: on_tables(PAGE_END),
            orphans: on_tables(ORPHANS),
            delete_orphans: on_tables(DELETE_ORPHANS),
            batch_size,
            searched: Mutex::default(),
        }
    }

    /// Deletes a session and its tie in one statement.
    pub(crate) fn delete_session(
        &self,
        connection: &mut Connection,
        token: &str,
    ) -> DriverResult<()> {
        let params = vec![token.into(), token.into(), token.into()];
        connection.change(&self.delete_session, params).map(drop)
    }

    /// Keeps the index true when a session gets a new token, in the transaction of the renaming.
    pub(crate) fn rename(
        &self,
        connection: &mut Connection,
        token: &str,
        new_token: &str,
    ) -> DriverResult<()> {
        connection.change(&self.untie, vec![new_token.into()])?;
        connection.change(&self.rename, vec![new_token.into(), token.into()]).map(drop)
    }

    /// Removes the ties of sessions that have just been swept, and of others that are gone, of the next page of the index.
    /// Says whether there were any of the latter.
    pub(crate) fn sweep(&self, backend: &Backend, swept: &[Vec<u8>]) -> Result<bool, Error> {
        if !swept.is_empty() {
            self.untie_gone(backend, swept)?;
        }
        let begin = self.searched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let end = backend.run(Repetition::Read, |connection| {
            let page = vec![begin.as_slice().into(), self.batch_size.into()];
            connection.first(&self.page_end, page)
        })?;
        let end = end.and_then(|mut row| bytes(&mut row, 0)).unwrap_or_default();
        let mut orphans = Vec::new();
        if !end.is_empty() {
            let rows = backend.run(Repetition::Read, |connection| {
                connection.all(&self.orphans, vec![begin.as_slice().into(), end.as_slice().into()])
            })?;
            orphans.extend(rows.into_iter().filter_map(|mut row| bytes(&mut row, 0)));
        }
        for orphans in orphans.chunks(self.batch_size) {
            self.untie_gone(backend, orphans)?;
        }
        // After the last page from the beginning again.
        *self.searched.lock().unwrap_or_else(PoisonError::into_inner) = end;
        Ok(!orphans.is_empty())
    }

    fn untie_gone(&self, backend: &Backend, tokens: &[Vec<u8>]) -> Result<(), Error> {
        backend
            .run(Repetition::Idempotent, |connection| {
                connection.change(&self.delete_orphans, padded(tokens, self.batch_size))
            })
            .map(drop)
    }
}

impl MysqlStore {
    fn subjects(&self) -> Result<&SubjectIndex, Error> {
        self.backend.subjects.as_ref().ok_or_else(|| Error::TableMissing {
            table: table::subjects_name(&self.backend.table.name),
        })
    }
}

/// The index is the table [`MysqlStore::CREATE_SUBJECTS_TABLE`], beside the sessions'. It must be there when the store is
/// made; without it these operations give [`Error::TableMissing`], and the others don't look for it.
impl SubjectStore for MysqlStore {
    fn set_subject(&self, token: &str, subject: Option<&str>) -> Result<bool, Error> {
        subject.map_or(Ok(()), check_subject)?;
        let (backend, subjects) = (&self.backend, self.subjects()?);
        if backend.check_token(token).is_err() {
            return Ok(false);
        }
        backend.run(Repetition::Idempotent, |connection| {
            connection.transact(|connection| {
                if !backend.lock_live(connection, token)? {
                    return Ok(false);
                }
                match subject {
                    Some(subject) => connection.change(
                        &subjects.tie,
                        vec![token.into(), subject.into(), subject.into()],
                    )?,
                    None => connection.change(&subjects.untie, vec![token.into()])?,
                };
                Ok(true)
            })
        })
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<String>, Error> {
        let subjects = self.subjects()?;
        let rows = self.backend.run(Repetition::Read, |connection| {
            connection.all(&subjects.find, vec![subject.into()])
        })?;
        let exact = rows.into_iter().filter_map(|mut row| {
            let (tied, token) = (bytes(&mut row, 0)?, bytes(&mut row, 1)?);
            (tied == token).then(|| String::from_utf8(token).ok()).flatten()
        });
        Ok(exact.collect())
    }

    /// Where the reply to the deletion was lost and it was made again, those that the first attempt removed aren't counted.
    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        let subjects = self.subjects()?;
        // No session has an empty token.
        let except = except.unwrap_or_default();
        let changed = self.backend.run(Repetition::Idempotent, |connection| {
            connection.change(&subjects.delete_sessions, vec![subject.into(), except.into()])
        })?;
        // A session and its tie.
        Ok(changed.affected / 2)
    }
}

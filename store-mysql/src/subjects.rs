//! The index of subjects, beside the table of sessions.

use std::sync::{Mutex, PoisonError};

use mysql::Result as DriverResult;
use store_core::{Error, OwnedRecord};

use crate::connection::{Connection, End, Sql};
use crate::create::is_duplicate;
use crate::retry::Repetition;
use crate::shared::{Backend, Session};
use crate::side_tables;
use crate::statements::{bytes, padded, placeholders, quoted};
use crate::table::Table;

// `{subjects}` is the index, `{table}` the table of sessions, `{tie_token}` a token of the index as
// the table compares it. What the index says of a session counts only while the session is live,
// because Go programs delete sessions without it.

const TIE: &str = "INSERT INTO {subjects} (token, subject) VALUES (?, ?) \
    ON DUPLICATE KEY UPDATE subject = ?";

const UNTIE: &str = "DELETE FROM {subjects} WHERE token = ?";

const FOLLOW: &str = "UPDATE {subjects} SET token = ? WHERE token = ?";

const FIND: &str = "SELECT tie.token, session.token, session.data, session.expiry \
    FROM {subjects} AS tie STRAIGHT_JOIN {table} AS session ON session.token = {tie_token} \
    WHERE tie.subject = ? AND session.expiry > UTC_TIMESTAMP(6)";

const TOKENS: &str = "SELECT token FROM {subjects} WHERE subject = ? ORDER BY token";

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
    follow: Sql,
    find: Sql,
    tokens: Sql,
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
                .replace("{subjects}", &quoted(&side_tables::subjects_name(&table.name)))
                .replace("{table}", &quoted(&table.name))
                .replace("{tie_token}", &table.convert_token("tie.token"))
                .replace("{tokens}", &placeholders(batch_size));
            Sql::new(sql)
        };
        Self {
            tie: on_tables(TIE),
            untie: on_tables(UNTIE),
            follow: on_tables(FOLLOW),
            find: on_tables(FIND),
            tokens: on_tables(TOKENS),
            delete_sessions: on_tables(DELETE_SESSIONS),
            page_end: on_tables(PAGE_END),
            orphans: on_tables(ORPHANS),
            delete_orphans: on_tables(DELETE_ORPHANS),
            batch_size,
            searched: Mutex::default(),
        }
    }

    /// Sets the subject of a token.
    pub(crate) fn tie(
        &self,
        connection: &mut Connection,
        token: &str,
        subject: &str,
    ) -> DriverResult<()> {
        let params = vec![token.into(), subject.into(), subject.into()];
        connection.change(&self.tie, params).map(drop)
    }

    /// Clears the subject of a token.
    pub(crate) fn untie(&self, connection: &mut Connection, token: &[u8]) -> DriverResult<()> {
        connection.change(&self.untie, vec![token.into()]).map(drop)
    }

    /// Leaves the subject to a session that gets a new token, in the transaction that gives it.
    pub(crate) fn follow(
        &self,
        connection: &mut Connection,
        token: &str,
        new_token: &str,
    ) -> DriverResult<()> {
        let params = || vec![new_token.into(), token.into()];
        match connection.change(&self.follow, params()) {
            // Of a session that a Go program has deleted.
            Err(error) if is_duplicate(&error) => {
                self.untie(connection, new_token.as_bytes())?;
                connection.change(&self.follow, params()).map(drop)
            }
            followed => followed.map(drop),
        }
    }

    /// Removes the ties of sessions that are gone, of the next page of the index. Says whether
    /// there were any.
    pub(crate) fn sweep(&self, backend: &Backend) -> Result<bool, Error> {
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
            backend
                .run(Repetition::Idempotent, |connection| self.untie_gone(connection, orphans))?;
        }
        // After the last page from the beginning again.
        *self.searched.lock().unwrap_or_else(PoisonError::into_inner) = end;
        Ok(!orphans.is_empty())
    }

    /// Removes those of the ties whose sessions are gone.
    pub(crate) fn untie_gone(
        &self,
        connection: &mut Connection,
        tokens: &[Vec<u8>],
    ) -> DriverResult<()> {
        connection.change(&self.delete_orphans, padded(tokens, self.batch_size)).map(drop)
    }
}

impl Backend {
    /// Returns the live sessions of a subject.
    pub(crate) fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        let subjects = self.subjects.as_ref().ok_or_else(|| self.no_subjects())?;
        let rows = self.run(Repetition::Read, |connection| {
            connection.all(&subjects.find, vec![subject.into()])
        })?;
        let exact = rows.into_iter().filter_map(|mut row| {
            let tied = bytes(&mut row, 0)?;
            let Session { token, data, expiry } = Session::read_from(&mut row, 1)?;
            (tied == token.as_bytes()).then(|| OwnedRecord::new(token, data, expiry))
        });
        Ok(exact.collect())
    }

    /// Deletes the live sessions of a subject but one. If the reply was lost and it was made again,
    /// those that the first attempt removed aren't counted.
    pub(crate) fn delete_by_subject(
        &self,
        subject: &str,
        except: Option<&str>,
    ) -> Result<u64, Error> {
        let subjects = self.subjects.as_ref().ok_or_else(|| self.no_subjects())?;
        let except = except.filter(|token| self.check_token(token).is_ok());
        let mut is_contended = false;
        let affected = self.run(Repetition::Idempotent, |connection| {
            let ahead = if is_contended { self.tied_tokens(connection, subject)? } else { vec![] };
            is_contended = true;
            let delete = |connection: &mut Connection, except: &str| {
                let params = vec![subject.into(), except.into()];
                Ok(connection.change(&subjects.delete_sessions, params)?.affected)
            };
            if except.is_none() && ahead.is_empty() {
                // No session has an empty token.
                return delete(connection, "");
            }
            connection.transact(|connection| {
                let spared = match except {
                    Some(except) => self.lock_newest(connection, except)?,
                    None => None,
                };
                for token in &ahead {
                    self.lock_newest(connection, token)?;
                }
                delete(connection, spared.as_deref().unwrap_or_default()).map(End::Commit)
            })
        })?;
        // A session and its tie.
        Ok(affected / 2)
    }

    /// The tokens of a subject's sessions, which are locked ahead of a deletion that has
    /// deadlocked: it takes sessions in the order of the index, and a rotation takes the session
    /// first, so sessions that are rotated again and again would be in its way each time.
    fn tied_tokens(&self, connection: &mut Connection, subject: &str) -> DriverResult<Vec<String>> {
        let Some(subjects) = &self.subjects else { return Ok(Vec::new()) };
        let rows = connection.all(&subjects.tokens, vec![subject.into()])?;
        let tokens = rows.into_iter().filter_map(|mut row| bytes(&mut row, 0));
        Ok(tokens.filter_map(|token| String::from_utf8(token).ok()).collect())
    }
}

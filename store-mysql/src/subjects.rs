//! The index of subjects, beside the table of sessions.

use std::sync::{Mutex, PoisonError};

use mysql::Result as DriverResult;
use store_core::{Error, OwnedRecord};

use crate::connection::{Connection, End, Sql};
use crate::create::is_duplicate;
use crate::retry::RetrySafety;
use crate::shared::{Session, Shared};
use crate::side_tables;
use crate::statements::{bytes, padded, placeholders, quoted};
use crate::table::Table;

// `{subjects}` is the index, `{table}` the table of sessions, `{link_token}` a token of the index as
// the table compares it. What the index says of a session counts only while the session is live,
// because Go programs delete sessions without it.

const LINK: &str = "INSERT INTO {subjects} (token, subject) VALUES (?, ?) \
    ON DUPLICATE KEY UPDATE subject = ?";

const UNLINK: &str = "DELETE FROM {subjects} WHERE token = ?";

const FOLLOW: &str = "UPDATE {subjects} SET token = ? WHERE token = ?";

const FIND: &str = "SELECT link.token, session.token, session.data, session.expiry \
    FROM {subjects} AS link STRAIGHT_JOIN {table} AS session ON session.token = {link_token} \
    WHERE link.subject = ? AND session.expiry > UTC_TIMESTAMP(6)";

const TOKENS: &str = "SELECT token FROM {subjects} WHERE subject = ? ORDER BY token";

// The links of rows that have expired stay, and are swept with them.
const DELETE_SESSIONS: &str = "DELETE session, link FROM {subjects} AS link \
    STRAIGHT_JOIN {table} AS session ON session.token = {link_token} \
    WHERE link.subject = ? AND link.token <> ? AND session.expiry > UTC_TIMESTAMP(6) \
    AND CAST(CONVERT(session.token USING utf8mb4) AS BINARY) = CAST(link.token AS BINARY)";

const PAGE_END: &str = "SELECT MAX(token) FROM \
    (SELECT token FROM {subjects} WHERE token > ? ORDER BY token LIMIT ?) AS page";

const ORPHANS: &str = "SELECT link.token FROM {subjects} AS link \
    LEFT JOIN {table} AS session ON session.token = {link_token} \
    WHERE link.token > ? AND link.token <= ? AND session.token IS NULL";

const DELETE_ORPHANS: &str = "DELETE link FROM {subjects} AS link \
    LEFT JOIN {table} AS session ON session.token = {link_token} \
    WHERE link.token IN ({tokens}) AND session.token IS NULL";

/// The statements on the index of subjects.
pub(crate) struct SubjectIndex {
    link: Sql,
    unlink: Sql,
    follow: Sql,
    find: Sql,
    tokens: Sql,
    delete_sessions: Sql,
    page_end: Sql,
    orphans: Sql,
    delete_orphans: Sql,
    batch_size: usize,
    /// How far the search for orphans has come: links of sessions that Go programs have deleted.
    searched: Mutex<Vec<u8>>,
}

impl SubjectIndex {
    pub(crate) fn new(table: &Table, batch_size: usize) -> Self {
        let on_tables = |template: &str| {
            let sql = template
                .replace("{subjects}", &quoted(&side_tables::subjects_name(&table.name)))
                .replace("{table}", &quoted(&table.name))
                .replace("{link_token}", &table.convert_token("link.token"))
                .replace("{tokens}", &placeholders(batch_size));
            Sql::new(sql)
        };
        Self {
            link: on_tables(LINK),
            unlink: on_tables(UNLINK),
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
    pub(crate) fn link(
        &self,
        connection: &mut Connection,
        token: &str,
        subject: &str,
    ) -> DriverResult<()> {
        let params = vec![token.into(), subject.into(), subject.into()];
        connection.execute(&self.link, params).map(drop)
    }

    /// Clears the subject of a token.
    pub(crate) fn unlink(&self, connection: &mut Connection, token: &[u8]) -> DriverResult<()> {
        connection.execute(&self.unlink, vec![token.into()]).map(drop)
    }

    /// Leaves the subject to a session that gets a new token, in the transaction that gives it.
    pub(crate) fn follow(
        &self,
        connection: &mut Connection,
        token: &str,
        new_token: &str,
    ) -> DriverResult<()> {
        let params = || vec![new_token.into(), token.into()];
        match connection.execute(&self.follow, params()) {
            // Of a session that a Go program has deleted.
            Err(error) if is_duplicate(&error) => {
                self.unlink(connection, new_token.as_bytes())?;
                connection.execute(&self.follow, params()).map(drop)
            }
            followed => followed.map(drop),
        }
    }

    /// Removes the links of sessions that are gone, of the next page of the index. Says whether
    /// there were any.
    pub(crate) fn sweep(&self, shared: &Shared) -> Result<bool, Error> {
        let begin = self.searched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let end = shared.run(RetrySafety::ReadOnly, |connection| {
            let page = vec![begin.as_slice().into(), self.batch_size.into()];
            connection.query_first(&self.page_end, page)
        })?;
        let end = end.and_then(|mut row| bytes(&mut row, 0)).unwrap_or_default();
        let mut orphans = Vec::new();
        if !end.is_empty() {
            let rows = shared.run(RetrySafety::ReadOnly, |connection| {
                connection
                    .query(&self.orphans, vec![begin.as_slice().into(), end.as_slice().into()])
            })?;
            orphans.extend(rows.into_iter().filter_map(|mut row| bytes(&mut row, 0)));
        }
        for orphans in orphans.chunks(self.batch_size) {
            shared.run(RetrySafety::Idempotent, |connection| {
                self.unlink_orphans(connection, orphans)
            })?;
        }
        // After the last page from the beginning again.
        *self.searched.lock().unwrap_or_else(PoisonError::into_inner) = end;
        Ok(!orphans.is_empty())
    }

    /// Removes those of the links whose sessions are gone.
    pub(crate) fn unlink_orphans(
        &self,
        connection: &mut Connection,
        tokens: &[Vec<u8>],
    ) -> DriverResult<()> {
        connection.execute(&self.delete_orphans, padded(tokens, self.batch_size)).map(drop)
    }
}

impl Shared {
    /// Returns the live sessions of a subject.
    pub(crate) fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        let subjects = self.subjects.as_ref().ok_or_else(|| self.subjects_missing())?;
        let rows = self.run(RetrySafety::ReadOnly, |connection| {
            connection.query(&subjects.find, vec![subject.into()])
        })?;
        let exact = rows.into_iter().filter_map(|mut row| {
            let linked = bytes(&mut row, 0)?;
            let Session { token, data, expiry } = Session::read_from(&mut row, 1)?;
            (linked == token.as_bytes()).then(|| OwnedRecord::new(token, data, expiry))
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
        let subjects = self.subjects.as_ref().ok_or_else(|| self.subjects_missing())?;
        let except = except.filter(|token| self.check_token(token).is_ok());
        let mut is_contended = false;
        let affected = self.run(RetrySafety::Idempotent, |connection| {
            let ahead =
                if is_contended { self.linked_tokens(connection, subject)? } else { vec![] };
            is_contended = true;
            let delete = |connection: &mut Connection, except: &str| {
                let params = vec![subject.into(), except.into()];
                Ok(connection.execute(&subjects.delete_sessions, params)?.affected)
            };
            if except.is_none() && ahead.is_empty() {
                // No session has an empty token.
                return delete(connection, "");
            }
            connection.transact(|connection| {
                let kept = match except {
                    Some(except) => self.lock_newest(connection, except)?,
                    None => None,
                };
                for token in &ahead {
                    self.lock_newest(connection, token)?;
                }
                delete(connection, kept.as_deref().unwrap_or_default()).map(End::Commit)
            })
        })?;
        // A session and its link.
        Ok(affected / 2)
    }

    /// The tokens of a subject's sessions, which are locked ahead of a deletion that has
    /// deadlocked: it takes sessions in the order of the index, and a rotation takes the session
    /// first, so sessions that are rotated again and again would be in its way each time.
    fn linked_tokens(
        &self,
        connection: &mut Connection,
        subject: &str,
    ) -> DriverResult<Vec<String>> {
        let Some(subjects) = &self.subjects else { return Ok(Vec::new()) };
        let rows = connection.query(&subjects.tokens, vec![subject.into()])?;
        let tokens = rows.into_iter().filter_map(|mut row| bytes(&mut row, 0));
        Ok(tokens.filter_map(|token| String::from_utf8(token).ok()).collect())
    }
}

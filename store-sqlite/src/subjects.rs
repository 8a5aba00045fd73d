//! The index of subjects, next to the classic table.

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Result as SqliteResult, params};
use store_core::OwnedRecord;
use store_core::backend::TableName;

use crate::statements::IS_EXPIRED;
use crate::{julian, row, table};

// `{subjects}` is the index, `{table}` the classic table. What the index says of a session counts
// only while the session is live, because Go programs delete sessions without it.

const LINK: &str = "INSERT INTO {subjects} AS link (token, subject) VALUES (?1, ?2) \
    ON CONFLICT (token) DO UPDATE SET subject = excluded.subject";

const UNLINK: &str = "DELETE FROM {subjects} WHERE token = ?1";

// The link of a session that has expired, or that a Go program has deleted.
const UNLINK_UNLESS_LIVE: &str = "DELETE FROM {subjects} WHERE token = ?1 \
    AND NOT EXISTS (SELECT 1 FROM {table} AS session WHERE session.token = ?1 COLLATE BINARY \
        AND session.expiry > ?2 AND session.expiry < 5373484.5)";

const FIND: &str = "SELECT session.token, session.data, session.expiry FROM {subjects} AS link \
    JOIN {table} AS session ON session.token = link.token COLLATE BINARY \
    WHERE link.subject = ?1 AND +session.expiry > ?2 AND +session.expiry < 5373484.5";

const SUBJECT: &str = "SELECT link.subject FROM {subjects} AS link \
    JOIN {table} AS session ON session.token = link.token COLLATE BINARY \
    WHERE link.token = ?1 AND +session.expiry > ?2 AND +session.expiry < 5373484.5";

const DELETE_ALL: &str = "DELETE FROM {subjects}";

const DELETE_SESSIONS: &str = "DELETE FROM {table} \
    WHERE token IN (SELECT token FROM {subjects} WHERE subject = ?1 AND token IS NOT ?2) \
    AND +expiry > ?3 AND +expiry < 5373484.5";

// The links of rows that have expired stay, and are removed with them.
const UNLINK_DELETED: &str = "DELETE FROM {subjects} WHERE subject = ?1 AND token IS NOT ?2 \
    AND NOT EXISTS (SELECT 1 FROM {table} AS session WHERE session.token = {subjects}.token COLLATE BINARY)";

const RENAME: &str = "UPDATE {subjects} SET token = ?2 WHERE token = ?1";

// That of the row that is about to be removed from the classic table.
const DELETE_EXPIRED: &str = "DELETE FROM {subjects} WHERE token = ( \
    SELECT token FROM {table} WHERE rowid = ?1 AND {expired})";

const PAGE_END: &str = "SELECT max(token) FROM \
    (SELECT token FROM {subjects} WHERE token > ?1 ORDER BY token LIMIT ?2)";

const DELETE_ORPHANS: &str = "DELETE FROM {subjects} WHERE token > ?1 AND token <= ?2 \
    AND NOT EXISTS (SELECT 1 FROM {table} AS session WHERE session.token = {subjects}.token COLLATE BINARY)";

/// The statements on the index of subjects.
pub(crate) struct SubjectIndex {
    link: String,
    unlink: String,
    unlink_unless_live: String,
    find: String,
    subject: String,
    delete_sessions: String,
    delete_all: String,
    unlink_deleted: String,
    rename: String,
    delete_expired: String,
    page_end: String,
    delete_orphans: String,
    /// How far the search for orphans has come: links of sessions that Go programs have deleted.
    searched: Mutex<String>,
}

impl SubjectIndex {
    pub(crate) fn new(name: &TableName) -> Self {
        let subjects = table::qualified(&table::subjects_name(name));
        let classic = table::qualified(name.as_str());
        let on_tables = |template: &str| {
            template
                .replace("{expired}", IS_EXPIRED)
                .replace("{subjects}.", &format!("\"{}\".", table::subjects_name(name)))
                .replace("{subjects}", &subjects)
                .replace("{table}", &classic)
        };
        Self {
            link: on_tables(LINK),
            unlink: on_tables(UNLINK),
            unlink_unless_live: on_tables(UNLINK_UNLESS_LIVE),
            find: on_tables(FIND),
            subject: on_tables(SUBJECT),
            delete_sessions: on_tables(DELETE_SESSIONS),
            delete_all: on_tables(DELETE_ALL),
            unlink_deleted: on_tables(UNLINK_DELETED),
            rename: on_tables(RENAME),
            delete_expired: on_tables(DELETE_EXPIRED),
            page_end: on_tables(PAGE_END),
            delete_orphans: on_tables(DELETE_ORPHANS),
            searched: Mutex::default(),
        }
    }

    pub(crate) fn statements(&self) -> [&str; 11] {
        [
            &self.link,
            &self.unlink,
            &self.unlink_unless_live,
            &self.find,
            &self.subject,
            &self.delete_sessions,
            &self.unlink_deleted,
            &self.rename,
            &self.delete_expired,
            &self.page_end,
            &self.delete_orphans,
        ]
    }

    /// Finds the live sessions of a subject.
    pub(crate) fn find(
        &self,
        connection: &Connection,
        subject: &str,
        now: f64,
    ) -> SqliteResult<Vec<OwnedRecord>> {
        let mut statement = connection.prepare_cached(&self.find)?;
        let mut found = statement.query(params![subject, now])?;
        let mut records = Vec::new();
        while let Some(row) = found.next()? {
            // What others have written may be no session.
            if let Some(token) = row::token(row.get_ref(0)?)
                && let Some(data) = row::data(row.get_ref(1)?)
            {
                records.push(OwnedRecord::new(token, data, julian::to_instant(row.get(2)?)));
            }
        }
        Ok(records)
    }

    /// Returns the subject of a live session.
    pub(crate) fn subject(
        &self,
        connection: &Connection,
        token: &str,
        now: f64,
    ) -> SqliteResult<Option<String>> {
        let mut statement = connection.prepare_cached(&self.subject)?;
        statement.query_row(params![token, now], |row| row.get(0)).optional()
    }

    /// Links a live session to a subject, or to none.
    pub(crate) fn set(
        &self,
        connection: &Connection,
        token: &str,
        subject: Option<&str>,
    ) -> SqliteResult<()> {
        match subject {
            Some(subject) => {
                connection.prepare_cached(&self.link)?.execute([token, subject]).map(drop)
            }
            None => self.delete(connection, token),
        }
    }

    /// Removes the link of what has expired under a token, before another session gets the token.
    pub(crate) fn delete_unless_live(
        &self,
        connection: &Connection,
        token: &str,
        now: f64,
    ) -> SqliteResult<()> {
        connection.prepare_cached(&self.unlink_unless_live)?.execute(params![token, now]).map(drop)
    }

    /// Deletes the live sessions of a subject and their links; returns how many.
    pub(crate) fn delete_sessions(
        &self,
        connection: &Connection,
        subject: &str,
        except: Option<&str>,
        now: f64,
    ) -> SqliteResult<usize> {
        let mut delete = connection.prepare_cached(&self.delete_sessions)?;
        let deleted = delete.execute(params![subject, except, now])?;
        connection.prepare_cached(&self.unlink_deleted)?.execute(params![subject, except])?;
        Ok(deleted)
    }

    /// Gives a link the session's new token, in the transaction of the rotation.
    pub(crate) fn rename(
        &self,
        connection: &Connection,
        token: &str,
        new_token: &str,
    ) -> SqliteResult<()> {
        self.delete(connection, new_token)?;
        connection.prepare_cached(&self.rename)?.execute([token, new_token]).map(drop)
    }

    pub(crate) fn delete_all(&self, connection: &Connection) -> SqliteResult<()> {
        connection.prepare_cached(&self.delete_all)?.execute([]).map(drop)
    }

    /// Removes the link of a session, in the transaction that deletes the session.
    pub(crate) fn delete(&self, connection: &Connection, token: &str) -> SqliteResult<()> {
        connection.prepare_cached(&self.unlink)?.execute([token]).map(drop)
    }

    /// Removes the link of the expired session that is about to be removed in the same transaction.
    pub(crate) fn delete_expired(
        &self,
        connection: &Connection,
        row: i64,
        now: f64,
    ) -> SqliteResult<()> {
        connection.prepare_cached(&self.delete_expired)?.execute(params![row, now]).map(drop)
    }

    /// Removes the orphans after one token and up to another; returns how many there were.
    pub(crate) fn delete_orphans(
        &self,
        connection: &Connection,
        after: &str,
        end: &str,
    ) -> SqliteResult<usize> {
        connection.prepare_cached(&self.delete_orphans)?.execute([after, end])
    }

    /// Returns the last token of the page of the index that begins after a token, or `None` at the
    /// end of the index.
    pub(crate) fn page_end(
        &self,
        connection: &Connection,
        after: &str,
        rows: i64,
    ) -> SqliteResult<Option<String>> {
        connection.prepare_cached(&self.page_end)?.query_row(params![after, rows], |row| row.get(0))
    }

    /// Returns the token up to which the index has been searched for orphans.
    pub(crate) fn searched(&self) -> String {
        self.searched.lock().clone()
    }

    pub(crate) fn set_searched(&self, token: String) {
        *self.searched.lock() = token;
    }
}

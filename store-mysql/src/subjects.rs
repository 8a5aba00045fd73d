//! The statements on the index of subjects, a table next to the table of sessions.

use std::sync::Mutex;

use mysql::Result as DriverResult;
use store_core::OwnedRecord;

use crate::connection::Connection;
use crate::ddl;
use crate::error::is_duplicate;
use crate::lock::lock;
use crate::rows::{Session, bytes};
use crate::sql::{ListSql, Sql, quoted, token_bytes};
use crate::table::Table;

// `{subjects}` is the index, `{table}` the table of sessions, `{link_token}` a token of the index
// as the table of sessions compares it. An entry counts only while its session is live, because Go
// programs delete sessions without their entries.

const LINK: &str = "INSERT INTO {subjects} (token, subject) VALUES (?, ?) \
    ON DUPLICATE KEY UPDATE subject = ?";

const UNLINK: &str = "DELETE FROM {subjects} WHERE token = ?";

const FOLLOW: &str = "UPDATE {subjects} SET token = ? WHERE token = ?";

const FIND: &str = "SELECT link.token, session.token, session.data, session.expiry \
    FROM {subjects} AS link STRAIGHT_JOIN {table} AS session ON session.token = {link_token} \
    WHERE link.subject = ? AND session.expiry > UTC_TIMESTAMP(6)";

const SUBJECT: &str = "SELECT session.token, link.subject \
    FROM {subjects} AS link STRAIGHT_JOIN {table} AS session ON session.token = {link_token} \
    WHERE link.token = ? AND session.expiry > UTC_TIMESTAMP(6)";

// The row that stands for a subject, written to lock it. A space is in no token, so it is no
// session's entry and goes as other orphans do; and no subject is X'FE' or X'FF', which aren't
// UTF-8, so it is nobody's. Each write changes it: a cluster's nodes, which know nothing of each
// other's locks, find a conflict only between transactions that have changed the same row.
const LOCK: &str = "INSERT INTO {subjects} (token, subject) VALUES (CONCAT(' ', SHA2(?, 256)), X'FF') \
    ON DUPLICATE KEY UPDATE subject = IF(subject = X'FF', X'FE', X'FF')";

// What FIND finds.
const LIVE_TOKENS: &str = "SELECT link.token, session.token \
    FROM {subjects} AS link STRAIGHT_JOIN {table} AS session ON session.token = {link_token} \
    WHERE link.subject = ? AND session.expiry > UTC_TIMESTAMP(6) AND session.data IS NOT NULL";

const TOKENS: &str = "SELECT token FROM {subjects} WHERE subject = ? ORDER BY token";

// The entries of expired sessions stay until the cleanup removes both.
const DELETE_SESSIONS: &str = "DELETE session, link FROM {subjects} AS link \
    STRAIGHT_JOIN {table} AS session ON session.token = {link_token} \
    WHERE link.subject = ? AND link.token <> ? AND session.expiry > UTC_TIMESTAMP(6) \
    AND {session_bytes} = CAST(link.token AS BINARY)";

const PAGE_END: &str = "SELECT MAX(token) FROM \
    (SELECT token FROM {subjects} WHERE token > ? ORDER BY token LIMIT ?) AS page";

const ORPHANS: &str = "SELECT link.token FROM {subjects} AS link \
    LEFT JOIN {table} AS session ON session.token = {link_token} \
    WHERE link.token > ? AND link.token <= ? AND session.token IS NULL";

const LOCK_ENTRIES: &str = "SELECT token FROM {subjects} WHERE token IN ({tokens}) FOR UPDATE";

// Through its key, so that no more entries are locked than these.
const DELETE_ORPHANS: &str = "DELETE link FROM {subjects} AS link FORCE INDEX (PRIMARY) \
    LEFT JOIN {table} AS session ON session.token = {link_token} \
    WHERE link.token IN ({tokens}) AND session.token IS NULL";

/// The statements on the index of subjects.
pub(crate) struct SubjectIndex {
    link: Sql,
    unlink: Sql,
    follow: Sql,
    find: Sql,
    subject: Sql,
    lock: Sql,
    live_tokens: Sql,
    tokens: Sql,
    delete_sessions: Sql,
    page_end: Sql,
    orphans: Sql,
    lock_entries: ListSql,
    delete_orphans: ListSql,
    batch_size: usize,
    /// How far the search for orphans has come. They are entries of sessions that Go programs have
    /// deleted.
    searched: Mutex<Vec<u8>>,
}

impl SubjectIndex {
    pub(crate) fn new(table: &Table, batch_size: usize) -> Self {
        let text = |template: &str| {
            template
                .replace("{subjects}", &quoted(&ddl::subjects_name(&table.name)))
                .replace("{table}", &quoted(table.name.as_str()))
                .replace("{session_bytes}", &token_bytes("session.token"))
                .replace("{link_token}", &table.convert_token("link.token"))
        };
        let on_tables = |template: &str| Sql::new(text(template));
        Self {
            link: on_tables(LINK),
            unlink: on_tables(UNLINK),
            follow: on_tables(FOLLOW),
            find: on_tables(FIND),
            subject: on_tables(SUBJECT),
            lock: on_tables(LOCK),
            live_tokens: on_tables(LIVE_TOKENS),
            tokens: on_tables(TOKENS),
            delete_sessions: on_tables(DELETE_SESSIONS),
            page_end: on_tables(PAGE_END),
            orphans: on_tables(ORPHANS),
            lock_entries: ListSql::new(&text(LOCK_ENTRIES), batch_size),
            delete_orphans: ListSql::new(&text(DELETE_ORPHANS), batch_size),
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

    /// Moves the entry of a session to its new token, in the transaction of the rotation.
    pub(crate) fn follow(
        &self,
        connection: &mut Connection,
        token: &str,
        new_token: &str,
    ) -> DriverResult<()> {
        let params = || vec![new_token.into(), token.into()];
        match connection.execute(&self.follow, params()) {
            // The entry of a session that a Go program has deleted.
            Err(error) if is_duplicate(&error) => {
                self.unlink(connection, new_token.as_bytes())?;
                connection.execute(&self.follow, params()).map(drop)
            }
            followed => followed.map(drop),
        }
    }

    /// Returns the token after which the next page of the search for orphans begins.
    pub(crate) fn orphans_from(&self) -> Vec<u8> {
        lock(&self.searched).clone()
    }

    /// Notes the end of a page of the search for orphans; an empty one begins again.
    pub(crate) fn set_orphans_from(&self, end: Vec<u8>) {
        *lock(&self.searched) = end;
    }

    /// Returns the last token of the page of the index that follows `begin`, empty if there is
    /// none.
    pub(crate) fn page_end(
        &self,
        connection: &mut Connection,
        begin: &[u8],
    ) -> DriverResult<Vec<u8>> {
        let end =
            connection.query_first(&self.page_end, vec![begin.into(), self.batch_size.into()])?;
        Ok(end.and_then(|mut row| bytes(&mut row, 0)).unwrap_or_default())
    }

    /// Returns the tokens of a page of the index whose sessions are gone.
    pub(crate) fn orphans(
        &self,
        connection: &mut Connection,
        begin: &[u8],
        end: &[u8],
    ) -> DriverResult<Vec<Vec<u8>>> {
        let rows = connection.query(&self.orphans, vec![begin.into(), end.into()])?;
        Ok(rows.into_iter().filter_map(|mut row| bytes(&mut row, 0)).collect())
    }

    /// Removes those of the entries whose sessions are gone.
    pub(crate) fn unlink_orphans(
        &self,
        connection: &mut Connection,
        tokens: &[Vec<u8>],
    ) -> DriverResult<()> {
        let (sql, params) = self.delete_orphans.on(tokens);
        if connection.engine().joins_after_locking() {
            return connection.execute(sql, params).map(drop);
        }
        connection.join_transaction(|connection| {
            // Whoever creates a session with the subject of an orphan doesn't change the entry, and
            // has committed by the time that it is locked.
            let (lock, tokens) = self.lock_entries.on(tokens);
            connection.query(lock, tokens)?;
            connection.execute(sql, params).map(drop)
        })
    }

    /// Returns the live sessions of a subject.
    pub(crate) fn find(
        &self,
        connection: &mut Connection,
        subject: &str,
    ) -> DriverResult<Vec<OwnedRecord>> {
        let rows = connection.query(&self.find, vec![subject.into()])?;
        let exact = rows.into_iter().filter_map(|mut row| {
            let linked = bytes(&mut row, 0)?;
            let Session { token, data, expiry } = Session::read_from(&mut row, 1)?;
            // The column may take another token for the same.
            (linked == token.as_bytes()).then(|| OwnedRecord::new(token, data, expiry))
        });
        Ok(exact.collect())
    }

    /// Returns the subject of a live session.
    pub(crate) fn subject(
        &self,
        connection: &mut Connection,
        token: &str,
    ) -> DriverResult<Option<String>> {
        let rows = connection.query(&self.subject, vec![token.into()])?;
        let exact = rows.into_iter().find_map(|mut row| {
            let (found, subject) = (bytes(&mut row, 0)?, bytes(&mut row, 1)?);
            // The column may take another token for the same.
            (found == token.as_bytes()).then_some(subject)
        });
        Ok(exact.and_then(|subject| String::from_utf8(subject).ok()))
    }

    /// Locks a subject until the transaction ends, for others that lock it.
    pub(crate) fn lock(&self, connection: &mut Connection, subject: &str) -> DriverResult<()> {
        connection.execute(&self.lock, vec![subject.into()]).map(drop)
    }

    /// Returns the tokens of the sessions that [`find`](Self::find) finds.
    pub(crate) fn live_tokens(
        &self,
        connection: &mut Connection,
        subject: &str,
    ) -> DriverResult<Vec<String>> {
        let rows = connection.query(&self.live_tokens, vec![subject.into()])?;
        let exact = rows.into_iter().filter_map(|mut row| {
            let (linked, token) = (bytes(&mut row, 0)?, bytes(&mut row, 1)?);
            (linked == token).then_some(token)
        });
        Ok(exact.filter_map(|token| String::from_utf8(token).ok()).collect())
    }

    /// Returns the tokens of a subject, of sessions that are live or not.
    pub(crate) fn tokens(
        &self,
        connection: &mut Connection,
        subject: &str,
    ) -> DriverResult<Vec<String>> {
        let rows = connection.query(&self.tokens, vec![subject.into()])?;
        let tokens = rows.into_iter().filter_map(|mut row| bytes(&mut row, 0));
        Ok(tokens.filter_map(|token| String::from_utf8(token).ok()).collect())
    }

    /// Deletes the live sessions of a subject but one, with their entries. Returns how many.
    pub(crate) fn delete_sessions(
        &self,
        connection: &mut Connection,
        subject: &str,
        except: Option<&str>,
    ) -> DriverResult<u64> {
        // No session has an empty token.
        let params = vec![subject.into(), except.unwrap_or_default().into()];
        // A session and its entry.
        Ok(connection.execute(&self.delete_sessions, params)?.rows / 2)
    }
}

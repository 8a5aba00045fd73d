//! The index of subjects, beside the classic table.

use parking_lot::Mutex;
use rusqlite::{Connection, Result as SqliteResult, params};
use store_core::{Error, SubjectStore, check_subject};

use crate::store::SqliteStore;
use crate::table;
use crate::write::Change;

// `{subjects}` is the index, `{table}` the classic table. What the index says of a session counts only while the
// session is live, because Go programs delete sessions without it.

const TIE: &str = "INSERT INTO {subjects} AS tie (token, subject) VALUES (?1, ?2) \
    ON CONFLICT (token) DO UPDATE SET subject = excluded.subject";

const UNTIE: &str = "DELETE FROM {subjects} WHERE token = ?1";

const FIND: &str = "SELECT tie.token FROM {subjects} AS tie \
    JOIN {table} AS session ON session.token = tie.token COLLATE BINARY \
    WHERE tie.subject = ?1 AND +session.expiry > ?2 AND +session.expiry < 5373484.5";

const DELETE_SESSIONS: &str = "DELETE FROM {table} \
    WHERE token IN (SELECT token FROM {subjects} WHERE subject = ?1 AND token IS NOT ?2) \
    AND +expiry > ?3 AND +expiry < 5373484.5";

// The ties of rows that have expired stay, and are swept with them.
const UNTIE_DELETED: &str = "DELETE FROM {subjects} WHERE subject = ?1 AND token IS NOT ?2 \
    AND NOT EXISTS (SELECT 1 FROM {table} AS session WHERE session.token = {subjects}.token COLLATE BINARY)";

const RENAME: &str = "UPDATE {subjects} SET token = ?2 WHERE token = ?1";

// The same rows that the sweep of the classic table is going to remove.
const DELETE_EXPIRED: &str = "DELETE FROM {subjects} WHERE token IN ( \
    SELECT token FROM {table} WHERE rowid IN ( \
        SELECT rowid FROM {table} WHERE expiry <= ?1 \
        UNION ALL SELECT rowid FROM {table} WHERE expiry >= 5373484.5 \
        UNION ALL SELECT rowid FROM {table} WHERE expiry IS NULL LIMIT ?2))";

const PAGE_END: &str = "SELECT max(token) FROM \
    (SELECT token FROM {subjects} WHERE token > ?1 ORDER BY token LIMIT ?2)";

const DELETE_ORPHANS: &str = "DELETE FROM {subjects} WHERE token > ?1 AND token <= ?2 \
    AND NOT EXISTS (SELECT 1 FROM {table} AS session WHERE session.token = {subjects}.token COLLATE BINARY)";

/// The statements on the index of subjects.
pub(crate) struct SubjectIndex {
    tie: String,
    untie: String,
    find: String,
    delete_sessions: String,
    untie_deleted: String,
    rename: String,
    delete_expired: String,
    page_end: String,
    delete_orphans: String,
    /// How far the search for orphans has come: ties of sessions that Go programs have deleted.
    searched: Mutex<String>,
}

impl SubjectIndex {
    pub(crate) fn new(table: &str) -> Self {
        let subjects = table::qualified(&table::subjects_name(table));
        let classic = table::qualified(table);
        let on_tables = |template: &str| {
            template
                .replace("{subjects}.", &format!("\"{}\".", table::subjects_name(table)))
                .replace("{subjects}", &subjects)
                .replace("{table}", &classic)
        };
        Self {
            tie: on_tables(TIE),
            untie: on_tables(UNTIE),
            find: on_tables(FIND),
            delete_sessions: on_tables(DELETE_SESSIONS),
            untie_deleted: on_tables(UNTIE_DELETED),
            rename: on_tables(RENAME),
            delete_expired: on_tables(DELETE_EXPIRED),
            page_end: on_tables(PAGE_END),
            delete_orphans: on_tables(DELETE_ORPHANS),
            searched: Mutex::default(),
        }
    }

    /// Ties a live session to a subject, or unties it.
    pub(crate) fn set(
        &self,
        connection: &Connection,
        token: &str,
        subject: Option<&str>,
    ) -> SqliteResult<()> {
        match subject {
            Some(subject) => {
                connection.prepare_cached(&self.tie)?.execute([token, subject]).map(drop)
            }
            None => self.delete(connection, token),
        }
    }

    /// Deletes the live sessions of a subject and their ties; gives how many.
    pub(crate) fn delete_sessions(
        &self,
        connection: &Connection,
        subject: &str,
        except: Option<&str>,
        now: f64,
    ) -> SqliteResult<usize> {
        let mut delete = connection.prepare_cached(&self.delete_sessions)?;
        let deleted = delete.execute(params![subject, except, now])?;
        connection.prepare_cached(&self.untie_deleted)?.execute(params![subject, except])?;
        Ok(deleted)
    }

    /// Keeps the index true when a session gets a new token, in the transaction of the renaming.
    pub(crate) fn rename(
        &self,
        connection: &Connection,
        token: &str,
        new_token: &str,
    ) -> SqliteResult<()> {
        self.delete(connection, new_token)?;
        connection.prepare_cached(&self.rename)?.execute([token, new_token]).map(drop)
    }

    /// Keeps the index true when a session is deleted, in the transaction of the deletion.
    pub(crate) fn delete(&self, connection: &Connection, token: &str) -> SqliteResult<()> {
        connection.prepare_cached(&self.untie)?.execute([token]).map(drop)
    }

    /// Keeps the index true when a batch of expired sessions is about to be removed, in that transaction.
    pub(crate) fn delete_expired(
        &self,
        connection: &Connection,
        now: f64,
        rows: i64,
    ) -> SqliteResult<()> {
        connection.prepare_cached(&self.delete_expired)?.execute(params![now, rows]).map(drop)
    }

    /// Looks at the next page of the index for orphans; gives how many there were.
    pub(crate) fn sweep_orphans(
        &self,
        connection: &Connection,
        batch_size: i64,
    ) -> SqliteResult<usize> {
        // No other sweep of this store is under way: it would wait for the same turn to write.
        let mut searched = self.searched.lock();
        let end: Option<String> = connection
            .prepare_cached(&self.page_end)?
            .query_row(params![*searched, batch_size], |row| row.get(0))?;
        let Some(end) = end else {
            searched.clear();
            return Ok(0);
        };
        let orphans =
            connection.prepare_cached(&self.delete_orphans)?.execute([&*searched, &*end])?;
        *searched = end;
        Ok(orphans)
    }
}

impl SqliteStore {
    fn subjects(&self) -> Result<&SubjectIndex, Error> {
        self.backend
            .subjects
            .as_ref()
            .ok_or_else(|| Error::TableMissing { table: table::subjects_name(&self.backend.table) })
    }
}

/// The index is the table [`SqliteStore::CREATE_SUBJECTS_TABLE`], beside the classic one. It must be there when the
/// store is made; without it these operations give [`Error::TableMissing`], and the others don't look for it.
impl SubjectStore for SqliteStore {
    fn set_subject(&self, token: &str, subject: Option<&str>) -> Result<bool, Error> {
        subject.map_or(Ok(()), check_subject)?;
        self.subjects()?;
        let subject = subject.map(Into::into);
        Ok(self.backend.write(&Change::SetSubject { token: token.into(), subject })? == 1)
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<String>, Error> {
        let now = self.backend.now();
        self.backend.read(&self.subjects()?.find, |statement| {
            statement.query_map(params![subject, now], |row| row.get(0))?.collect()
        })
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        self.subjects()?;
        let except = except.map(Into::into);
        self.backend.write(&Change::DeleteBySubject { subject: subject.into(), except })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_finds_its_rows_by_an_index() -> SqliteResult<()> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(&table::CREATE_TABLE.replace(" NOT NULL", ""))?;
        connection.execute_batch(table::CREATE_SUBJECTS_TABLE)?;
        let SubjectIndex {
            tie,
            untie,
            find,
            delete_sessions,
            untie_deleted,
            rename,
            delete_expired,
            page_end,
            delete_orphans,
            searched: _,
        } = SubjectIndex::new("sessions");
        for sql in [
            tie,
            untie,
            find,
            delete_sessions,
            untie_deleted,
            rename,
            delete_expired,
            page_end,
            delete_orphans,
        ] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let plan: Vec<String> =
                statement.raw_query().mapped(|row| row.get(3)).collect::<SqliteResult<_>>()?;
            // The page itself is read from end to end.
            let scans =
                plan.iter().any(|step| step.contains("SCAN") && !step.contains("SCAN (sub"));
            assert!(!scans, "{sql}: {plan:?}");
        }
        Ok(())
    }
}

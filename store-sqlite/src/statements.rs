//! The statements on the table.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Result as SqliteResult, params};
use store_core::backend::TableName;

use crate::{julian, row, table};

// In the order of the trait; `{table}` is the qualified, quoted name. Tokens are compared byte for
// byte, whatever collation the column was declared with. A session is live if `expiry > now` and
// the expiry is a day that SQLite's calendar has: text and blobs, which compare greater than every
// number, NULL, and infinity are not. 5373484.5 is the first day of the year 10000.

const FIND: &str = "SELECT data, expiry FROM {table} \
    WHERE token = ?1 COLLATE BINARY AND expiry > ?2 AND expiry < 5373484.5";

// The alias, because a table may be named `excluded`.
const COMMIT: &str = "INSERT INTO {table} AS stored (token, data, expiry) VALUES (?1, ?2, ?3) \
    ON CONFLICT (token) DO UPDATE SET data = excluded.data, expiry = excluded.expiry";

const COMMIT_LIVE: &str = "UPDATE {table} SET data = ?2, expiry = ?3 \
    WHERE token = ?1 COLLATE BINARY AND expiry > ?4 AND expiry < 5373484.5";

// It overwrites an expired session. What has no such expiry, even none at all, isn't live.
const CREATE: &str = "INSERT INTO {table} AS stored (token, data, expiry) VALUES (?1, ?2, ?3) \
    ON CONFLICT (token) DO UPDATE SET data = excluded.data, expiry = excluded.expiry \
    WHERE (stored.expiry > ?4 AND stored.expiry < 5373484.5) IS NOT TRUE";

// Others may have written the data as text; `find` returns its bytes, so they are what is compared.
const UPDATE: &str = "UPDATE {table} SET data = ?3, expiry = coalesce(?4, expiry) \
    WHERE token = ?1 COLLATE BINARY AND CAST(data AS BLOB) = ?2 AND expiry > ?5 AND expiry < 5373484.5";

const MATCHING_ROW: &str = "SELECT rowid FROM {table} \
    WHERE token = ?1 COLLATE BINARY AND CAST(data AS BLOB) = ?2 AND expiry > ?3 AND expiry < 5373484.5";

const IS_LIVE: &str = "SELECT 1 FROM {table} \
    WHERE token = ?1 COLLATE BINARY AND expiry > ?2 AND expiry < 5373484.5";

const ROTATE: &str = "UPDATE {table} \
    SET token = ?2, data = ?3, expiry = coalesce(?4, expiry) WHERE rowid = ?1";

const TOUCH: &str = "UPDATE {table} SET expiry = ?2 \
    WHERE token = ?1 COLLATE BINARY AND expiry > ?3 AND expiry < 5373484.5";

const DELETE: &str = "DELETE FROM {table} WHERE token = ?1 COLLATE BINARY";

// Without a condition the pages are freed as a whole.
const DELETE_ALL: &str = "DELETE FROM {table}";

// Three ranges of the index rather than one OR, for which SQLite would read the whole index.
const EXPIRED: &str = "SELECT rowid FROM {table} WHERE expiry <= ?1 \
    UNION ALL SELECT rowid FROM {table} WHERE expiry >= 5373484.5 \
    UNION ALL SELECT rowid FROM {table} WHERE expiry IS NULL LIMIT ?2 OFFSET ?3";

// Of a table without the index.
const STEP: &str = "SELECT rowid, {expired} FROM {table} WHERE rowid > ?1 ORDER BY rowid";

/// What makes a row one to remove. Others may have written what is no day.
pub(crate) const IS_EXPIRED: &str = "(expiry > ?2 AND expiry < 5373484.5) IS NOT TRUE";

// One by one, because between the search and the removal a session may have been renewed.
const DELETE_EXPIRED: &str = "DELETE FROM {table} WHERE rowid = ?1 AND {expired}";

const IS_LEFT: &str = "SELECT 1 FROM {table} WHERE rowid = ?1 AND {expired}";

// In the order of rowids, which an upsert and a rotation leave alone, so that a walk meets a
// session once even if its token changes during the walk. The plus keeps SQLite from using the
// index on expiry.
const PAGE: &str = "SELECT rowid, token, data, expiry FROM {table} \
    WHERE rowid > ?1 AND +expiry > ?2 AND +expiry < 5373484.5 ORDER BY rowid";

const COUNT: &str = "SELECT count(*) FROM {table} WHERE expiry > ?1 AND expiry < 5373484.5";

/// The statements on a table of one name.
pub(crate) struct Statements {
    find: String,
    pub(crate) commit: String,
    pub(crate) commit_live: String,
    pub(crate) create: String,
    pub(crate) update: String,
    pub(crate) matching_row: String,
    pub(crate) is_live: String,
    pub(crate) rotate: String,
    pub(crate) touch: String,
    pub(crate) delete: String,
    pub(crate) delete_all: String,
    pub(crate) expired: String,
    pub(crate) step: String,
    pub(crate) delete_expired: String,
    pub(crate) is_left: String,
    pub(crate) page: String,
    count: String,
}

impl Statements {
    pub(crate) fn new(name: &TableName) -> Self {
        let table = table::qualified(name.as_str());
        let on_table =
            |template: &str| template.replace("{expired}", IS_EXPIRED).replace("{table}", &table);
        Self {
            find: on_table(FIND),
            commit: on_table(COMMIT),
            commit_live: on_table(COMMIT_LIVE),
            create: on_table(CREATE),
            update: on_table(UPDATE),
            matching_row: on_table(MATCHING_ROW),
            is_live: on_table(IS_LIVE),
            rotate: on_table(ROTATE),
            touch: on_table(TOUCH),
            delete: on_table(DELETE),
            delete_all: on_table(DELETE_ALL),
            expired: on_table(EXPIRED),
            step: on_table(STEP),
            delete_expired: on_table(DELETE_EXPIRED),
            is_left: on_table(IS_LEFT),
            page: on_table(PAGE),
            count: on_table(COUNT),
        }
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> [&str; 16] {
        [
            &self.find,
            &self.commit,
            &self.commit_live,
            &self.create,
            &self.update,
            &self.matching_row,
            &self.is_live,
            &self.rotate,
            &self.touch,
            &self.delete,
            &self.expired,
            &self.step,
            &self.delete_expired,
            &self.is_left,
            &self.page,
            &self.count,
        ]
    }

    /// Returns the data and the expiry of a live session.
    pub(crate) fn find(
        &self,
        connection: &Connection,
        token: &str,
        now: f64,
    ) -> SqliteResult<Option<(Vec<u8>, DateTime<Utc>)>> {
        let mut statement = connection.prepare_cached(&self.find)?;
        let found = statement.query_row(params![token, now], |row| {
            let Some(data) = row::data(row.get_ref(0)?) else { return Ok(None) };
            Ok(Some((data.to_vec(), julian::to_instant(row.get(1)?))))
        });
        Ok(found.optional()?.flatten())
    }

    /// Counts the live sessions.
    pub(crate) fn count(&self, connection: &Connection, now: f64) -> SqliteResult<u64> {
        let mut statement = connection.prepare_cached(&self.count)?;
        let live: i64 = statement.query_row([now], |row| row.get(0))?;
        Ok(live.unsigned_abs())
    }
}

//! The records of rotations, next to the classic table.

use rusqlite::{Connection, OptionalExtension, Result as SqliteResult, params};
use store_core::backend::TableName;
use store_core::{Loaded, Rotation};

use crate::{julian, row, table};

// `{rotations}` are the records, `{table}` the classic table. A record counts only within its
// window, and while the session under the newest token is live, because Go programs delete sessions
// without it.

// One statement, so that no rotation or deletion comes between its parts.
const LOAD: &str = "SELECT data, expiry, NULL, NULL FROM {table} \
    WHERE token = ?1 COLLATE BINARY AND expiry > ?2 AND expiry < 5373484.5 \
    UNION ALL \
    SELECT NULL, NULL, rotation.newest, rotation.opens FROM {rotations} AS rotation \
    JOIN {table} AS session ON session.token = rotation.newest COLLATE BINARY \
    WHERE rotation.token = ?1 AND rotation.valid_from <= ?2 AND rotation.valid_until > ?2 \
    AND +session.expiry > ?2 AND +session.expiry < 5373484.5";

const NEWEST: &str = "SELECT newest FROM {rotations} \
    WHERE token = ?1 AND valid_from <= ?2 AND valid_until > ?2";

const REDIRECT: &str = "UPDATE {rotations} SET newest = ?2, opens = opens AND ?3 WHERE newest = ?1";

const RECORD: &str = "INSERT INTO {rotations} AS rotation \
    (token, newest, opens, valid_from, valid_until) VALUES (?1, ?2, ?3, ?4, ?5) \
    ON CONFLICT (token) DO UPDATE SET newest = excluded.newest, opens = excluded.opens, \
    valid_from = excluded.valid_from, valid_until = excluded.valid_until";

// Those that couldn't be removed are passed over.
const EXPIRED: &str = "SELECT token FROM {rotations} WHERE valid_until <= ?1 LIMIT ?2 OFFSET ?3";

const DELETE_EXPIRED: &str = "DELETE FROM {rotations} WHERE token IN ({expired})";

/// The statements on the records of rotations.
pub(crate) struct Rotations {
    load: String,
    newest: String,
    redirect: String,
    record: String,
    pub(crate) expired: String,
    pub(crate) delete_expired: String,
}

impl Rotations {
    pub(crate) fn new(name: &TableName) -> Self {
        let rotations = table::qualified(&table::rotations_name(name));
        let classic = table::qualified(name.as_str());
        let on_tables = |template: &str| {
            template
                .replace("{expired}", EXPIRED)
                .replace("{rotations}", &rotations)
                .replace("{table}", &classic)
        };
        Self {
            load: on_tables(LOAD),
            newest: on_tables(NEWEST),
            redirect: on_tables(REDIRECT),
            record: on_tables(RECORD),
            expired: on_tables(EXPIRED),
            delete_expired: on_tables(DELETE_EXPIRED),
        }
    }

    pub(crate) fn statements(&self) -> [&str; 6] {
        let Self { load, newest, redirect, record, expired, delete_expired } = self;
        [load, newest, redirect, record, expired, delete_expired]
    }

    /// Returns what a token names, from one consistent read.
    pub(crate) fn load(
        &self,
        connection: &Connection,
        token: &str,
        now: f64,
    ) -> SqliteResult<Loaded> {
        let mut statement = connection.prepare_cached(&self.load)?;
        let mut found = statement.query(params![token, now])?;
        let mut loaded = Loaded::Missing;
        while let Some(row) = found.next()? {
            if let Some(token) = row.get(2)? {
                loaded = Loaded::Rotated { token, opens: row.get(3)? };
            } else if let Some(data) = row::data(row.get_ref(0)?) {
                let expiry = julian::to_instant(row.get(1)?);
                return Ok(Loaded::Live { data: data.to_vec(), expiry });
            }
        }
        Ok(loaded)
    }

    /// Returns the newest token of a session that had this one within the grace.
    pub(crate) fn newest(
        &self,
        connection: &Connection,
        token: &str,
        now: f64,
    ) -> SqliteResult<Option<String>> {
        let mut statement = connection.prepare_cached(&self.newest)?;
        statement.query_row(params![token, now], |row| row.get(0)).optional()
    }

    /// Records a rotation, in its transaction. Tokens from before lead to the newest one as well.
    pub(crate) fn record(
        &self,
        connection: &Connection,
        token: &str,
        rotation: &Rotation<'_>,
        now: f64,
    ) -> SqliteResult<()> {
        let Rotation { new_token, old_token_opens: opens, .. } = rotation;
        let (from, until) = rotation.window(julian::to_instant(now));
        let (from, until) = (julian::from_instant(from), julian::from_instant(until));
        connection.prepare_cached(&self.redirect)?.execute(params![token, new_token, opens])?;
        connection
            .prepare_cached(&self.record)?
            .execute(params![token, new_token, opens, from, until])
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOON: f64 = 2_461_000.0;
    const SECOND: f64 = 1.0 / 86_400.0;

    fn tables() -> SqliteResult<(Connection, Rotations)> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(table::CREATE_TABLE)?;
        connection.execute_batch(table::CREATE_ROTATIONS_TABLE)?;
        let name = TableName::new("sessions").expect("it is a name");
        Ok((connection, Rotations::new(&name)))
    }

    fn insert(connection: &Connection, token: &str) -> SqliteResult<usize> {
        let row = params![token, b"data", NOON + 1.0];
        connection.execute("INSERT INTO sessions VALUES (?1, ?2, ?3)", row)
    }

    #[test]
    fn second_read_shows_the_live_session_before_the_record() -> SqliteResult<()> {
        let (connection, rotations) = tables()?;
        insert(&connection, "new")?;
        rotations.record(&connection, "old", &Rotation::new("new"), NOON)?;
        let rotated = Loaded::Rotated { token: "new".to_owned(), opens: false };
        assert_eq!(rotations.load(&connection, "old", NOON)?, rotated);
        // It came after the first read.
        insert(&connection, "old")?;
        assert!(matches!(rotations.load(&connection, "old", NOON)?, Loaded::Live { .. }));
        Ok(())
    }

    #[test]
    fn old_token_opens_only_if_every_rotation_allows_it() -> SqliteResult<()> {
        for (first, second) in [(true, true), (true, false), (false, true), (false, false)] {
            let (connection, rotations) = tables()?;
            insert(&connection, "newest")?;
            let rotation = |new_token, opens| {
                let rotation = Rotation::new(new_token);
                if opens { rotation.old_token_opens() } else { rotation }
            };
            rotations.record(&connection, "oldest", &rotation("newer", first), NOON)?;
            rotations.record(&connection, "newer", &rotation("newest", second), NOON)?;
            for (token, opens) in [("oldest", first && second), ("newer", second)] {
                let rotated = Loaded::Rotated { token: "newest".to_owned(), opens };
                assert_eq!(rotations.load(&connection, token, NOON)?, rotated);
            }
        }
        Ok(())
    }

    #[test]
    fn record_takes_the_place_of_an_older_one_under_the_same_token() -> SqliteResult<()> {
        let (connection, rotations) = tables()?;
        insert(&connection, "new")?;
        insert(&connection, "newer")?;
        let first = Rotation::new("new").with_grace(Duration::from_secs(5)).old_token_opens();
        rotations.record(&connection, "old", &first, NOON)?;
        rotations.record(&connection, "old", &Rotation::new("newer"), NOON + 10.0 * SECOND)?;
        let now = NOON + 39.0 * SECOND;
        let rotated = Loaded::Rotated { token: "newer".to_owned(), opens: false };
        assert_eq!(rotations.load(&connection, "old", now)?, rotated);
        assert_eq!(rotations.newest(&connection, "old", now)?.as_deref(), Some("newer"));
        Ok(())
    }
}

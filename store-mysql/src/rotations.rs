//! The statements on the records of rotations: which token a session has now, during the grace.

use mysql::{Result as DriverResult, Value};
use store_core::{Loaded, Rotation};

use crate::connection::Connection;
use crate::ddl;
use crate::rows::{Session, bytes, is_true};
use crate::sql::{ListSql, Sql, is_token, quoted, token_bytes};
use crate::table::Table;

// `{rotations}` is the table of records, `{table}` the table of sessions, `{newest}` a newest token
// as the table of sessions compares it. A record counts within its window, by the server's clock,
// and only while its newest token names a live session.

// One statement reads one snapshot, so a session that is rotated while this runs is found under its
// token or through the record.
const LOAD: &str = "SELECT 0, FALSE, {token_bytes}, data, expiry FROM {table} \
    WHERE token = ? AND {is_token} AND expiry > UTC_TIMESTAMP(6) \
    UNION ALL \
    SELECT 1, record.opens, CAST(record.newest AS BINARY), LEFT(session.data, 0), session.expiry \
    FROM {rotations} AS record STRAIGHT_JOIN {table} AS session ON session.token = {newest} \
    WHERE record.token = ? \
    AND record.valid_from <= UTC_TIMESTAMP(6) AND record.valid_until > UTC_TIMESTAMP(6) \
    AND session.expiry > UTC_TIMESTAMP(6) \
    AND {session_bytes} = CAST(record.newest AS BINARY)";

// Locks the record and then the session, in one statement, so that a session that is rotated all
// the time can't move on between the two each time.
const LOCK: &str = "SELECT record.newest \
    FROM {rotations} AS record STRAIGHT_JOIN {table} AS session ON session.token = {newest} \
    WHERE record.token = ? \
    AND record.valid_from <= UTC_TIMESTAMP(6) AND record.valid_until > UTC_TIMESTAMP(6) \
    AND session.data IS NOT NULL AND session.expiry > UTC_TIMESTAMP(6) \
    AND {session_bytes} = CAST(record.newest AS BINARY) FOR UPDATE";

// A plain read: a locking read or an UPDATE that finds nothing locks the gap into which this
// transaction inserts next, and the gaps of two transactions deadlock. It misses nothing, because a
// record with this newest token is written only under the lock of the session's row, which this
// transaction holds. TiDB's would read what was there before the lock; but TiDB locks no gaps.
const HAS_OLDER: &str = "SELECT token FROM {rotations} WHERE newest = ? LIMIT 1";

const REDIRECT: &str = "UPDATE {rotations} SET newest = ?, opens = opens AND ? WHERE newest = ?";

const RECORD: &str = "INSERT INTO {rotations} (token, newest, opens, valid_from, valid_until) \
    VALUES (?, ?, ?, UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND, \
        UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND) \
    ON DUPLICATE KEY UPDATE newest = ?, opens = ?, \
        valid_from = UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND, \
        valid_until = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND";

const EXPIRED: &str = "SELECT token FROM {rotations} \
    WHERE valid_until <= UTC_TIMESTAMP(6) ORDER BY valid_until LIMIT ?";

const DELETE_EXPIRED: &str = "DELETE record FROM {rotations} AS record FORCE INDEX (PRIMARY) \
    WHERE record.token IN ({tokens}) AND record.valid_until <= UTC_TIMESTAMP(6)";

/// The statements on the record of rotations.
pub(crate) struct Rotations {
    load: Sql,
    lock: Sql,
    has_older: Sql,
    redirect: Sql,
    record: Sql,
    expired: Sql,
    delete_expired: ListSql,
    batch_size: usize,
}

impl Rotations {
    pub(crate) fn new(table: &Table, batch_size: usize) -> Self {
        let text = |template: &str| {
            template
                .replace("{rotations}", &quoted(&ddl::rotations_name(&table.name)))
                .replace("{table}", &quoted(table.name.as_str()))
                .replace("{newest}", &table.convert_token("record.newest"))
                .replace("{is_token}", &is_token("token"))
                .replace("{token_bytes}", &token_bytes("token"))
                .replace("{session_bytes}", &token_bytes("session.token"))
        };
        let on_tables = |template: &str| Sql::new(text(template));
        Self {
            load: on_tables(LOAD),
            lock: on_tables(LOCK),
            has_older: on_tables(HAS_OLDER),
            redirect: on_tables(REDIRECT),
            record: on_tables(RECORD),
            expired: on_tables(EXPIRED),
            delete_expired: ListSql::new(&text(DELETE_EXPIRED), batch_size),
            batch_size,
        }
    }

    /// Loads what a token names, from one consistent read.
    pub(crate) fn load(&self, connection: &mut Connection, token: &str) -> DriverResult<Loaded> {
        let params = vec![token.into(), token.into(), token.into()];
        let mut rotated = Loaded::Missing;
        for mut row in connection.query(&self.load, params)? {
            let (is_rotated, opens) = (is_true(&mut row, 0), is_true(&mut row, 1));
            let Some(Session { token, data, expiry }) = Session::read_from(&mut row, 2) else {
                continue;
            };
            if !is_rotated {
                return Ok(Loaded::Live { data, expiry });
            }
            rotated = Loaded::Rotated { token, opens };
        }
        Ok(rotated)
    }

    /// Returns the token under which a rotated session is live, and keeps it there until the
    /// transaction ends.
    pub(crate) fn lock(
        &self,
        connection: &mut Connection,
        token: &str,
    ) -> DriverResult<Option<String>> {
        let row = connection.query_first(&self.lock, vec![token.into()])?;
        Ok(row.and_then(|mut row| String::from_utf8(bytes(&mut row, 0)?).ok()))
    }

    /// Records a rotation, in its transaction, in which the session's row is locked.
    pub(crate) fn record(
        &self,
        connection: &mut Connection,
        old: &str,
        rotation: &Rotation<'_>,
    ) -> DriverResult<()> {
        let (newest, opens) = (Value::from(&*rotation.new_token), rotation.old_token_opens);
        // The records of earlier tokens lead to the newest as well.
        let may_have_older = !connection.engine().takes_snapshot_at_first_read()
            || connection.query_first(&self.has_older, vec![old.into()])?.is_some();
        if may_have_older {
            let params = vec![newest.clone(), opens.into(), old.into()];
            connection.execute(&self.redirect, params)?;
        }
        let grace = rotation.grace.min(Rotation::MAX_GRACE).as_micros();
        let grace = Value::from(u64::try_from(grace).unwrap_or(u64::MAX));
        let values = [newest, opens.into(), grace.clone(), grace];
        let params = [Value::from(old)].into_iter().chain(values.clone()).chain(values).collect();
        connection.execute(&self.record, params).map(drop)
    }

    /// Returns the tokens of a batch of records that are past their window.
    pub(crate) fn expired(&self, connection: &mut Connection) -> DriverResult<Vec<Vec<u8>>> {
        let rows = connection.query(&self.expired, vec![self.batch_size.into()])?;
        Ok(rows.into_iter().filter_map(|mut row| bytes(&mut row, 0)).collect())
    }

    /// Removes those of the records that are past their window.
    pub(crate) fn delete_expired(
        &self,
        connection: &mut Connection,
        tokens: &[Vec<u8>],
    ) -> DriverResult<()> {
        let (sql, params) = self.delete_expired.on(tokens);
        connection.execute(sql, params).map(drop)
    }
}

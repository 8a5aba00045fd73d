//! The limit: rusqlite, a connection and prepared statements for each thread, the SQL and settings
//! of the store.

use std::ffi::c_int;
use std::fs::File;
use std::time::Duration;

use bench_protocol::{
    Contender, Durability, Handle, Login, Measurement, Operation, Order, Result, data, is_live,
    measure, token,
};
use chrono::{DateTime, Utc};
use rusqlite::hooks::{CheckpointMode, Wal};
use rusqlite::{
    CachedStatement, Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction,
    TransactionBehavior, params,
};

use crate::Row;
use crate::ours::expiry;

/// The Go store's table, and the same without its index on expiry.
pub(crate) const CLASSIC: &str = "classic-sqlite";
pub(crate) const LEAN: &str = "lean-sqlite";

const RAW: Row = Row {
    name: "raw-sqlite",
    format: CLASSIC,
    version: "rusqlite 0.40",
    engine,
    settings: "a connection and prepared statements per thread, a transaction per commit, WAL, checkpoints \
               at 4,000 pages, with all writers waiting at 8,000",
    fill,
    is_on_server: false,
    measure: |order| run(order, USUAL),
};

const RAW_LEAN: Row = Row {
    name: "raw-sqlite-lean",
    format: LEAN,
    settings: "as raw-sqlite, without the index on expiry",
    fill: fill_lean,
    ..RAW
};

pub(crate) const ROWS: &[Row] = &[
    RAW,
    Row {
        name: "raw-sqlite-in-steps",
        settings: "as raw-sqlite; a login is three transactions: token, user, data",
        measure: |order| run(order, Way { login_in_steps: true, ..USUAL }),
        ..RAW
    },
    Row {
        name: "raw-sqlite-mmap",
        settings: "as raw-sqlite, with PRAGMA mmap_size = 1 GiB",
        measure: |order| run(order, Way { mmap: GIB, ..USUAL }),
        ..RAW
    },
    RAW_LEAN,
    Row {
        name: "raw-sqlite-unbounded",
        settings: "as raw-sqlite-lean, with SQLite's own wal_autocheckpoint at 4,000 pages, for which no writer \
                   waits",
        measure: |order| run(order, Way { is_log_bounded: false, ..USUAL }),
        ..RAW_LEAN
    },
    Row {
        name: "raw-sqlite-exclusive",
        settings: "as raw-sqlite-lean, with the VFS unix-excl",
        measure: |order| run(order, Way { is_exclusive: true, ..USUAL }),
        ..RAW_LEAN
    },
    Row {
        name: "raw-sqlite-exclusive-mmap",
        settings: "as raw-sqlite-exclusive, with PRAGMA mmap_size = 1 GiB",
        measure: |order| run(order, Way { is_exclusive: true, mmap: GIB, ..USUAL }),
        ..RAW_LEAN
    },
];

/// How the database is opened and used.
#[derive(Clone, Copy)]
struct Way {
    mmap: i64,
    is_exclusive: bool,
    login_in_steps: bool,
    /// SQLite's own checkpoints don't end the log while two connections commit without a pause:
    /// it grows for as long as they do.
    is_log_bounded: bool,
}

const USUAL: Way =
    Way { mmap: 0, is_exclusive: false, login_in_steps: false, is_log_bounded: true };

const GIB: i64 = 1 << 30;

/// After how many pages of the log it is written to the database, as in the store.
const CHECKPOINT_PAGES: c_int = 4_000;
/// After how many of them all writers wait for that.
const MAX_LOG_PAGES: c_int = 8_000;

const DDL: &str = "\
CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL);
CREATE TABLE sessions_subjects (token TEXT PRIMARY KEY NOT NULL, subject TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX sessions_subjects_subject_idx ON sessions_subjects(subject);
CREATE TABLE sessions_rotations (token TEXT PRIMARY KEY NOT NULL, newest TEXT NOT NULL, opens INTEGER NOT NULL,
    valid_from REAL NOT NULL, valid_until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX sessions_rotations_newest_idx ON sessions_rotations(newest);
CREATE INDEX sessions_rotations_valid_until_idx ON sessions_rotations(valid_until);";

const INDEX: &str = "CREATE INDEX sessions_expiry_idx ON sessions(expiry);";

const FIND: &str =
    "SELECT data, expiry FROM sessions WHERE token = ?1 AND expiry > ?2 AND expiry < 5373484.5";
const COMMIT: &str = "INSERT INTO sessions (token, data, expiry) VALUES (?1, ?2, ?3) \
    ON CONFLICT (token) DO UPDATE SET data = excluded.data, expiry = excluded.expiry";
const TOUCH: &str =
    "UPDATE sessions SET expiry = ?2 WHERE token = ?1 AND expiry > ?3 AND expiry < 5373484.5";
const REPLACE: &str = "UPDATE sessions SET data = ?3, expiry = ?4 WHERE token = ?1 AND \
    CAST(data AS BLOB) = ?2 AND expiry > ?5 AND expiry < 5373484.5";
const DELETE: &str = "DELETE FROM sessions WHERE token = ?1";
const LOG_IN: &str = "UPDATE sessions SET token = ?1, data = ?3, expiry = ?4 WHERE token = ?6 AND \
    CAST(data AS BLOB) = ?2 AND expiry > ?5 AND expiry < 5373484.5";
const RENAME: &str =
    "UPDATE sessions SET token = ?1 WHERE token = ?2 AND expiry > ?3 AND expiry < 5373484.5";
const SET_SUBJECT: &str = "INSERT INTO sessions_subjects (token, subject) VALUES (?1, ?2) \
    ON CONFLICT (token) DO UPDATE SET subject = excluded.subject";
const LEAD_ON: &str = "UPDATE sessions_rotations SET newest = ?1 WHERE newest = ?2";
const ROTATE: &str = "INSERT INTO sessions_rotations (token, newest, opens, valid_from, valid_until) \
    VALUES (?1, ?2, 0, ?3, ?4)";
/// Half a minute, in days.
const GRACE: f64 = 30.0 / 86_400.0;
const WALK: &str = "SELECT token, data, expiry FROM sessions NOT INDEXED \
    WHERE +expiry > ?1 AND +expiry < 5373484.5";
const SWEEP: &str = "DELETE FROM sessions WHERE rowid IN (SELECT rowid FROM sessions WHERE expiry <= ?1 LIMIT 1000)";

pub(crate) fn engine() -> String {
    format!("SQLite {}", rusqlite::version())
}

fn julian_day(instant: DateTime<Utc>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    let ms = (instant.timestamp_millis() + 210_866_760_000_000) as f64;
    ms / 86_400_000.0
}

/// Creates a database with the rows of the scenario, and returns when it is on disk.
pub(crate) fn fill(order: &Order) -> Result {
    fill_tables(order, &[DDL, INDEX].concat())
}

/// The same without the index on expiry.
pub(crate) fn fill_lean(order: &Order) -> Result {
    fill_tables(order, DDL)
}

fn fill_tables(order: &Order, ddl: &str) -> Result {
    bulk_fill(order, ddl, "INSERT INTO sessions VALUES (?1, ?2, ?3)", |insert, key| {
        let scenario = &order.scenario;
        let expiry = julian_day(expiry());
        // Every expired session has an expiry of its own, as sessions that began one after the
        // other do.
        let expired = 2_440_587.5 + f64::from(u32::try_from(key % 1_000_000)?) / 1e6;
        let is_live = !scenario.half_expired || is_live(key);
        let mut text = String::new();
        token(key, &mut text);
        let mut bytes = vec![0; scenario.data_len];
        data(key, &mut bytes);
        insert.execute(params![text, bytes, if is_live { expiry } else { expired }])?;
        Ok(())
    })?;
    if order.scenario.operation == Operation::DeleteAll {
        Connection::open(&order.path)?.execute_batch(
            "INSERT INTO sessions_subjects SELECT token, rowid FROM sessions;
             PRAGMA wal_checkpoint(TRUNCATE);",
        )?;
    }
    Ok(())
}

/// Creates a database quickly, with any table.
pub(crate) fn bulk_fill(
    order: &Order,
    ddl: &str,
    insert: &str,
    row: impl Fn(&mut CachedStatement<'_>, u64) -> Result,
) -> Result {
    let connection = Connection::open(&order.path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = off; PRAGMA synchronous = off; PRAGMA cache_size = -1000000;",
    )?;
    connection.execute_batch(ddl)?;
    connection.execute_batch("BEGIN")?;
    let mut insert = connection.prepare_cached(insert)?;
    for key in 0..order.scenario.rows {
        row(&mut insert, key)?;
    }
    drop(insert);
    connection.execute_batch("COMMIT; PRAGMA journal_mode = wal;")?;
    drop(connection);
    File::open(&order.path)?.sync_all()?;
    Ok(())
}

/// Gives a connection the settings of the scenario.
pub(crate) fn configure(
    connection: &Connection,
    durability: Durability,
    mmap: i64,
) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(20))?;
    let synchronous = match durability {
        Durability::Full => "full",
        Durability::Normal => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    if mmap > 0 {
        connection.pragma_update_and_check(None, "mmap_size", mmap, |_| Ok(()))?;
    }
    Ok(())
}

/// Does what `wal_autocheckpoint` does, and lets all writers wait for it where that isn't enough.
fn bound_log(log: &Wal, pages: c_int) -> rusqlite::Result<()> {
    let mode = match pages {
        ..CHECKPOINT_PAGES => return Ok(()),
        CHECKPOINT_PAGES..MAX_LOG_PAGES => CheckpointMode::PASSIVE,
        _ => CheckpointMode::RESTART,
    };
    match log.checkpoint_v2(mode) {
        Err(error) if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) => Err(error),
        // Another connection does it.
        _ => Ok(()),
    }
}

fn run(order: &Order, way: Way) -> Result<Measurement> {
    let raw = Raw { order: order.clone(), way };
    measure(Box::leak(Box::new(raw)), order)
}

struct Raw {
    order: Order,
    way: Way,
}

impl Raw {
    fn connect(&self) -> Result<Connection> {
        let Way { mmap, is_exclusive, is_log_bounded, .. } = self.way;
        let vfs = if is_exclusive { c"unix-excl" } else { c"unix" };
        let connection =
            Connection::open_with_flags_and_vfs(&self.order.path, OpenFlags::default(), vfs)?;
        configure(&connection, self.order.scenario.durability, mmap)?;
        if is_log_bounded {
            connection.wal_hook(Some(bound_log));
        }
        Ok(connection)
    }
}

impl Contender for Raw {
    fn handle(&self) -> Result<Box<dyn Handle + '_>> {
        Ok(Box::new(Dedicated { connection: self.connect()?, way: self.way }))
    }

    fn for_each(&self, visit: &mut dyn FnMut(&str, &[u8])) -> Result<u64> {
        let connection = self.connect()?;
        let mut statement = connection.prepare(WALK)?;
        let mut rows = statement.query([julian_day(Utc::now())])?;
        let mut visited = 0;
        while let Some(row) = rows.next()? {
            visit(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_blob()?);
            visited += 1;
        }
        Ok(visited)
    }

    fn sweep(&self) -> Result<u64> {
        let connection = self.connect()?;
        let mut statement = connection.prepare(SWEEP)?;
        let mut removed = 0;
        loop {
            match statement.execute([julian_day(Utc::now())])? {
                0 => return Ok(removed),
                batch => removed += batch as u64,
            }
        }
    }
}

/// A thread's connection. Its cache holds the prepared statements, because fields can't borrow from
/// it.
struct Dedicated {
    connection: Connection,
    way: Way,
}

impl Dedicated {
    /// In one transaction.
    fn log_in(&self, login: &Login<'_>) -> Result<bool> {
        let Login { token, current, new_token, data, subject } = *login;
        let now = julian_day(Utc::now());
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let is_done = self.connection.prepare_cached(LOG_IN)?.execute(params![
            new_token,
            current,
            data,
            julian_day(expiry()),
            now,
            token
        ])? == 1;
        self.connection.prepare_cached(SET_SUBJECT)?.execute([new_token, subject])?;
        self.connection.prepare_cached(LEAD_ON)?.execute([new_token, token])?;
        let window = params![token, new_token, now - GRACE, now + GRACE];
        self.connection.prepare_cached(ROTATE)?.execute(window)?;
        transaction.commit()?;
        Ok(is_done)
    }

    /// In a transaction each for token, user and data.
    fn log_in_in_steps(&mut self, login: &Login<'_>) -> Result<bool> {
        let Login { token, current, new_token, data, subject } = *login;
        let now = julian_day(Utc::now());
        let renamed =
            self.connection.prepare_cached(RENAME)?.execute(params![new_token, token, now])?;
        self.connection.prepare_cached(SET_SUBJECT)?.execute([new_token, subject])?;
        Ok(self.replace(new_token, current, data)? && renamed == 1)
    }
}

impl Handle for Dedicated {
    fn find(&mut self, token: &str) -> Result<Option<usize>> {
        let mut statement = self.connection.prepare_cached(FIND)?;
        let found = statement.query_row(params![token, julian_day(Utc::now())], |row| {
            row.get::<_, f64>(1)?;
            // A store returns bytes that the caller owns.
            Ok(row.get::<_, Vec<u8>>(0)?.len())
        });
        Ok(found.optional()?)
    }

    fn commit(&mut self, token: &str, data: &[u8]) -> Result {
        let mut statement = self.connection.prepare_cached(COMMIT)?;
        statement.execute(params![token, data, julian_day(expiry())])?;
        Ok(())
    }

    fn touch(&mut self, token: &str) -> Result<bool> {
        let mut statement = self.connection.prepare_cached(TOUCH)?;
        let now = julian_day(Utc::now());
        Ok(statement.execute(params![token, julian_day(expiry()), now])? == 1)
    }

    fn replace(&mut self, token: &str, current: &[u8], data: &[u8]) -> Result<bool> {
        let mut statement = self.connection.prepare_cached(REPLACE)?;
        let now = julian_day(Utc::now());
        Ok(statement.execute(params![token, current, data, julian_day(expiry()), now])? == 1)
    }

    fn delete(&mut self, token: &str) -> Result {
        self.connection.prepare_cached(DELETE)?.execute([token])?;
        Ok(())
    }

    fn login(&mut self, login: &Login<'_>) -> Result<bool> {
        if self.way.login_in_steps { self.log_in_in_steps(login) } else { self.log_in(login) }
    }
}

//! The Go store's table, unchanged: read exactly, written so that Go reads it, shared with
//! whatever else the application keeps in it.

mod rows;

mod side_tables;

use std::path::{Path, PathBuf};

use chrono::{TimeDelta, Utc};
use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::Connection;
use store_core::{Change, Rotation};
use tempfile::TempDir;

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// What the Go store runs, from `sqlite3store.go`.
mod go {
    pub(super) const FIND: &str =
        "SELECT data FROM sessions WHERE token = $1 AND julianday('now') < expiry";
    pub(super) const COMMIT: &str =
        "REPLACE INTO sessions (token, data, expiry) VALUES ($1, $2, julianday($3))";
    pub(super) const DELETE: &str = "DELETE FROM sessions WHERE token = $1";
    pub(super) const DELETE_EXPIRED: &str = "DELETE FROM sessions WHERE expiry < julianday('now')";
    /// The layout `2006-01-02T15:04:05.999`, which cuts the fraction and its trailing zeros.
    pub(super) const EXPIRY_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.3f";
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn pool(path: &Path) -> Result<Pool<SqliteConnectionManager>, r2d2::Error> {
    Pool::builder().max_size(2).build(SqliteConnectionManager::file(path))
}

/// A rotation that leaves the data as they are.
fn rotation<'a>(data: &'a [u8], new_token: &'a str) -> Change<'a> {
    Change::new(data, Utc::now() + TimeDelta::hours(1)).with_rotation(Rotation::new(new_token))
}

/// A new file with the Go store's table, made by the statements of its documentation.
fn go_database() -> Result<(TempDir, PathBuf), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    Connection::open(&path)?.execute_batch(
        "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL);
         CREATE INDEX sessions_expiry_idx ON sessions(expiry);",
    )?;
    Ok((directory, path))
}

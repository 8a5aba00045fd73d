//! Writes that fail in the middle.

use chrono::{TimeDelta, Utc};
use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::Connection;
use store_core::{Loaded, Store};
use store_sqlite::{Error, SqliteStore};

use crate::{TestResult, cause, in_an_hour, new_data, options, rotation};

#[test]
fn update_that_fails_at_any_statement_leaves_all_as_it_was() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let store = options().open(&path)?;
    let sqlite = Connection::open(&path)?;
    store.create("first", b"data", in_an_hour(), Some("old user"))?;
    assert!(store.update("first", b"data", &rotation(b"data", "anonymous"))?);
    store.create("other", b"more", in_an_hour(), Some("other user"))?;
    store.create("new", b"expired", Utc::now() - TimeDelta::hours(1), None)?;

    let rows = || -> rusqlite::Result<Vec<String>> {
        sqlite
            .prepare(
                "SELECT quote(token) || quote(data) || quote(expiry) FROM sessions
                 UNION ALL SELECT quote(token) || quote(subject) FROM sessions_subjects
                 UNION ALL SELECT quote(token) || quote(newest) || opens FROM sessions_rotations",
            )?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    let before = rows()?;
    let login = rotation(b"both", "new").with_subject(Some("user")).absorbing("other", b"more");
    for (statement, table, when) in [
        ("DELETE", "sessions", "old.token = 'other'"),
        ("DELETE", "sessions_subjects", "old.token = 'other'"),
        ("DELETE", "sessions", "old.token = 'new'"),
        ("UPDATE", "sessions", "true"),
        ("DELETE", "sessions_subjects", "old.token = 'anonymous'"),
        ("INSERT", "sessions_subjects", "true"),
        ("UPDATE", "sessions_rotations", "true"),
        ("INSERT", "sessions_rotations", "true"),
    ] {
        sqlite.execute_batch(&format!(
            "CREATE TRIGGER fault AFTER {statement} ON {table} WHEN {when}
                 BEGIN SELECT RAISE(ABORT, 'a fault'); END"
        ))?;
        match store.update("anonymous", b"data", &login) {
            Err(error @ Error::Backend { .. }) => assert!(cause(&error).contains("a fault")),
            other => panic!("{statement} {table} {when}: {other:?}"),
        }
        assert_eq!(rows()?, before, "{statement} {table} {when}");
        sqlite.execute_batch("DROP TRIGGER fault")?;
    }
    assert!(store.update("anonymous", b"data", &login)?);
    for token in ["first", "anonymous"] {
        assert!(matches!(store.load(token)?, Loaded::Rotated { token, .. } if token == "new"));
    }
    assert_eq!(store.find_by_subject("user")?[0].data, b"both");
    assert_eq!(store.count()?, 1);
    Ok(())
}

#[test]
fn failure_in_the_index_of_subjects_leaves_the_sessions_as_they_were() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let store = options().open(&path)?;
    let sqlite = Connection::open(&path)?;
    store.create("token", b"data", in_an_hour(), Some("user"))?;
    store.create("expired", b"data", Utc::now() - TimeDelta::hours(1), Some("user"))?;
    sqlite.execute_batch(
        "CREATE TRIGGER fault AFTER DELETE ON sessions_subjects
             BEGIN SELECT RAISE(ABORT, 'a fault'); END",
    )?;
    for outcome in [
        store.delete("token"),
        store.delete_by_subject("user", None).map(drop),
        store.update("token", b"data", &new_data(b"new").with_subject(None)).map(drop),
        store.create("expired", b"new", in_an_hour(), None),
        store.delete_expired().map(drop),
    ] {
        match outcome {
            Err(error @ Error::Backend { .. }) => assert!(cause(&error).contains("a fault")),
            other => panic!("{other:?}"),
        }
    }
    let unchanged: i64 = sqlite.query_row(
        "SELECT count(*) FROM sessions JOIN sessions_subjects USING (token)
         WHERE data = x'64617461' AND subject = 'user'",
        [],
        |row| row.get(0),
    )?;
    assert_eq!(unchanged, 2);
    sqlite.execute_batch("DROP TRIGGER fault")?;
    assert_eq!(store.delete_by_subject("user", None)?, 1);
    assert_eq!(store.delete_expired()?, 1);
    Ok(())
}

#[test]
fn connection_with_an_open_transaction_is_refused() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let pool = Pool::builder().max_size(1).build(SqliteConnectionManager::file(&path))?;
    SqliteStore::create_table(&pool)?;
    let store = options().build(pool.clone())?;
    pool.get()?.execute_batch("BEGIN")?;
    match store.commit("token", b"data", in_an_hour()) {
        Err(error @ Error::Backend { .. }) => {
            assert!(cause(&error).contains("open transaction"), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
    pool.get()?.execute_batch("ROLLBACK")?;
    store.commit("token", b"data", in_an_hour())?;
    Ok(())
}

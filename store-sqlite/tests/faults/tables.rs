//! Tables and options that are wrong when the store is made, or become so later.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::Connection;
use store_core::{CleanupOptions, Loaded, Store};
use store_sqlite::{Error, SqliteStore};

use crate::{TestResult, in_an_hour, new_data, options, rotation};

#[test]
fn missing_and_wrong_tables_are_found_at_construction() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let pool = Pool::builder().max_size(1).build(SqliteConnectionManager::file(&path))?;
    let missing = SqliteStore::new(pool.clone());
    match &missing {
        Err(error @ Error::TableMissing { table }) => {
            assert_eq!(table, "sessions");
            assert!(error.to_string().contains("create_table()"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    pool.get()?.execute_batch("CREATE TABLE sessions (id INTEGER PRIMARY KEY, value TEXT)")?;
    for refused in [SqliteStore::new(pool.clone()), options().open(&path)] {
        match refused {
            Err(Error::TableMismatch { problem, .. }) => {
                assert!(problem.contains("no column \"token\""), "{problem}");
                assert!(problem.contains("CREATE TABLE"), "it says what is expected: {problem}");
            }
            other => panic!("{other:?}"),
        }
    }
    for name in ["", "a b", "s\"; DROP TABLE users;--"] {
        let refused = options().with_table_name(name).build(pool.clone());
        assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{name}: {refused:?}");
    }
    Ok(())
}

#[test]
fn dropped_table_is_named_and_works_when_it_is_back() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let failures = Arc::new(Mutex::new(Vec::new()));
    let (cleanup, manual) = CleanupOptions::new()
        .with_failure_hook({
            let failures = Arc::clone(&failures);
            move |failure| failures.lock().expect("nobody panics").push(failure.to_string())
        })
        .with_manual_cleanup();
    let store = options().with_cleanup(cleanup).open(&path)?;
    store.commit("token", b"data", in_an_hour())?;
    let sqlite = Connection::open(&path)?;
    sqlite.execute_batch("DROP TABLE sessions")?;

    let is_missing = |outcome: Result<(), Error>| {
        assert!(matches!(outcome, Err(Error::TableMissing { .. })), "{outcome:?}");
    };
    is_missing(store.find("token").map(drop));
    is_missing(store.commit("token", b"data", in_an_hour()));
    is_missing(store.load("token").map(drop));
    is_missing(store.create("token", b"data", in_an_hour(), None));
    is_missing(store.update("token", b"data", &new_data(b"new")).map(drop));
    is_missing(store.update("token", b"data", &rotation(b"data", "new")).map(drop));
    is_missing(store.touch("token", in_an_hour()).map(drop));
    is_missing(store.delete("token"));
    is_missing(store.find_by_subject("user").map(drop));
    is_missing(store.delete_by_subject("user", None).map(drop));
    is_missing(store.count().map(drop));
    is_missing(store.delete_expired().map(drop));
    is_missing(store.all().map(drop));
    assert!(manual.run() && manual.wait_until_idle());
    let reported = failures.lock().expect("nobody panics").concat();
    assert!(reported.contains("no table \"sessions\""), "{reported}");

    sqlite.execute_batch("CREATE TABLE sessions (token TEXT PRIMARY KEY, expiry REAL NOT NULL)")?;
    let wrong = store.find("token");
    assert!(matches!(wrong, Err(Error::TableMismatch { .. })), "{wrong:?}");

    sqlite.execute_batch("DROP TABLE sessions")?;
    sqlite.execute_batch(SqliteStore::CREATE_TABLE)?;
    store.commit("token", b"data", in_an_hour())?;
    store.commit("expired", b"data", Utc::now() - TimeDelta::hours(1))?;
    assert!(manual.run() && manual.wait_until_idle());
    let statistics = store.cleanup_statistics();
    assert_eq!((statistics.runs, statistics.failures, statistics.removed), (2, 1, 1));
    Ok(())
}

#[test]
fn dropped_side_table_is_named_and_works_when_it_is_back() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let store = options().open(&path)?;
    store.create("token", b"data", in_an_hour(), Some("user"))?;
    let sqlite = Connection::open(&path)?;
    let is_missing = |outcome: Result<(), Error>, name: &str| match outcome {
        Err(Error::TableMissing { table }) => assert_eq!(table, name),
        other => panic!("{other:?}"),
    };

    sqlite.execute_batch("DROP TABLE sessions_rotations")?;
    is_missing(store.load("missing").map(drop), "sessions_rotations");
    let rotated = store.update("token", b"data", &rotation(b"new", "new"));
    is_missing(rotated.map(drop), "sessions_rotations");
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]), "all or nothing");
    assert!(store.find("new")?.is_none());
    sqlite.execute_batch(SqliteStore::CREATE_ROTATIONS_TABLE)?;

    sqlite.execute_batch("DROP TABLE sessions_subjects")?;
    is_missing(store.find_by_subject("user").map(drop), "sessions_subjects");
    is_missing(store.create("other", b"data", in_an_hour(), Some("user")), "sessions_subjects");
    assert!(store.find("other")?.is_none(), "all or nothing");
    let rotated = store.update("token", b"data", &rotation(b"new", "new"));
    is_missing(rotated.map(drop), "sessions_subjects");
    assert!(matches!(store.load("token")?, Loaded::Live { data, .. } if data == b"data"));
    sqlite.execute_batch(SqliteStore::CREATE_SUBJECTS_TABLE)?;

    assert!(store.update("token", b"data", &rotation(b"new", "new").with_subject(Some("user")))?);
    assert!(matches!(store.load("token")?, Loaded::Rotated { token, .. } if token == "new"));
    assert_eq!(store.find_by_subject("user")?.len(), 1);
    Ok(())
}

#[test]
fn wrong_side_table_is_found_at_construction() -> TestResult {
    for (ddl, name, problem) in [
        (
            "CREATE TABLE sessions_rotations (token TEXT PRIMARY KEY, angle REAL)",
            "sessions_rotations",
            "no such column",
        ),
        (
            "CREATE TABLE sessions_subjects (token TEXT, subject TEXT)",
            "sessions_subjects",
            "PRIMARY KEY or UNIQUE",
        ),
    ] {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("app.db");
        Connection::open(&path)?.execute_batch(ddl)?;
        match options().open(&path) {
            Err(Error::TableMismatch { table, problem: found }) => {
                assert_eq!(table, name);
                assert!(found.contains(problem), "{found}");
                assert!(found.contains("CREATE TABLE"), "it says what is expected: {found}");
            }
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

#[test]
fn refused_database_is_left_as_it_was() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let theirs = Connection::open(&path)?;
    theirs
        .execute_batch("CREATE TABLE sessions (id INTEGER PRIMARY KEY, expiry TEXT, owner TEXT)")?;
    let before = fs::read(&path)?;
    assert!(matches!(options().open(&path), Err(Error::TableMismatch { .. })));
    assert_eq!(fs::read(&path)?, before);
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    for (options, what) in [
        (
            options().with_limits(store_core::Limits {
                max_data_len: 1_000_000_000,
                ..store_core::Limits::DEFAULT
            }),
            "data limit",
        ),
        (
            options().with_limits(store_core::Limits {
                max_token_len: 0,
                ..store_core::Limits::DEFAULT
            }),
            "token limit",
        ),
        (options().with_checkout_timeout(Duration::ZERO), "connection timeout"),
        (options().with_checkout_timeout(Duration::MAX), "endless connection timeout"),
        (options().with_contention_timeout(Duration::MAX), "endless contention timeout"),
    ] {
        let refused = options.in_memory();
        assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{what}: {refused:?}");
    }
}

//! Expired rows that an application keeps from being removed: the cleanup removes the others.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use store_core::{CleanupOptions, Store};
use store_sqlite::{Durability, Error, SqliteOptions, SqliteStore};

use crate::{TestResult, cause, in_an_hour, options, rotation};

const ROWS: usize = 100;

/// The oldest, and one in the middle of the others.
const STUCK: &str = "('token-0', 'token-1', 'token-2', 'token-50')";

/// What keeps sessions, how it is undone, and what the error says.
fn obstacles() -> Vec<(String, &'static str, &'static str)> {
    let foreign_key = |deferred: &str| {
        format!(
            "CREATE TABLE app (token TEXT REFERENCES sessions (token) {deferred});
             INSERT INTO app SELECT token FROM sessions WHERE token IN {STUCK}"
        )
    };
    let trigger = |table: &str, action: &str| {
        format!(
            "CREATE TRIGGER app BEFORE DELETE ON {table} WHEN old.token IN {STUCK}
             BEGIN SELECT RAISE({action}); END"
        )
    };
    let drop_trigger = "DROP TRIGGER app";
    vec![
        (foreign_key(""), "DROP TABLE app", "FOREIGN KEY"),
        (foreign_key("DEFERRABLE INITIALLY DEFERRED"), "DROP TABLE app", "FOREIGN KEY"),
        (trigger("sessions", "ABORT, 'kept'"), drop_trigger, "kept"),
        (trigger("sessions", "FAIL, 'kept'"), drop_trigger, "kept"),
        (trigger("sessions", "ROLLBACK, 'kept'"), drop_trigger, "kept"),
        (trigger("sessions", "IGNORE"), drop_trigger, "trigger"),
        (trigger("sessions_subjects", "ABORT, 'kept'"), drop_trigger, "kept"),
    ]
}

fn batches_of(rows: usize) -> CleanupOptions {
    CleanupOptions::disabled().with_batch_size(NonZeroUsize::new(rows).expect("not zero"))
}

/// Without waiting for the disk.
fn open(path: &Path, cleanup: CleanupOptions) -> Result<SqliteStore, Error> {
    relaxed(cleanup).open(path)
}

fn relaxed(cleanup: CleanupOptions) -> SqliteOptions {
    options().with_cleanup(cleanup).with_durability(Durability::Normal)
}

/// The first is the oldest.
fn create_expired(sqlite: &Connection) -> rusqlite::Result<()> {
    sqlite.execute_batch(&format!(
        "INSERT INTO sessions
             SELECT 'token-' || value, x'64617461', julianday() - 1 + value / 86400.0
             FROM (WITH RECURSIVE series (value) AS
                 (SELECT 0 UNION ALL SELECT value + 1 FROM series WHERE value < {ROWS} - 1)
                 SELECT value FROM series);
         INSERT INTO sessions_subjects SELECT token, 'user' FROM sessions"
    ))
}

fn tokens(sqlite: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let sql = format!("SELECT token FROM {table} ORDER BY token");
    sqlite.prepare(&sql)?.query_map([], |row| row.get(0))?.collect()
}

#[test]
fn sessions_that_cannot_be_removed_are_reported_and_the_others_go() -> TestResult {
    for (obstacle, end, message) in obstacles() {
        for (batch_size, has_expiry_index) in [(1, false), (1, true), (1_000, false), (1_000, true)]
        {
            let directory = tempfile::tempdir()?;
            let path = directory.path().join("app.db");
            let mut options = relaxed(batches_of(batch_size));
            if has_expiry_index {
                options = options.with_expiry_index();
            }
            let store = options.open(&path)?;
            let sqlite = Connection::open(&path)?;
            create_expired(&sqlite)?;
            store.create("live", b"data", in_an_hour(), Some("user"))?;
            sqlite.execute_batch(&obstacle)?;
            for _ in 0..2 {
                match store.delete_expired() {
                    Err(error @ Error::Backend { .. }) => {
                        assert!(cause(&error).contains(message), "{obstacle}: {error:?}");
                    }
                    other => panic!("{obstacle}, {batch_size}: {other:?}"),
                }
                let stuck = ["live", "token-0", "token-1", "token-2", "token-50"];
                for table in ["sessions", "sessions_subjects"] {
                    assert_eq!(tokens(&sqlite, table)?, stuck, "{obstacle}, {batch_size}");
                }
            }
            sqlite.execute_batch(end)?;
            assert_eq!(store.delete_expired()?, 4, "{obstacle}, {batch_size}");
            assert_eq!(store.find_by_subject("user")?.len(), 1);
        }
    }
    Ok(())
}

#[test]
fn each_run_counts_what_it_removed_and_fails_once() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    drop(open(&path, CleanupOptions::disabled())?);
    let sqlite = Connection::open(&path)?;
    create_expired(&sqlite)?;
    let (obstacle, end, message) = obstacles().remove(0);
    sqlite.execute_batch(&obstacle)?;

    let failures = Arc::new(Mutex::new(Vec::new()));
    let cleanup =
        CleanupOptions::new().with_interval(Duration::from_millis(1)).with_failure_hook({
            let failures = Arc::clone(&failures);
            move |failure| failures.lock().expect("nobody panics").push(failure.to_string())
        });
    let store = open(&path, cleanup)?;
    let wait_for_runs = |runs| {
        while store.cleanup_statistics().runs < runs {
            thread::yield_now();
        }
    };
    wait_for_runs(3);
    let statistics = store.cleanup_statistics();
    assert_eq!((statistics.failures, statistics.removed), (statistics.runs, 96));
    sqlite.execute_batch(end)?;
    wait_for_runs(statistics.runs + 3);
    store.stop_cleanup();
    let statistics = store.cleanup_statistics();
    assert_eq!(statistics.removed, 100);
    assert!(!statistics.last_run.expect("it has run").failed);
    let failures = failures.lock().expect("nobody panics");
    assert_eq!(failures.len() as u64, statistics.failures);
    assert!(failures.iter().all(|failure| failure.contains(message)), "{failures:?}");
    Ok(())
}

/// In the tables next to that of the sessions.
#[test]
fn entries_that_cannot_be_removed_keep_nothing_else_from_it() -> TestResult {
    const RECORDS: usize = 40;
    for action in ["ABORT, 'kept'", "ROLLBACK, 'kept'", "IGNORE"] {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("app.db");
        let store = open(&path, batches_of(10))?;
        let sqlite = Connection::open(&path)?;
        create_expired(&sqlite)?;
        store.create("live", b"data", in_an_hour(), Some("user"))?;
        let mut token = "live".to_owned();
        for n in 0..RECORDS {
            let next = format!("live-{n}");
            assert!(store.update(&token, b"data", &rotation(b"data", &next))?);
            token = next;
        }
        // A Go program has deleted some sessions.
        sqlite.execute_batch(&format!(
            "UPDATE sessions_rotations SET valid_until = valid_until - 1;
             DELETE FROM sessions WHERE token LIKE 'token-%5';
             CREATE TRIGGER record BEFORE DELETE ON sessions_rotations
                 WHEN old.token IN ('live', 'live-7') BEGIN SELECT RAISE({action}); END;
             CREATE TRIGGER orphan BEFORE DELETE ON sessions_subjects
                 WHEN old.token IN ('token-5', 'token-55') BEGIN SELECT RAISE({action}); END"
        ))?;
        let failed = store.delete_expired();
        assert!(matches!(failed, Err(Error::Backend { .. })), "{action}: {failed:?}");
        assert_eq!(tokens(&sqlite, "sessions")?, [&*token], "{action}");
        assert_eq!(tokens(&sqlite, "sessions_rotations")?, ["live", "live-7"], "{action}");
        let left = tokens(&sqlite, "sessions_subjects")?;
        assert_eq!(left, [&*token, "token-5", "token-55"], "{action}");
        sqlite.execute_batch("DROP TRIGGER record; DROP TRIGGER orphan")?;
        // The search for orphans goes round the index.
        for _ in 0..2 {
            assert_eq!(store.delete_expired()?, 0, "{action}");
        }
        assert_eq!(tokens(&sqlite, "sessions_rotations")?, [""; 0], "{action}");
        assert_eq!(tokens(&sqlite, "sessions_subjects")?, [&*token], "{action}");
    }
    Ok(())
}

/// It has more sessions than a step of the run looks at.
#[test]
fn cleanup_run_goes_through_a_large_table() -> TestResult {
    const SESSIONS: u64 = 25_000;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let store = open(&path, CleanupOptions::disabled())?;
    // The first has expired, some in the middle, and the last.
    Connection::open(&path)?.execute_batch(&format!(
        "INSERT INTO sessions
             WITH RECURSIVE series (value) AS
                 (SELECT 0 UNION ALL SELECT value + 1 FROM series WHERE value < {SESSIONS} - 1)
             SELECT 'token-' || value, x'64617461',
                 julianday() + iif(value % 3000 = 0 OR value = {SESSIONS} - 1, -1, 1)
             FROM series"
    ))?;
    assert_eq!(store.delete_expired()?, 10);
    assert_eq!(store.count()?, SESSIONS - 10);
    Ok(())
}

//! Locks and connections that others hold.

use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, TransactionBehavior};
use store_core::{CleanupOptions, Clock, Loaded, ManualClock, Store};
use store_sqlite::{Error, SqliteOptions, SqliteStore};

use crate::{TIMEOUT, TestResult, cause, in_an_hour, new_data, options, rotation};

#[test]
fn exhausted_pool_is_named_and_recovers() -> TestResult {
    let directory = tempfile::tempdir()?;
    let pool = Pool::builder()
        .max_size(1)
        .connection_timeout(TIMEOUT)
        .build(SqliteConnectionManager::file(directory.path().join("app.db")))?;
    SqliteStore::create_table(&pool)?;
    let store = options().build(pool.clone())?;
    let taken = pool.get()?;
    for outcome in [
        store.find("token").map(drop),
        store.commit("token", b"data", in_an_hour()),
        store.delete_expired().map(drop),
    ] {
        match outcome {
            Err(error @ Error::PoolExhausted { waited, .. }) => {
                assert!(waited >= TIMEOUT, "{waited:?}");
                assert!(error.is_retryable());
            }
            other => panic!("{other:?}"),
        }
    }
    drop(taken);
    store.commit("token", b"data", in_an_hour())?;
    assert!(store.find("token")?.is_some());
    Ok(())
}

#[test]
fn lock_held_for_too_long_is_contention_and_harms_no_reader() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let store = options().open(&path)?;
    store.commit("token", b"data", in_an_hour())?;
    let mut other = Connection::open(&path)?;
    let transaction = other.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for outcome in [
        store.commit("token", b"new", in_an_hour()),
        store.create("new", b"data", in_an_hour(), None),
        store.update("token", b"data", &new_data(b"new")).map(drop),
        store.update("token", b"data", &rotation(b"data", "new")).map(drop),
        store.touch("token", in_an_hour()).map(drop),
        store.delete_by_subject("user", None).map(drop),
        store.delete("token"),
        store.delete_expired().map(drop),
    ] {
        match outcome {
            Err(error @ Error::Contended { .. }) => {
                assert!(error.is_retryable());
                assert!(cause(&error).contains("locked"), "{error:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]), "WAL readers don't wait");
    drop(transaction);
    assert!(store.update("token", b"data", &rotation(b"data", "new"))?);
    Ok(())
}

#[test]
fn lock_held_while_tables_are_to_be_made_is_contention() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let manager =
        SqliteConnectionManager::file(&path).with_init(|sqlite| sqlite.busy_timeout(TIMEOUT));
    let pool = Pool::builder().max_size(1).build(manager)?;
    let mut other = Connection::open(&path)?;
    other.execute_batch(SqliteStore::CREATE_TABLE)?;
    let transaction = other.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match options().build(pool.clone()) {
        Err(error @ Error::Contended { .. }) => assert!(error.is_retryable()),
        other => panic!("a store without grace is no answer to a lock: {other:?}"),
    }
    drop(transaction);
    let store = options().build(pool)?;
    store.create("old", b"data", in_an_hour(), Some("user"))?;
    assert!(store.update("old", b"data", &rotation(b"data", "new"))?);
    assert!(matches!(store.load("old")?, Loaded::Rotated { .. }));
    Ok(())
}

#[test]
fn lock_released_in_time_is_waited_for() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let store = options().with_contention_timeout(Duration::from_secs(60)).open(&path)?;
    let mut other = Connection::open(&path)?;
    let transaction = other.transaction_with_behavior(TransactionBehavior::Immediate)?;
    thread::scope(|scope| {
        let writer = scope.spawn(|| store.commit("token", b"data", in_an_hour()));
        // The writer may or may not have begun to wait; either way it must succeed.
        thread::yield_now();
        transaction.commit()?;
        writer.join().expect("the writer doesn't panic")?;
        assert!(store.find("token")?.is_some());
        Ok(())
    })
}

#[test]
fn one_new_file_may_be_opened_by_many_at_once() -> TestResult {
    const THREADS: usize = 8;
    for _ in 0..5 {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("app.db");
        let open = |n: usize, start: &Barrier, path: &Path| {
            start.wait();
            let store = SqliteOptions::new().with_cleanup(CleanupOptions::disabled()).open(path)?;
            store.commit(&format!("token-{n}"), b"data", in_an_hour())
        };
        let start = Barrier::new(THREADS);
        let outcomes: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|n| {
                    let (open, start, path) = (&open, &start, &path);
                    scope.spawn(move || open(n, start, path))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        for outcome in outcomes {
            outcome?;
        }
        assert_eq!(options().open(&path)?.all()?.len(), THREADS);
    }
    Ok(())
}

#[test]
fn session_that_expires_while_a_writer_waits_is_not_revived() -> TestResult {
    type Operation = fn(&SqliteStore) -> Result<bool, Error>;
    let operations: [Operation; 3] = [
        |store| store.touch("token", in_an_hour()),
        |store| store.update("token", b"data", &new_data(b"new")),
        |store| store.update("token", b"data", &rotation(b"data", "rotated")),
    ];
    for operation in operations {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("app.db");
        let clock = Arc::new(ManualClock::new(Utc::now()));
        let store = options()
            .with_contention_timeout(Duration::from_secs(60))
            .with_clock(clock.clone())
            .open(&path)?;
        store.commit("token", b"data", clock.now() + TimeDelta::minutes(1))?;
        let mut other = Connection::open(&path)?;
        let transaction = other.transaction_with_behavior(TransactionBehavior::Immediate)?;
        thread::scope(|scope| -> TestResult {
            let waiting = scope.spawn(|| operation(&store));
            // Whether it waits already or begins later: it comes after this.
            clock.advance(TimeDelta::minutes(2));
            assert_eq!(store.find("token")?, None);
            transaction.commit()?;
            assert!(!waiting.join().expect("no panic")?);
            Ok(())
        })?;
        assert!(store.all()?.is_empty());
    }
    Ok(())
}

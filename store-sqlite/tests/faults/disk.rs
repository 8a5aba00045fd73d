//! Files that are full, damaged, missing or no databases.

use std::fs;
use std::sync::{Arc, Mutex};
use std::thread;

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use store_core::Store;
use store_sqlite::{Error, SqliteStore};

use crate::{TIMEOUT, TestResult, cause, in_an_hour, options};

#[test]
fn full_database_is_named_and_loses_nothing() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    // A limit on pages gives the same error as a full disk, and can be lifted.
    let limit = Arc::new(Mutex::new(40));
    let manager = SqliteConnectionManager::file(&path).with_init({
        let limit = Arc::clone(&limit);
        move |connection| {
            let limit = *limit.lock().expect("nobody panics with it");
            connection.pragma_update(None, "max_page_count", limit)
        }
    });
    let pool = Pool::builder().max_size(1).build(manager)?;
    SqliteStore::create_table(&pool)?;
    let store = options().build(pool.clone())?;
    store.commit("before", b"data", in_an_hour())?;
    let refused = store.commit("before", &vec![b'x'; 500_000], in_an_hour());
    match &refused {
        Err(error @ Error::StorageFull { .. }) => assert!(cause(error).contains("full")),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.find("before")?.as_deref(), Some(&b"data"[..]));

    pool.get()?.pragma_update(None, "max_page_count", 100_000)?;
    store.commit("before", &vec![b'x'; 500_000], in_an_hour())?;
    assert_eq!(store.find("before")?.map(|data| data.len()), Some(500_000));
    Ok(())
}

#[test]
fn paths_that_cannot_be_opened_are_unreachable() -> TestResult {
    let directory = tempfile::tempdir()?;
    for path in [directory.path(), &directory.path().join("missing/app.db")] {
        match options().open(path) {
            Err(error @ Error::Unreachable { .. }) => {
                assert!(cause(&error).contains("unable to open"), "{error:?}");
            }
            other => panic!("{}: {other:?}", path.display()),
        }
    }
    Ok(())
}

#[test]
fn pool_that_cannot_connect_is_unreachable_and_not_exhausted() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("later/app.db");
    let pool = Pool::builder()
        .min_idle(Some(0))
        .connection_timeout(TIMEOUT)
        .build_unchecked(SqliteConnectionManager::file(&path));
    let refused = options().build(pool.clone());
    assert!(matches!(refused, Err(Error::Unreachable { .. })), "{refused:?}");
    assert!(refused.is_err_and(|error| error.is_retryable()));

    fs::create_dir(directory.path().join("later"))?;
    let patient = Pool::builder().build(SqliteConnectionManager::file(&path))?;
    SqliteStore::create_table(&patient)?;
    options().build(patient)?.commit("token", b"data", in_an_hour())?;
    Ok(())
}

#[test]
fn file_that_is_no_database_is_corrupt_and_left_alone() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let text = "This is not a database, but it is somebody's file. ".repeat(50);
    fs::write(&path, &text)?;
    match options().open(&path) {
        Err(error @ Error::Corrupt { .. }) => assert!(cause(&error).contains("not a database")),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_to_string(&path)?, text);
    Ok(())
}

#[test]
fn damaged_pages_are_corrupt() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let store = options().open(&path)?;
    for n in 0..200 {
        store.commit(&format!("token-{n}"), &[b'x'; 2_000], in_an_hour())?;
    }
    drop(store);
    let mut bytes = fs::read(&path)?;
    // Everything but the header page and the schema's roots.
    bytes[4 * 4096..].fill(0xa5);
    fs::write(&path, &bytes)?;
    let store = options().open(&path)?;
    let mut damaged = 0;
    for n in 0..200 {
        match store.find(&format!("token-{n}")) {
            Err(Error::Corrupt { .. }) => damaged += 1,
            Ok(Some(data)) => assert_eq!(data, [b'x'; 2_000]),
            Ok(None) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(damaged > 0, "the damage is reported");
    assert!(matches!(store.all(), Err(Error::Corrupt { .. })));
    Ok(())
}

#[test]
fn file_that_is_taken_away_is_not_created_again() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    drop(options().open(&path)?);
    let store = options().open(&path)?;
    store.commit("token", b"data", in_an_hour())?;
    fs::remove_dir_all(directory.path())?;
    let outcomes: Vec<_> = thread::scope(|scope| {
        // More finds than there are connections, so that new ones are opened.
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| store.find("token"))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    for outcome in outcomes {
        match outcome {
            Ok(found) => assert_eq!(found.as_deref(), Some(&b"data"[..])),
            Err(Error::Unreachable { .. } | Error::PoolExhausted { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(!path.exists());
    Ok(())
}

#[test]
fn paths_mean_files() -> TestResult {
    for path in ["", ":memory:"] {
        match options().open(path) {
            Err(Error::InvalidOption { option: "path", problem }) => {
                assert!(problem.contains("in_memory()"), "{problem}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("file:app.db?mode=memory");
    options().open(&path)?.commit("token", b"data", in_an_hour())?;
    assert!(options().open(&path)?.find("token")?.is_some(), "no URI, and no memory");
    Ok(())
}

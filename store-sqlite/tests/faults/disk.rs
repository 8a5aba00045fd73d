//! Files that are full, damaged, missing or no databases.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::Connection;
use store_core::Store;
use store_sqlite::{Error, SqliteStore};

use crate::{CHECKOUT_TIMEOUT, TIMEOUT, TestResult, cause, in_an_hour, options};

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
fn pool_that_cannot_open_another_connection_is_not_exhausted() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    // As if there were no more file descriptors.
    let has_descriptors = Arc::new(AtomicBool::new(true));
    let manager = SqliteConnectionManager::file(&path).with_init({
        let has_descriptors = Arc::clone(&has_descriptors);
        move |_| {
            if has_descriptors.load(Ordering::Relaxed) {
                return Ok(());
            }
            let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
            Err(rusqlite::Error::SqliteFailure(error, None))
        }
    });
    let pool = Pool::builder()
        .max_size(2)
        .min_idle(Some(0))
        .connection_timeout(CHECKOUT_TIMEOUT)
        .build(manager)?;
    SqliteStore::create_table(&pool)?;
    let store = options().build(pool.clone())?;
    let taken = pool.get()?;
    has_descriptors.store(false, Ordering::Relaxed);
    match store.find("token") {
        Err(error @ Error::Unreachable { .. }) => {
            assert!(cause(&error).contains("nable to open"), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
    drop(taken);
    assert_eq!(store.find("token")?, None);
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
            Err(Error::FileReplaced { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    match store.commit("token", b"lost", in_an_hour()) {
        Err(error @ Error::FileReplaced { .. }) => {
            assert!(cause(&error).contains("no file has its name"), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!path.exists());
    Ok(())
}

#[test]
fn file_that_takes_the_place_of_another_is_not_written_to() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (path, backup) = (directory.path().join("app.db"), directory.path().join("backup.db"));
    options().open(&backup)?.commit("old", b"data", in_an_hour())?;
    let store = options().open(&path)?;
    let pool = Pool::builder().max_size(1).build(SqliteConnectionManager::file(&path))?;
    let on_pool = options().build(pool)?;
    let existing = options().open_existing(&path)?;
    store.create("new", b"data", in_an_hour(), None)?;
    on_pool.create("newer", b"data", in_an_hour(), None)?;

    fs::rename(&backup, &path)?;
    for store in [&store, &on_pool, &existing] {
        for outcome in [
            store.commit("new", b"lost", in_an_hour()),
            store.create("lost", b"data", in_an_hour(), None),
            store.delete("new"),
            store.delete_expired().map(drop),
        ] {
            match outcome {
                Err(error @ Error::FileReplaced { .. }) => {
                    assert!(cause(&error).contains("another file has its name"), "{error:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    for store in [&store, &on_pool, &existing] {
        assert!(matches!(store.find("new"), Err(Error::FileReplaced { .. })));
    }
    drop((store, on_pool, existing));

    let store = options().open(&path)?;
    assert_eq!(store.all()?.into_keys().collect::<Vec<_>>(), ["old"]);
    store.commit("new", b"data", in_an_hour())?;
    let verdict: String =
        Connection::open(&path)?.pragma_query_value(None, "integrity_check", |row| row.get(0))?;
    assert_eq!(verdict, "ok");
    Ok(())
}

#[test]
fn log_of_a_replaced_file_is_put_away_by_an_idle_store() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (path, backup) = (directory.path().join("app.db"), directory.path().join("backup.db"));
    options().open(&backup)?.commit("old", b"data", in_an_hour())?;
    let store = options().open(&path)?;
    store.commit("new", b"data", in_an_hour())?;
    assert!(store.find("new")?.is_some());
    let moved = directory.path().join("moved.db");
    fs::rename(&path, &moved)?;
    fs::rename(&backup, &path)?;
    // Nothing is written in between, as if the application were restarted.
    drop(store);
    for (path, token) in [(path, "old"), (moved, "new")] {
        let store = options().open(&path)?;
        assert_eq!(store.all()?.into_keys().collect::<Vec<_>>(), [token]);
    }
    Ok(())
}

/// The way of the guide, after the process was killed.
#[test]
fn backup_may_be_copied_over_a_file_whose_log_was_removed() -> TestResult {
    let directory = tempfile::tempdir()?;
    let in_use = directory.path().join("in-use.db");
    let [path, log, shared_memory, backup] =
        ["app.db", "app.db-wal", "app.db-shm", "copy.db"].map(|name| directory.path().join(name));
    let store = options().open(&in_use)?;
    store.commit("old", b"data", in_an_hour())?;
    Connection::open(&in_use)?.execute("VACUUM INTO ?1", [backup.to_str()])?;
    for n in 0..100 {
        store.commit(&format!("new-{n}"), &[b'x'; 1_000], in_an_hour())?;
    }
    // What a SIGKILL leaves.
    fs::copy(&in_use, &path)?;
    fs::copy(in_use.with_extension("db-wal"), &log)?;
    fs::copy(in_use.with_extension("db-shm"), &shared_memory)?;
    drop(store);

    fs::remove_file(log)?;
    fs::remove_file(shared_memory)?;
    fs::write(&path, fs::read(&backup)?)?;
    let store = options().open(&path)?;
    assert_eq!(store.all()?.into_keys().collect::<Vec<_>>(), ["old"]);
    store.commit("newest", b"data", in_an_hour())?;
    Ok(())
}

#[test]
fn backup_may_be_restored_into_a_database_in_use() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (path, backup) = (directory.path().join("app.db"), directory.path().join("backup.db"));
    options().open(&backup)?.create("old", b"data", in_an_hour(), Some("user"))?;
    let store = options().open(&path)?;
    store.create("new", b"data", in_an_hour(), Some("user"))?;
    // As `.restore` does it.
    Connection::open(&path)?.restore("main", &backup, None::<fn(_)>)?;
    assert_eq!(store.all()?.into_keys().collect::<Vec<_>>(), ["old"]);
    assert_eq!(store.find_by_subject("user")?[0].token, "old");
    store.commit("newer", b"data", in_an_hour())?;
    drop(store);
    assert_eq!(options().open(&path)?.count()?, 2);
    Ok(())
}

#[test]
#[cfg(unix)]
fn new_files_are_their_owners_alone_unless_told_otherwise() -> TestResult {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    let mode = |name: &str| fs::metadata(path(name)).map(|file| file.permissions().mode() & 0o777);
    let own = options().open(path("own.db"))?;
    own.commit("token", b"data", in_an_hour())?;
    for name in ["own.db", "own.db-wal", "own.db-shm"] {
        assert_eq!(mode(name)?, 0o600, "{name}");
    }
    let group = Permissions::from_mode(0o664);
    let shared = options().with_file_permissions(group).open(path("group.db"))?;
    shared.commit("token", b"data", in_an_hour())?;
    for name in ["group.db", "group.db-wal"] {
        assert_eq!(mode(name)?, 0o664, "{name}");
    }
    fs::write(path("old.db"), "")?;
    fs::set_permissions(path("old.db"), Permissions::from_mode(0o644))?;
    drop(options().open(path("old.db"))?);
    assert_eq!(mode("old.db")?, 0o644);
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

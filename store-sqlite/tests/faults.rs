//! Clause 27: each trouble gives an error that names it and keeps its cause, nothing hangs or is
//! lost, and when the trouble is over the same store works again.

use std::error::Error as StdError;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, TransactionBehavior};
use store_core::{Change, CleanupOptions, Clock, Loaded, ManualClock, Rotation, Store};
use store_sqlite::{Error, SqliteOptions, SqliteStore};

type TestResult = Result<(), Box<dyn StdError>>;

/// Short, because these tests wait for it.
const TIMEOUT: Duration = Duration::from_millis(50);

/// Opening a file takes a moment on a busy machine.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

fn options() -> SqliteOptions {
    SqliteOptions::new()
        .with_cleanup(CleanupOptions::disabled())
        .with_contention_timeout(TIMEOUT)
        .with_checkout_timeout(CONNECTION_TIMEOUT)
}

/// A change of data alone.
fn new_data(data: &[u8]) -> Change<'_> {
    Change::new(data, in_an_hour())
}

/// A rotation that leaves the data as they are.
fn rotation<'a>(data: &'a [u8], new_token: &'a str) -> Change<'a> {
    new_data(data).with_rotation(Rotation::new(new_token))
}

/// The driver's words must be kept.
fn cause(error: &Error) -> String {
    error.source().expect("the cause is kept").to_string()
}

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
fn table_dropped_meanwhile_is_named_and_works_when_it_is_back() -> TestResult {
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
fn table_beside_it_dropped_meanwhile_is_named_and_works_when_it_is_back() -> TestResult {
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
fn wrong_table_beside_it_is_found_at_construction() -> TestResult {
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
fn what_fails_in_the_index_of_subjects_leaves_the_sessions_as_they_were() -> TestResult {
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
fn file_that_is_taken_away_is_not_begun_anew() -> TestResult {
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

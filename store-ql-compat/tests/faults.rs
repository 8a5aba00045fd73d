//! Clause 29: each trouble gives an error that names it and keeps its cause, nothing hangs or is lost, and
//! when the trouble is over the same store works again. Faults of the disk are in the crate's own tests.

use std::error::Error as StdError;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{Change, CleanupOptions, Clock, Limits, Loaded, ManualClock, Rotation, Store};
use store_ql_compat::redb::{
    Database, MultimapTableDefinition, ReadableDatabase, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};
use store_ql_compat::{Durability, Error, QlOptions, QlStore};

type TestResult = Result<(), Box<dyn StdError>>;

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

fn options() -> QlOptions {
    QlOptions::new()
        .with_cleanup(CleanupOptions::disabled())
        .with_contention_timeout(Duration::from_millis(50))
}

/// What redb or the operating system said must be kept.
fn causes(error: &Error) -> String {
    let mut causes = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes = format!("{causes}: {error}");
        cause = error.source();
    }
    assert!(!causes.is_empty(), "the cause is kept: {error:?}");
    causes
}

#[test]
fn second_opener_is_refused_and_gets_the_file_when_the_first_is_gone() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.redb");
    let first = options().open(&path)?;
    first.commit("token", b"data", in_an_hour())?;
    match options().open(&path) {
        Err(error @ Error::InUse { .. }) => {
            assert!(error.to_string().contains("open already"), "{error}");
            assert!(error.is_retryable());
        }
        other => panic!("{other:?}"),
    }
    assert!(first.find("token")?.is_some(), "the first isn't disturbed");
    drop(first);
    assert!(options().open(&path)?.find("token")?.is_some());
    Ok(())
}

#[test]
fn files_of_others_are_named_and_left_alone() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.redb");
    let ql = |name: &str| {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name))
    };
    for (content, named) in [
        (ql("v1-small.db")?, "import_ql"),
        (ql("v2-small.db")?, "import_ql"),
        (b"SQLite format 3\0 and so on".to_vec(), "SQLite"),
        (b"somebody's text".to_vec(), "no database of redb"),
        (b"redb".to_vec(), "no database of redb"),
        (vec![0; 100_000], "no database of redb"),
    ] {
        fs::write(&path, &content)?;
        match options().open(&path) {
            Err(error @ Error::Corrupt { .. }) => {
                assert!(causes(&error).contains(named), "{}", causes(&error));
            }
            other => panic!("{named}: {other:?}"),
        }
        assert!(fs::read(&path)? == content, "{named}: it was changed");
    }
    let entries = fs::read_dir(directory.path())?.count();
    assert_eq!(entries, 1, "nothing is left beside it");
    Ok(())
}

#[test]
fn paths_that_cannot_be_opened_are_unreachable() -> TestResult {
    let directory = tempfile::tempdir()?;
    for path in [directory.path(), &directory.path().join("missing/sessions.redb")] {
        match options().open(path) {
            Err(error @ Error::Unreachable { .. }) => drop(causes(&error)),
            other => panic!("{}: {other:?}", path.display()),
        }
    }
    for path in ["", ":memory:"] {
        match options().open(path) {
            Err(Error::InvalidOption { option: "path", problem }) => {
                assert!(problem.contains("in_memory()"), "{problem}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_named_and_not_waited_for() -> TestResult {
    let directory = tempfile::tempdir()?;
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
    for path in [&*pipe, Path::new("/dev/null")] {
        match options().open(path) {
            Err(error @ Error::Corrupt { .. }) => assert!(causes(&error).contains("pipe")),
            other => panic!("{}: {other:?}", path.display()),
        }
    }
    Ok(())
}

#[test]
fn compaction_that_a_savepoint_forbids_breaks_nothing() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.redb");
    let theirs = Database::create(&path)?;
    let transaction = theirs.begin_write()?;
    transaction.persistent_savepoint()?;
    transaction.commit()?;
    drop(theirs);
    // The walk has to read on while it goes.
    let store = options().with_cache_size(0).open(&path)?;
    for n in 0..100 {
        store.commit(&format!("token-{n}"), &[b'x'; 1_000], in_an_hour())?;
    }
    let mut seen = 0;
    store.for_each(&mut |_| {
        let refused = store.compact();
        assert!(matches!(refused, Err(Error::Backend { .. })), "{refused:?}");
        assert!(store.find("token-1").is_ok_and(|found| found.is_some()));
        seen += 1;
        ControlFlow::Continue(())
    })?;
    assert_eq!(seen, 100);
    Ok(())
}

#[cfg(unix)]
#[test]
fn files_without_permission_are_named() -> TestResult {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.redb");
    drop(options().open(&path)?);
    let permit = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode));
    permit(0o444)?;
    if fs::OpenOptions::new().write(true).open(&path).is_ok() {
        // Root may do everything, so there is nothing to see.
        return Ok(());
    }
    let refused = options().open(&path);
    assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
    permit(0)?;
    let refused = options().open(&path);
    assert!(matches!(refused, Err(Error::Unreachable { .. })), "{refused:?}");
    permit(0o600)?;
    options().open(&path)?.commit("token", b"data", in_an_hour())?;
    Ok(())
}

#[test]
fn empty_file_and_database_of_others_get_the_tables() -> TestResult {
    const THEIRS: TableDefinition<'_, u64, u64> = TableDefinition::new("theirs");
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.redb");
    fs::write(&path, b"")?;
    options().open(&path)?.commit("token", b"data", in_an_hour())?;

    let path = directory.path().join("app.redb");
    let theirs = Database::create(&path)?;
    let transaction = theirs.begin_write()?;
    transaction.open_table(THEIRS)?.insert(1, 2)?;
    transaction.commit()?;
    drop(theirs);
    options().open(&path)?.commit("token", b"data", in_an_hour())?;

    let database = Arc::new(Database::open(&path)?);
    let store = options().build(Arc::clone(&database))?;
    assert!(store.find("token")?.is_some(), "the same tables, shared or not");
    let row = database.begin_read()?.open_table(THEIRS)?.get(1)?;
    assert_eq!(row.map(|row| row.value()), Some(2));
    match store.compact() {
        Err(error @ Error::Backend { .. }) => {
            assert!(causes(&error).contains("application"), "{}", causes(&error));
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

/// An empty file that somebody has made is replaced by a whole database: what would be written into
/// it by and by could never be opened again after a crash in between.
#[cfg(unix)]
#[test]
fn empty_file_keeps_its_name_its_permissions_and_links_to_it() -> TestResult {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let directory = tempfile::tempdir()?;
    let (path, link) = (directory.path().join("sessions.redb"), directory.path().join("link"));
    fs::write(&path, b"")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640))?;
    symlink(&path, &link)?;
    // Somebody else who makes the database at this moment.
    let other = fs::OpenOptions::new().write(true).open(&path)?;
    other.lock()?;
    let refused = options().open(&link);
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    drop(other);

    options().open(&link)?.commit("token", b"data", in_an_hour())?;
    assert!(fs::symlink_metadata(&link)?.is_symlink());
    assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(directory.path())?.count(), 2, "nothing is left beside it");
    assert!(options().open(&path)?.find("token")?.is_some());
    Ok(())
}

#[test]
fn tables_of_others_and_newer_formats_are_refused_and_left_alone() -> TestResult {
    const BYTES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("sessions");
    const NUMBERS: TableDefinition<'_, u64, u64> = TableDefinition::new("sessions_expiry");
    const MULTIMAP: MultimapTableDefinition<'_, u64, u64> =
        MultimapTableDefinition::new("sessions_subject");
    const ROTATIONS: TableDefinition<'_, u64, u64> = TableDefinition::new("sessions_rotation");
    const META: TableDefinition<'_, &[u8], u64> = TableDefinition::new("sessions_meta");
    let refused = |make: &dyn Fn(&WriteTransaction) -> TestResult, named: &str| -> TestResult {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("app.redb");
        let database = Database::create(&path)?;
        let transaction = database.begin_write()?;
        make(&transaction)?;
        transaction.commit()?;
        let database = Arc::new(database);
        let tables = || -> Result<usize, Box<dyn StdError>> {
            let snapshot = database.begin_read()?;
            Ok(snapshot.list_tables()?.count() + snapshot.list_multimap_tables()?.count())
        };
        let before = tables()?;
        match options().build(Arc::clone(&database)) {
            Err(Error::TableMismatch { problem, .. }) => {
                assert!(problem.contains(named), "{problem}");
            }
            other => panic!("{named}: {other:?}"),
        }
        assert_eq!(tables()?, before, "{named}");
        options().with_table_name("web").build(database)?.commit("token", b"data", in_an_hour())?;
        Ok(())
    };
    let of_another = "another table name";
    refused(&|write| write.open_table(BYTES).map(drop).map_err(Into::into), of_another)?;
    refused(&|write| write.open_table(NUMBERS).map(drop).map_err(Into::into), of_another)?;
    let make_multimap = |write: &WriteTransaction| -> TestResult {
        write.open_multimap_table(MULTIMAP)?;
        Ok(())
    };
    refused(&make_multimap, of_another)?;
    refused(&|write| write.open_table(ROTATIONS).map(drop).map_err(Into::into), of_another)?;
    refused(
        &|write| {
            write.open_table(META)?.insert(&b"format"[..], 7)?;
            Ok(())
        },
        "format 7",
    )?;
    Ok(())
}

#[test]
fn file_that_is_taken_away_is_not_begun_anew() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.redb");
    let store = options().open(&path)?;
    store.commit("token", b"data", in_an_hour())?;
    fs::remove_file(&path)?;
    // The open file goes on as it is; what matters is that no other one appears.
    assert!(store.find("token")?.is_some());
    store.commit("token", b"new", in_an_hour())?;
    drop(store);
    assert!(!path.exists());
    Ok(())
}

#[test]
fn one_new_file_is_made_once() -> TestResult {
    const THREADS: usize = 8;
    for _ in 0..5 {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("sessions.redb");
        let start = Barrier::new(THREADS);
        let opened = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        match options().open(&path) {
                            Ok(store) => {
                                // Each that had its turn finds what those before it have written.
                                let count = store.all().map(|sessions| sessions.len());
                                let count = count.expect("all succeeds");
                                let token = format!("token-{count}");
                                store.commit(&token, b"data", in_an_hour()).expect("it succeeds");
                                1
                            }
                            Err(Error::InUse { .. }) => 0,
                            Err(other) => panic!("{other:?}"),
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<usize>()
        });
        assert!(opened > 0);
        assert_eq!(options().open(&path)?.all()?.len(), opened, "nobody's file was replaced");
        assert_eq!(fs::read_dir(directory.path())?.count(), 1, "nothing is left beside it");
    }
    Ok(())
}

#[test]
fn walk_sees_its_snapshot_and_keeps_the_file_from_being_compacted() -> TestResult {
    let directory = tempfile::tempdir()?;
    let store = options().open(directory.path().join("sessions.redb"))?;
    for n in 0..100 {
        store.commit(&format!("token-{n}"), b"data", in_an_hour())?;
    }
    let mut seen = 0;
    store.for_each(&mut |record| {
        seen += 1;
        assert_eq!(record.data, b"data");
        let refused = store.compact();
        assert!(matches!(refused, Err(Error::Contended { .. })), "{refused:?}");
        for n in 0..100 {
            store.delete(&format!("token-{n}")).expect("delete succeeds");
        }
        ControlFlow::Continue(())
    })?;
    assert_eq!(seen, 100);
    store.compact()?;
    assert!(store.all()?.is_empty());
    Ok(())
}

#[test]
fn requests_wait_for_a_compaction_and_nothing_is_lost() -> TestResult {
    const THREADS: usize = 4;
    let directory = tempfile::tempdir()?;
    let store = options()
        .with_contention_timeout(Duration::from_secs(60))
        .open(directory.path().join("sessions.redb"))?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|i| {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..60 {
                        let token = format!("{i}-{n}");
                        store.commit(&token, token.as_bytes(), in_an_hour()).expect("it succeeds");
                        let found = store.find(&token).expect("it succeeds");
                        assert_eq!(found.as_deref(), Some(token.as_bytes()));
                        if n % 2 == 0 {
                            store.delete(&token).expect("it succeeds");
                        }
                    }
                })
            })
            .collect();
        while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
            store.compact().expect("it succeeds");
        }
    });
    assert_eq!(store.all()?.len(), THREADS * 30);
    Ok(())
}

#[test]
fn panic_of_a_visitor_is_its_own() -> TestResult {
    let store = options().in_memory()?;
    store.commit("token", b"data", in_an_hour())?;
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.for_each(&mut |_| panic!("the visitor's"))
    }));
    assert!(panicked.is_err());
    store.commit("token", b"new", in_an_hour())?;
    assert_eq!(store.find("token")?.as_deref(), Some(&b"new"[..]));
    Ok(())
}

#[test]
fn session_that_expires_while_a_writer_waits_is_not_revived() -> TestResult {
    type Operation = fn(&QlStore) -> Result<bool, Error>;
    let operations: [Operation; 3] = [
        |store| store.touch("token", in_an_hour()),
        |store| store.update("token", b"data", &Change::new(b"new", in_an_hour())),
        |store| {
            let change = Change::new(b"data", in_an_hour());
            store.update("token", b"data", &change.with_rotation(Rotation::new("rotated")))
        },
    ];
    for operation in operations {
        let directory = tempfile::tempdir()?;
        let database = Arc::new(Database::create(directory.path().join("app.redb"))?);
        let clock = Arc::new(ManualClock::new(Utc::now()));
        let store = options().with_clock(clock.clone()).build(Arc::clone(&database))?;
        store.commit("token", b"data", clock.now() + TimeDelta::minutes(1))?;
        let theirs = database.begin_write()?;
        thread::scope(|scope| -> TestResult {
            let waiting = scope.spawn(|| operation(&store));
            // Whether it waits already or begins later: it comes after this.
            clock.advance(TimeDelta::minutes(2));
            assert_eq!(store.find("token")?, None);
            theirs.abort()?;
            assert!(!waiting.join().expect("no panic")?);
            Ok(())
        })?;
        assert!(store.all()?.is_empty());
    }
    Ok(())
}

#[test]
fn walk_shows_sessions_whose_expiry_is_moved_meanwhile() -> TestResult {
    let clock = Arc::new(ManualClock::new(Utc::now()));
    let store = options().with_clock(clock.clone()).in_memory()?;
    let in_minutes = |minutes| clock.now() + TimeDelta::minutes(minutes);
    for token in ["a", "b", "c"] {
        store.commit(token, b"data", in_minutes(1))?;
    }
    let mut seen = Vec::new();
    store.for_each(&mut |record| {
        if seen.is_empty() {
            for token in ["a", "b", "c"] {
                assert!(store.touch(token, in_minutes(10)).is_ok_and(|is_live| is_live));
            }
            clock.advance(TimeDelta::minutes(2));
        }
        seen.push(record.token.to_owned());
        ControlFlow::Continue(())
    })?;
    assert_eq!(seen, ["a", "b", "c"]);
    Ok(())
}

#[test]
fn session_committed_over_an_expired_one_has_no_subject() -> TestResult {
    let store = options().in_memory()?;
    store.create("token", b"data", in_an_hour(), Some("somebody"))?;
    assert!(store.touch("token", Utc::now() - TimeDelta::hours(1))?);
    store.commit("token", b"somebody else's", in_an_hour())?;
    assert!(store.find_by_subject("somebody")?.is_empty());
    Ok(())
}

#[test]
fn subject_that_is_too_long_is_not_taken_for_its_beginning() -> TestResult {
    let store = options().in_memory()?;
    let longest = "s".repeat(255);
    store.create("of a subject", b"data", in_an_hour(), Some(&longest))?;
    store.commit("subject", b"data", in_an_hour())?;
    let longer = longest + "of a ";
    assert!(store.find_by_subject(&longer)?.is_empty());
    assert_eq!(store.delete_by_subject(&longer, None)?, 0);
    assert!(store.find("subject")?.is_some());
    Ok(())
}

#[test]
fn expiries_are_kept_to_the_nanosecond() -> TestResult {
    let store = options().in_memory()?;
    for expiry in [
        DateTime::<Utc>::MAX_UTC,
        "2261-12-31T23:59:60.999999999Z".parse()?,
        "9999-12-31T23:59:59.123456789Z".parse()?,
    ] {
        store.commit("token", b"data", expiry)?;
        assert_eq!(store.load("token")?, Loaded::Live { data: b"data".to_vec(), expiry });
    }
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    for (options, what) in [
        (
            options().with_limits(Limits { max_data_len: (1 << 30) + 1, ..Limits::DEFAULT }),
            "data limit",
        ),
        (options().with_limits(Limits { max_token_len: 0, ..Limits::DEFAULT }), "token limit"),
        (options().with_limits(Limits { max_token_len: 5_000, ..Limits::DEFAULT }), "long tokens"),
        (options().with_contention_timeout(Duration::MAX), "endless contention timeout"),
        (options().with_durability(Durability::Relaxed(Duration::ZERO)), "no interval"),
        (options().with_durability(Durability::Relaxed(Duration::MAX)), "endless interval"),
        (options().with_table_name("a b"), "table name"),
    ] {
        let refused = options.in_memory();
        assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{what}: {refused:?}");
    }
}

/// What is in use of a file: redb makes its length a power of two, and what was never written takes no place.
#[cfg(unix)]
fn bytes_on_disk(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;

    fs::metadata(path).map(|file| file.blocks() * 512).expect("the file is there")
}

#[cfg(unix)]
#[test]
#[ignore = "a million durable commits take minutes"]
fn rolling_load_keeps_the_file_within_three_times_the_live_data() -> TestResult {
    const SESSIONS: i64 = 1_000_000;
    const LIVE: i64 = 100_000;
    const STEP: i64 = 10_000;
    const WRITERS: i64 = 32;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.redb");
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let store = QlOptions::new()
        .with_cleanup(CleanupOptions::disabled())
        .with_clock(clock.clone())
        .open(&path)?;
    for step in 0..SESSIONS / STEP {
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let store = &store;
                scope.spawn(move || {
                    for n in (step * STEP + writer..(step + 1) * STEP).step_by(32) {
                        // Scattered, as the hashes of tokens are.
                        let token = format!(
                            "{:043}",
                            n.wrapping_mul(0x5851_F42D_4C95_7F2D).cast_unsigned()
                        );
                        let expiry = DateTime::UNIX_EPOCH + TimeDelta::seconds(n + LIVE);
                        store.commit(&token, &[b'x'; 256], expiry).expect("it succeeds");
                    }
                });
            }
        });
        clock.advance(TimeDelta::seconds(STEP));
        store.delete_expired()?;
        if step * STEP >= LIVE {
            let mut live = 0;
            store.for_each(&mut |record| {
                live += 2 * (record.token.len() as u64 + 12) + record.data.len() as u64;
                ControlFlow::Continue(())
            })?;
            let on_disk = bytes_on_disk(&path);
            assert!(on_disk <= 3 * live, "{on_disk} bytes for {live} after {step} steps");
        }
    }
    Ok(())
}

#[test]
fn file_of_a_steady_load_is_steady() -> TestResult {
    const LIVE: i64 = 500;
    const WRITERS: usize = 8;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.redb");
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let store = options()
        .with_clock(clock.clone())
        .with_contention_timeout(Duration::from_secs(60))
        .open(&path)?;
    let mut lengths = Vec::new();
    for round in 0..10 {
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let store = &store;
                scope.spawn(move || {
                    for n in (round * LIVE..(round + 1) * LIVE).skip(writer).step_by(WRITERS) {
                        let expiry = DateTime::UNIX_EPOCH + TimeDelta::seconds(n + LIVE);
                        let token = format!("token-{n}");
                        store.commit(&token, &[b'x'; 8_000], expiry).expect("it succeeds");
                    }
                });
            }
        });
        clock.advance(TimeDelta::seconds(LIVE));
        store.delete_expired()?;
        lengths.push(fs::metadata(&path)?.len());
    }
    assert!(lengths[9] <= lengths[2], "it grows: {lengths:?}");
    Ok(())
}

#[test]
fn file_is_cut_by_compact_after_a_peak() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.redb");
    let store = options().open(&path)?;
    for n in 0..30 {
        store.commit(&format!("live-{n}"), &[b'x'; 1_000], in_an_hour())?;
        store.commit(&format!("peak-{n}"), &vec![b'x'; 1 << 20], Utc::now())?;
    }
    let before = fs::metadata(&path)?.len();
    assert!(before > 30 << 20);
    store.delete_expired()?;
    assert!(store.compact()?);
    let after = fs::metadata(&path)?.len();
    assert!(after < 4 << 20, "{before} bytes became {after}");
    assert_eq!(store.all()?.len(), 30);
    Ok(())
}

#[test]
fn compact_keeps_tables_of_others() -> TestResult {
    const THEIRS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("theirs");
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.redb");
    let theirs = Database::create(&path)?;
    let transaction = theirs.begin_write()?;
    {
        let mut table = transaction.open_table(THEIRS)?;
        for n in 0..100 {
            table.insert(n, vec![b'x'; 100_000].as_slice())?;
        }
    }
    transaction.commit()?;
    let transaction = theirs.begin_write()?;
    transaction.open_table(THEIRS)?.retain(|n, _| n % 10 == 9)?;
    transaction.commit()?;
    drop(theirs);

    let store = options().open(&path)?;
    let before = fs::metadata(&path)?.len();
    assert!(store.compact()?);
    assert!(fs::metadata(&path)?.len() < before, "it was mostly free");
    drop(store);
    let theirs = Database::open(&path)?;
    let table = theirs.begin_read()?.open_table(THEIRS)?;
    assert_eq!(table.len()?, 10);
    Ok(())
}

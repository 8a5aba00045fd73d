//! How large the file becomes, and compaction.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{CleanupOptions, ManualClock, Store};
use store_ql_compat::redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use store_ql_compat::{Error, QlOptions};

use crate::{TestResult, in_an_hour, options};

#[test]
fn compaction_that_a_savepoint_forbids_breaks_nothing() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.redb");
    let theirs = Database::create(&path)?;
    let transaction = theirs.begin_write()?;
    transaction.persistent_savepoint()?;
    transaction.commit()?;
    drop(theirs);
    // Without a cache, the walk reads the file as it goes.
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

/// How much of a file takes up space: redb allocates its length ahead, and what was never written
/// takes none.
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

//! Disks that are full, fail, lose what wasn't synced, or flip bits: no session whose commit had
//! returned is lost, and the same store works on once the disk does.

mod disk;

mod relaxed;

mod updates;

mod damage;

mod groups;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use redb::{Builder, Database};
use store_core::backend::{OpenStore, TableName};
use store_core::{CleanupOptions, Error, Store};

use self::disk::{Disk, FailedSync, Opening, open_disk};
use super::tables::Tables;
use super::watched::SyncFailure;
use super::{QlOptions, QlStore};

/// How long a store may take to come back once its disk works again.
const PATIENCE: Duration = Duration::from_secs(60);

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

fn options() -> QlOptions {
    QlOptions::new().with_cleanup(CleanupOptions::disabled())
}

fn open(disk: &Arc<Disk>, options: QlOptions) -> Result<QlStore, Error> {
    let mut builder = Builder::new();
    builder.set_cache_size(1 << 20);
    let failure = SyncFailure::default();
    let database = open_disk(disk, Opening::First, &failure, &builder)?;
    let disk = Arc::clone(disk);
    let reopen =
        move |builder: &Builder| open_disk(&disk, Opening::AfterAnError, &failure, builder);
    let tables = Tables::new(&TableName::new("sessions")?);
    options.build_reopenable(OpenStore::new()?, tables, database, reopen)
}

/// Asks until the store answers again.
fn when_repaired<T>(mut ask: impl FnMut() -> Result<T, Error>) -> T {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "it doesn't come back: {error:?}"),
        }
        thread::yield_now();
    }
}

/// What must be in the store, and what may be there or not, because its write gave an error.
#[derive(Default)]
struct Expected {
    sessions: HashMap<String, Option<Vec<u8>>>,
    unsure: HashMap<String, Vec<Option<Vec<u8>>>>,
}

impl Expected {
    fn wrote(&mut self, token: &str, data: Option<Vec<u8>>, outcome: &Result<(), Error>) {
        if outcome.is_ok() {
            self.sessions.insert(token.to_owned(), data);
            self.unsure.remove(token);
        } else {
            self.unsure.entry(token.to_owned()).or_default().push(data);
        }
    }

    fn check(&self, store: &QlStore, what: &str) {
        for (token, data) in &self.sessions {
            let found = when_repaired(|| store.find(token));
            let may_be = self.unsure.get(token).is_some_and(|unsure| unsure.contains(&found));
            assert!(found == *data || may_be, "{what}: a session is lost or revived");
        }
    }
}

/// Commits and deletes at random.
fn write_at_random(
    store: &QlStore,
    expected: &mut Expected,
    count: usize,
    random: &mut impl FnMut() -> u64,
) -> Option<Error> {
    let mut first = None;
    for _ in 0..count {
        let token = format!("token-{}", random() % 20);
        let (data, outcome) = if random().is_multiple_of(3) {
            (None, store.delete(&token))
        } else {
            let size = if random().is_multiple_of(8) { 20_000 } else { 200 };
            let data = format!("{}-", random()).into_bytes().repeat(size / 20);
            let outcome = store.commit(&token, &data, in_an_hour());
            (Some(data), outcome)
        };
        expected.wrote(&token, data, &outcome);
        first = first.or(outcome.err());
    }
    first
}

/// A small generator, so that a failing round can be run again.
fn random_numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 29)
    }
}

#[test]
fn full_disk_is_named_and_readers_go_on() -> Result<(), Error> {
    let disk = Disk::new();
    let store = open(&disk, options())?;
    store.commit("before", b"data", in_an_hour())?;
    let len = disk.bytes().len() as u64;
    disk.capacity.store(len, Ordering::Relaxed);
    let mut refused = 0;
    for n in 0..200 {
        match store.commit(&format!("token-{n}"), &vec![b'x'; 100_000], in_an_hour()) {
            Ok(()) => {}
            Err(Error::StorageFull { source }) => {
                assert!(source.to_string().contains("space"), "{source}");
                refused += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(when_repaired(|| store.find("before")).as_deref(), Some(&b"data"[..]));
    }
    assert!(refused > 0);
    store.delete("before")?;
    disk.capacity.store(u64::MAX, Ordering::Relaxed);
    when_repaired(|| store.commit("after", &vec![b'x'; 100_000], in_an_hour()));
    assert_eq!(store.find("before")?, None);
    Ok(())
}

#[test]
fn readers_of_a_full_disk_get_no_errors_while_writers_are_refused() -> Result<(), Error> {
    const READERS: usize = 8;
    let disk = Disk::new();
    let store = open(&disk, options())?;
    for n in 0..200 {
        store.commit(&format!("token-{n}"), &[b'x'; 300], in_an_hour())?;
    }
    let len = disk.bytes().len() as u64;
    disk.capacity.store(len, Ordering::Relaxed);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let found = store.find("token-7");
                    assert!(matches!(found, Ok(Some(_))), "{found:?}");
                }
            });
        }
        let data = vec![b'x'; 5_000_000];
        for _ in 0..300 {
            let refused = store.commit("new", &data, in_an_hour());
            assert!(matches!(refused, Err(Error::StorageFull { .. })), "{refused:?}");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    Ok(())
}

#[test]
fn disk_that_fails_at_any_write_loses_nothing_and_the_same_store_goes_on() -> Result<(), Error> {
    for writes in 0..120 {
        let mut random = random_numbers(writes);
        let failed_sync = FailedSync::ALL[usize::try_from(writes % 3).expect("small")];
        let disk = Disk::with_failed_sync(failed_sync);
        let store = open(&disk, options())?;
        let mut expected = Expected::default();
        assert!(write_at_random(&store, &mut expected, 20, &mut random).is_none());
        disk.fail_after(Some(writes));
        let failed = write_at_random(&store, &mut expected, 20, &mut random);
        disk.fail_after(None);
        expected.check(&store, &format!("after {writes} writes"));
        let again = when_repaired(|| Ok(write_at_random(&store, &mut expected, 5, &mut random)));
        assert!(again.is_none(), "{again:?}");
        expected.check(&store, "later");
        if let Some(failed) = failed {
            assert!(matches!(failed, Error::StorageFull { .. }), "{failed:?}");
        }
        drop(store);
        expected.check(&open(&disk, options())?, "opened again");
        expected.check(&open(&disk.after_shutdown(), options())?, "mounted again");
    }
    Ok(())
}

/// What an opened file's sync has failed to write may never reach the disk, though it can be read
/// and later syncs succeed.
#[test]
fn commits_after_a_failed_sync_are_on_the_disk() -> Result<(), Error> {
    for (syncs, failed_sync) in rounds_of_failed_syncs() {
        let what = format!("{failed_sync:?} after {syncs} syncs");
        let mut random = random_numbers(syncs);
        let disk = Disk::with_failed_sync(failed_sync);
        let store = open(&disk, options())?;
        let mut expected = Expected::default();
        assert!(write_at_random(&store, &mut expected, 20, &mut random).is_none());
        disk.only_syncs_fail.store(true, Ordering::Relaxed);
        disk.fail_after(Some(syncs));
        let failed = write_at_random(&store, &mut expected, 12, &mut random);
        assert!(matches!(failed, Some(Error::StorageFull { .. })), "{what}: {failed:?}");
        disk.fail_after(None);
        expected.check(&store, &what);
        let again = when_repaired(|| Ok(write_at_random(&store, &mut expected, 20, &mut random)));
        assert!(again.is_none(), "{what}: {again:?}");
        let crashed = disk.after_power_loss(&mut random);
        expected.check(&open(&crashed, options())?, &format!("{what}, crashed"));
        drop(store);
        expected
            .check(&open(&disk.after_shutdown(), options())?, &format!("{what}, mounted again"));
    }
    Ok(())
}

/// A replacement that fails at any step is repeated, and at no moment the disk lacks a commit.
#[test]
fn replacement_that_fails_at_any_step_loses_nothing() -> Result<(), Error> {
    for steps in 0.. {
        let failed_sync = FailedSync::ALL[usize::try_from(steps % 3).expect("small")];
        let what = format!("{failed_sync:?} after {steps} steps");
        let mut random = random_numbers(steps);
        let disk = Disk::with_failed_sync(failed_sync);
        let store = open(&disk, options())?;
        let mut expected = Expected::default();
        assert!(write_at_random(&store, &mut expected, 10, &mut random).is_none());
        disk.only_syncs_fail.store(true, Ordering::Relaxed);
        disk.fail_after(Some(0));
        assert!(write_at_random(&store, &mut expected, 1, &mut random).is_some(), "{what}");
        disk.only_syncs_fail.store(false, Ordering::Relaxed);
        disk.fail_after(Some(steps));
        let replaced = store.count();
        for _ in 0..3 {
            let crashed = disk.after_power_loss(&mut random);
            expected.check(&open(&crashed, options())?, &format!("{what}, crashed"));
        }
        disk.fail_after(None);
        expected.check(&store, &what);
        let again = write_at_random(&store, &mut expected, 10, &mut random);
        assert!(again.is_none(), "{what}: {again:?}");
        drop(store);
        expected.check(&open(&disk.after_shutdown(), options())?, &format!("{what}, mounted"));
        if replaced.is_ok() {
            assert!(steps > 10, "after {steps} steps, none has failed");
            break;
        }
    }
    Ok(())
}

/// The system goes on when the process is killed, and so does its cache.
#[test]
fn process_killed_after_a_failed_sync_leaves_the_next_one_a_file_to_replace() -> Result<(), Error> {
    for (syncs, failed_sync) in rounds_of_failed_syncs() {
        let what = format!("{failed_sync:?} after {syncs} syncs");
        let mut random = random_numbers(syncs);
        let disk = Disk::with_failed_sync(failed_sync);
        let killed = open(&disk, options())?;
        let mut expected = Expected::default();
        assert!(write_at_random(&killed, &mut expected, 20, &mut random).is_none());
        disk.only_syncs_fail.store(true, Ordering::Relaxed);
        disk.fail_after(Some(syncs));
        write_at_random(
            &killed,
            &mut expected,
            usize::try_from(syncs).expect("small") + 1,
            &mut random,
        );
        std::mem::forget(killed);
        disk.after_kill();
        disk.fail_after(None);
        let store = open(&disk, options())?;
        expected.check(&store, &what);
        assert!(write_at_random(&store, &mut expected, 20, &mut random).is_none());
        drop(store);
        expected
            .check(&open(&disk.after_shutdown(), options())?, &format!("{what}, mounted again"));
    }
    Ok(())
}

/// After how many syncs they fail, and how.
fn rounds_of_failed_syncs() -> impl Iterator<Item = (u64, FailedSync)> {
    (0..8).flat_map(|syncs| FailedSync::ALL.map(|failed_sync| (syncs, failed_sync)))
}

#[test]
fn loss_of_power_at_any_moment_loses_no_commit_that_had_returned() -> Result<(), Error> {
    for seed in 0..150 {
        let mut random = random_numbers(seed);
        let disk = Disk::new();
        let store = open(&disk, options())?;
        let mut expected = Expected::default();
        write_at_random(&store, &mut expected, 10, &mut random);
        // The disk stops in the middle of something.
        disk.fail_after(Some(random() % 60));
        write_at_random(&store, &mut expected, 10, &mut random);
        let later = disk.after_power_loss(&mut random);
        let store = open(&later, options())?;
        expected.check(&store, &format!("seed {seed}"));
        store.commit("after", b"data", in_an_hour())?;
    }
    Ok(())
}

#[test]
fn writers_that_share_a_failing_transaction_each_get_an_error_and_lose_nothing() -> Result<(), Error>
{
    const THREADS: usize = 8;
    for writes in [0, 1, 3, 7, 20, 50] {
        let disk = Disk::new();
        let store = open(&disk, options())?;
        disk.fail_after(Some(writes));
        let committed: Vec<String> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|i| {
                    let store = &store;
                    scope.spawn(move || {
                        let tokens = (0..20).map(|n| format!("{i}-{n}"));
                        tokens
                            .filter(|token| {
                                store.commit(token, token.as_bytes(), in_an_hour()).is_ok()
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            let committed = threads.into_iter().map(|thread| thread.join().expect("no panic"));
            committed.flatten().collect()
        });
        disk.fail_after(None);
        for token in committed {
            let found = when_repaired(|| store.find(&token));
            assert_eq!(found.as_deref(), Some(token.as_bytes()), "after {writes} writes");
        }
    }
    Ok(())
}

/// Opens the database as an application does.
fn open_alone(disk: &Arc<Disk>) -> Result<Database, Error> {
    open_disk(disk, Opening::First, &SyncFailure::default(), &Builder::new())
}

#[test]
fn shared_database_that_failed_is_the_applications_to_open_again() -> Result<(), Error> {
    let disk = Disk::new();
    let database = Arc::new(open_alone(&disk)?);
    let store = options().build(Arc::clone(&database))?;
    store.commit("token", b"data", in_an_hour())?;
    disk.fail_after(Some(0));
    let failed = store.commit("token", b"new", in_an_hour());
    assert!(matches!(failed, Err(Error::StorageFull { .. })), "{failed:?}");
    disk.fail_after(None);
    match store.commit("token", b"new", in_an_hour()) {
        Err(error @ Error::Backend { .. }) => assert!(!error.is_retryable()),
        other => panic!("{other:?}"),
    }
    drop((store, database));
    let store = options().build(Arc::new(open_alone(&disk)?))?;
    assert!(store.find("token")?.is_some());
    Ok(())
}

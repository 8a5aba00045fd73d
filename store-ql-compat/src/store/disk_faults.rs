//! Disks that are full, fail, lose what wasn't synced, or flip bits: no session whose commit had
//! returned is lost, and the same store works on when the trouble is over.

use std::collections::HashMap;
use std::io::{Error as IoError, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use redb::{Builder, Database, StorageBackend};
use store_core::{Change, CleanupOptions, Error, Loaded, OwnedRecord, Rotation, Store};

use super::engine::contain_opening;
use super::error;
use super::format::Tables;
use crate::{Durability, QlOptions, QlStore};

/// How long a store may take to come back once its disk is well again.
const PATIENCE: Duration = Duration::from_secs(60);

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

/// A disk in memory that does what it is told, and remembers what was synced.
#[derive(Debug, Default)]
struct Disk {
    content: Mutex<Content>,
    /// Writes until the next one fails, and all after it until the disk is mended.
    writes_left: Mutex<Option<u64>>,
    /// Where it is full: it doesn't grow beyond.
    capacity: AtomicU64,
    is_locked: AtomicBool,
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Places that were written to since, in sectors.
    unsynced: Vec<usize>,
}

const SECTOR: usize = 512;

impl Disk {
    fn new() -> Arc<Self> {
        Arc::new(Self { capacity: AtomicU64::new(u64::MAX), ..Self::default() })
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail_after(&self, writes: Option<u64>) {
        *self.writes_left.lock().expect("nobody panics with it") = writes;
    }

    fn fail_or(&self) -> Result<(), IoError> {
        let mut left = self.writes_left.lock().expect("nobody panics with it");
        match &mut *left {
            Some(0) => Err(IoError::from(ErrorKind::StorageFull)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A disk as a loss of power leaves this one: of what wasn't synced, each sector is there or not.
    fn after_power_loss(&self, random: &mut impl FnMut() -> u64) -> Arc<Self> {
        let content = self.content();
        let mut bytes = content.synced.clone();
        if random().is_multiple_of(2) {
            bytes.resize(content.now.len(), 0);
        }
        for &sector in &content.unsynced {
            let place = sector * SECTOR..((sector + 1) * SECTOR).min(content.now.len());
            if random().is_multiple_of(2) && place.end <= bytes.len() && place.start < place.end {
                bytes[place.clone()].copy_from_slice(&content.now[place]);
            }
        }
        Self::with(bytes)
    }

    fn with(bytes: Vec<u8>) -> Arc<Self> {
        let disk = Self::new();
        *disk.content() = Content { now: bytes.clone(), synced: bytes, unsynced: Vec::new() };
        disk
    }
}

#[derive(Debug)]
struct Handle(Arc<Disk>);

impl StorageBackend for Handle {
    fn len(&self) -> Result<u64, IoError> {
        Ok(self.0.content().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let start = usize::try_from(offset).expect("disks of tests are small");
        let content = self.0.content();
        let part = content.now.get(start..start + out.len());
        out.copy_from_slice(part.ok_or_else(|| IoError::from(ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.0.fail_or()?;
        if len > self.0.capacity.load(Ordering::Relaxed) {
            return Err(IoError::from(ErrorKind::StorageFull));
        }
        let mut content = self.0.content();
        content.now.resize(usize::try_from(len).expect("small"), 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), IoError> {
        self.0.fail_or()?;
        let mut content = self.0.content();
        content.synced = content.now.clone();
        content.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), IoError> {
        self.0.fail_or()?;
        let start = usize::try_from(offset).expect("small");
        let end = start + data.len();
        let mut content = self.0.content();
        if content.now.len() < end {
            return Err(IoError::from(ErrorKind::StorageFull));
        }
        content.now[start..end].copy_from_slice(data);
        content.unsynced.extend(start / SECTOR..end.div_ceil(SECTOR));
        Ok(())
    }

    fn close(&self) -> Result<(), IoError> {
        self.0.is_locked.store(false, Ordering::Release);
        Ok(())
    }
}

fn open_disk(disk: &Arc<Disk>, builder: &Builder) -> Result<Database, Error> {
    let was_locked = disk.is_locked.swap(true, Ordering::AcqRel);
    assert!(!was_locked, "the database was closed before");
    contain_opening(|| {
        let database = builder.create_with_backend(Handle(Arc::clone(disk)));
        database.map_err(|error| error::of_redb(error.into()))
    })
}

fn options() -> QlOptions {
    QlOptions::new().with_cleanup(CleanupOptions::disabled())
}

fn open(disk: &Arc<Disk>, options: QlOptions) -> Result<QlStore, Error> {
    let mut builder = Builder::new();
    builder.set_cache_size(1 << 20);
    let database = open_disk(disk, &builder)?;
    let disk = Arc::clone(disk);
    let reopen = move |builder: &Builder| open_disk(&disk, builder);
    options.own(Tables::new("sessions")?, database, reopen)
}

/// Asks until the store has an answer again.
fn when_mended<T>(mut ask: impl FnMut() -> Result<T, Error>) -> T {
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
            let found = when_mended(|| store.find(token));
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
    let len = disk.content().now.len() as u64;
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
        assert_eq!(when_mended(|| store.find("before")).as_deref(), Some(&b"data"[..]));
    }
    assert!(refused > 0);
    store.delete("before")?;
    disk.capacity.store(u64::MAX, Ordering::Relaxed);
    when_mended(|| store.commit("after", &vec![b'x'; 100_000], in_an_hour()));
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
    let len = disk.content().now.len() as u64;
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
        let disk = Disk::new();
        let store = open(&disk, options())?;
        let mut expected = Expected::default();
        assert!(write_at_random(&store, &mut expected, 20, &mut random).is_none());
        disk.fail_after(Some(writes));
        let failed = write_at_random(&store, &mut expected, 20, &mut random);
        disk.fail_after(None);
        expected.check(&store, &format!("after {writes} writes"));
        let again = when_mended(|| Ok(write_at_random(&store, &mut expected, 5, &mut random)));
        assert!(again.is_none(), "{again:?}");
        expected.check(&store, "later");
        if let Some(failed) = failed {
            assert!(matches!(failed, Error::StorageFull { .. }), "{failed:?}");
        }
        drop(store);
        expected.check(&open(&disk, options())?, "opened anew");
    }
    Ok(())
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
            let found = when_mended(|| store.find(&token));
            assert_eq!(found.as_deref(), Some(token.as_bytes()), "after {writes} writes");
        }
    }
    Ok(())
}

#[test]
fn shared_database_that_failed_is_the_applications_to_open_again() -> Result<(), Error> {
    let disk = Disk::new();
    let database = Arc::new(open_disk(&disk, &Builder::new())?);
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
    let store = options().build(Arc::new(open_disk(&disk, &Builder::new())?))?;
    assert!(store.find("token")?.is_some());
    Ok(())
}

fn expiry_of(store: &QlStore, token: &str) -> Result<Option<DateTime<Utc>>, Error> {
    Ok(match store.load(token)? {
        Loaded::Live { expiry, .. } => Some(expiry),
        Loaded::Rotated { .. } | Loaded::Missing => None,
    })
}

/// A login of a visitor whose session was rotated before. It has everything that a change can have.
mod login {
    use super::*;

    pub(super) fn prepare(store: &QlStore) -> Result<(), Error> {
        store.create("older", b"cart", in_an_hour(), Some("visitor"))?;
        store.create("other", b"more", in_an_hour(), Some("visitor"))?;
        store.create("expired", b"old", Utc::now() - TimeDelta::hours(1), Some("user 7"))?;
        let routine = Rotation::new("visitor").old_token_opens();
        let change = Change::new(b"cart", in_an_hour()).with_rotation(routine);
        assert!(store.update("older", b"cart", &change)?);
        Ok(())
    }

    pub(super) fn run(store: &QlStore) -> Result<bool, Error> {
        // The new token still has the row of an expired session.
        let change = Change::new(b"cart and more", in_an_hour())
            .with_rotation(Rotation::new("expired"))
            .with_subject(Some("user 7"))
            .absorbing("other", b"more");
        store.update("visitor", b"cart", &change)
    }

    /// Whether it was done. Half of it is no answer.
    pub(super) fn is_done(store: &QlStore, what: &str) -> Result<bool, Error> {
        let is_done = store.find("visitor")?.is_none();
        let rotated = |token: &str, opens| Loaded::Rotated { token: token.to_owned(), opens };
        let tokens = |subject: &str| {
            let sessions = store.find_by_subject(subject)?;
            let tokens = sessions.into_iter().map(|OwnedRecord { token, .. }| token);
            Ok::<Vec<String>, Error>(tokens.collect())
        };
        if is_done {
            assert_eq!(store.find("expired")?.as_deref(), Some(&b"cart and more"[..]), "{what}");
            assert_eq!(store.load("visitor")?, rotated("expired", false), "{what}");
            assert_eq!(store.load("older")?, rotated("expired", false), "{what}");
            assert_eq!(store.load("other")?, rotated("expired", false), "{what}");
            assert_eq!(tokens("user 7")?, ["expired"], "{what}");
            assert!(tokens("visitor")?.is_empty(), "{what}");
        } else {
            assert_eq!(store.find("visitor")?.as_deref(), Some(&b"cart"[..]), "{what}");
            assert_eq!(store.load("expired")?, Loaded::Missing, "{what}");
            assert_eq!(store.load("older")?, rotated("visitor", true), "{what}");
            assert_eq!(store.find("other")?.as_deref(), Some(&b"more"[..]), "{what}");
            assert!(tokens("user 7")?.is_empty(), "{what}");
            assert_eq!(tokens("visitor")?, ["other", "visitor"], "{what}");
        }
        assert_eq!(store.count()?, if is_done { 1 } else { 2 }, "{what}");
        Ok(is_done)
    }
}

#[test]
fn update_whose_disk_fails_at_any_write_is_done_as_a_whole_or_not_at_all() -> Result<(), Error> {
    let mut has_succeeded = false;
    let mut writes = 0;
    while !has_succeeded {
        let mut random = random_numbers(writes);
        let disk = Disk::new();
        let store = open(&disk, options())?;
        login::prepare(&store)?;
        disk.fail_after(Some(writes));
        let outcome = login::run(&store);
        let what = format!("after {writes} writes: {outcome:?}");
        let crashed: Vec<_> = (0..8).map(|_| disk.after_power_loss(&mut random)).collect();
        disk.fail_after(None);
        assert!(matches!(outcome, Ok(true) | Err(Error::StorageFull { .. })), "{what}");
        has_succeeded = outcome.is_ok();

        let is_done = when_mended(|| login::is_done(&store, &what));
        drop(store);
        assert_eq!(login::is_done(&open(&disk, options())?, &what)?, is_done, "{what}");
        assert!(is_done || !has_succeeded, "{what}");
        for disk in crashed {
            let is_done = login::is_done(&open(&disk, options())?, &format!("{what}, crashed"))?;
            assert!(is_done || !has_succeeded, "{what}");
        }
        writes += 1;
    }
    assert!(writes > 3, "it succeeded after {writes} writes: nothing has failed");
    Ok(())
}

#[test]
fn updates_that_end_a_token_or_a_login_are_durable_in_relaxed_mode() -> Result<(), Error> {
    let relaxed = || options().with_durability(Durability::Relaxed(Duration::from_secs(3_600)));
    let change = || Change::new(b"new", in_an_hour() + TimeDelta::hours(1));
    for (change, is_durable, what) in [
        (change(), false, "data alone"),
        (change().with_rotation(Rotation::new("rotated")), true, "a rotation"),
        (change().with_subject(Some("another")), true, "another subject"),
        (change().with_subject(None), true, "no subject any more"),
        (change().absorbing("other", b"data"), true, "an absorbed session"),
        (Change::new(b"new", Utc::now() + TimeDelta::minutes(1)), true, "an earlier end"),
    ] {
        let disk = Disk::new();
        let store = open(&disk, relaxed())?;
        store.create("token", b"data", in_an_hour(), Some("one"))?;
        store.create("other", b"data", in_an_hour(), None)?;
        assert!(store.update("token", b"data", &change)?, "{what}");
        for random in 0..4 {
            let crashed = disk.after_power_loss(&mut random_numbers(random));
            let sessions = open(&crashed, options())?.all()?;
            let is_there = sessions.values().any(|data| data == b"new");
            assert_eq!(is_there, is_durable, "{what}");
        }
    }
    Ok(())
}

#[test]
fn crash_in_relaxed_mode_loses_the_last_interval_and_revives_nobody() -> Result<(), Error> {
    let relaxed = || options().with_durability(Durability::Relaxed(Duration::from_secs(3_600)));
    let disk = Disk::new();
    let store = open(&disk, relaxed())?;
    for token in ["deleted", "rotated", "ended", "shortened"] {
        store.commit(token, b"data", in_an_hour())?;
    }
    store.create("of a subject", b"data", in_an_hour(), Some("one"))?;
    store.delete("deleted")?;
    store.commit("late", b"data", in_an_hour())?;
    let crashed =
        |random: u64| open(&disk.after_power_loss(&mut random_numbers(random)), options());
    for random in 0..10 {
        let store = crashed(random)?;
        assert_eq!(store.find("deleted")?, None, "what ends a session is durable");
        assert!(store.find("ended")?.is_some(), "and so is what was written before it");
        assert_eq!(store.find("late")?, None, "what came later waits for the flush");
    }
    let rotation = Change::new(b"data", in_an_hour()).with_rotation(Rotation::new("new"));
    assert!(store.update("rotated", b"data", &rotation)?);
    assert_eq!(store.delete_by_subject("one", None)?, 1);
    assert!(store.touch("ended", Utc::now() - TimeDelta::hours(1))?);
    for random in 0..10 {
        let store = crashed(random)?;
        for gone in ["deleted", "rotated", "of a subject", "ended"] {
            assert_eq!(store.find(gone)?, None, "{gone}");
        }
        assert!(store.find("new")?.is_some() && store.find("late")?.is_some());
    }
    let soon = Utc::now() + TimeDelta::minutes(1);
    assert!(store.touch("shortened", soon)?);
    for random in 0..10 {
        assert_eq!(expiry_of(&crashed(random)?, "shortened")?, Some(soon));
    }
    assert!(store.touch("shortened", in_an_hour())?);
    let expiry = expiry_of(&crashed(0)?, "shortened")?;
    assert_eq!(expiry, Some(soon), "a later end waits for the flush");
    store.commit("last", b"data", in_an_hour())?;
    store.stop_cleanup();
    assert!(crashed(0)?.find("last")?.is_some(), "stopping flushes");
    store.commit("after", b"data", in_an_hour())?;
    assert!(crashed(0)?.find("after")?.is_some(), "without its thread each commit is durable");
    Ok(())
}

#[test]
fn flushes_come_by_themselves_and_failed_ones_are_reported() -> Result<(), Error> {
    let (told, failures) = std::sync::mpsc::channel();
    let disk = Disk::new();
    let relaxed = options()
        .with_durability(Durability::Relaxed(Duration::from_millis(1)))
        .with_flush_failure_hook(move |error| {
            let _ = told.send(error.to_string());
            panic!("a hook may panic");
        });
    let store = open(&disk, relaxed)?;
    store.commit("token", b"data", in_an_hour())?;
    let begun = Instant::now();
    let is_synced = || {
        let store = open(&disk.after_power_loss(&mut random_numbers(0)), options())?;
        Ok::<_, Error>(store.find("token")?.is_some())
    };
    while !is_synced()? {
        assert!(begun.elapsed() < PATIENCE, "nothing flushes");
    }
    disk.fail_after(Some(0));
    let _ = store.commit("token", b"data", in_an_hour());
    assert!(failures.recv_timeout(PATIENCE).is_ok_and(|told| told.contains("full")));
    disk.fail_after(None);
    assert!(when_mended(|| store.find("token")).is_some());
    when_mended(|| store.commit("token", b"new", in_an_hour()));
    Ok(())
}

#[test]
fn hooks_of_both_threads_may_stop_the_store_at_the_same_time() -> Result<(), Error> {
    let disk = Disk::new();
    let store = Arc::new(OnceLock::<Weak<QlStore>>::new());
    let both = Arc::new(Barrier::new(2));
    let (told, stopped) = std::sync::mpsc::channel();
    let hook = || {
        let (store, both, told) = (Arc::clone(&store), Arc::clone(&both), told.clone());
        let has_run = AtomicBool::new(false);
        move || {
            if !has_run.swap(true, Ordering::Relaxed) {
                both.wait();
                if let Some(store) = store.get().and_then(Weak::upgrade) {
                    store.stop_cleanup();
                }
                let _ = told.send(());
            }
        }
    };
    let (of_sweeps, of_flushes) = (hook(), hook());
    let (cleanup, manual) = CleanupOptions::new().with_manual_cleanup();
    let relaxed = QlOptions::new()
        .with_cleanup(cleanup.with_failure_hook(move |_| of_sweeps()))
        .with_durability(Durability::Relaxed(Duration::from_millis(1)))
        .with_flush_failure_hook(move |_| of_flushes());
    let own = Arc::new(open(&disk, relaxed)?);
    store.set(Arc::downgrade(&own)).expect("it is empty");
    disk.fail_after(Some(0));
    let _ = own.commit("token", b"data", in_an_hour());
    // Until one meets the database that the failed flush has left.
    while manual.run() && manual.wait_until_idle() {}
    if !(0..2).all(|_| stopped.recv_timeout(PATIENCE).is_ok()) {
        // Dropping it would wait for them, too.
        std::mem::forget(own);
        panic!("one waits for the other");
    }
    disk.fail_after(None);
    Ok(())
}

#[test]
fn store_that_nobody_writes_to_lets_the_disk_rest() -> Result<(), Error> {
    let disk = Disk::new();
    let failures = Arc::new(AtomicU64::new(0));
    let relaxed = options()
        .with_durability(Durability::Relaxed(Duration::from_millis(1)))
        .with_flush_failure_hook({
            let failures = Arc::clone(&failures);
            move |_| {
                failures.fetch_add(1, Ordering::Relaxed);
            }
        });
    let store = open(&disk, relaxed)?;
    store.commit("token", b"data", in_an_hour())?;
    // Long enough for the flush that is due.
    thread::sleep(Duration::from_millis(200));
    disk.fail_after(Some(0));
    thread::sleep(Duration::from_millis(50));
    disk.fail_after(None);
    assert!(store.find("token")?.is_some());
    assert_eq!(failures.load(Ordering::Relaxed), 0, "nothing was written");
    Ok(())
}

/// Opens a file with flipped bytes and does everything once. Nothing may panic or hang.
fn use_damaged(bytes: Vec<u8>) -> Option<Error> {
    let disk = Disk::with(bytes);
    let store = match open(&disk, options()) {
        Ok(store) => store,
        Err(error) => return Some(error),
    };
    let change = Change::new(b"new", in_an_hour());
    let login = change
        .clone()
        .with_rotation(Rotation::new("rotated"))
        .with_subject(Some("two"))
        .absorbing("token-12", &[b'x'; 300]);
    let outcomes = [
        store.find("token-7").map(drop),
        store.load("token-7").map(drop),
        store.load("old-9").map(drop),
        store.count().map(drop),
        store.all().map(drop),
        store.commit("token-7", &[b'y'; 300], in_an_hour()),
        store.create("created", &[b'y'; 300], in_an_hour(), Some("one")),
        store.update("token-8", &[b'x'; 300], &change).map(drop),
        store.touch("token-9", in_an_hour()).map(drop),
        store.update("token-10", &[b'x'; 300], &login).map(drop),
        store.delete("token-11"),
        store.delete("old-13"),
        store.find_by_subject("one").map(drop),
        store.delete_by_subject("one", Some("old-15")).map(drop),
        store.delete_expired().map(drop),
        store.compact().map(drop),
    ];
    outcomes.into_iter().find_map(Result::err)
}

fn flip_bytes_at_random(trials: u64) -> Result<(), Error> {
    let disk = Disk::new();
    let store = open(&disk, options())?;
    for n in 0..300 {
        let expiry = if n % 3 == 0 { Utc::now() - TimeDelta::hours(1) } else { in_an_hour() };
        let token = format!("token-{n}");
        if n % 2 == 0 {
            store.create(&token, &[b'x'; 300], in_an_hour(), Some("one"))?;
        } else {
            let old = format!("old-{n}");
            store.create(&old, &[b'x'; 300], in_an_hour(), Some("one"))?;
            // Of some the grace is over, so a sweep reads them as well.
            let grace = if n % 5 == 0 { Duration::ZERO } else { Rotation::MAX_GRACE };
            let rotation = Rotation::new(&token).with_grace(grace);
            let change = Change::new(&[b'x'; 300], in_an_hour()).with_rotation(rotation);
            assert!(store.update(&old, &[b'x'; 300], &change)?);
        }
        store.touch(&token, expiry)?;
    }
    let unclosed = disk.content().now.clone();
    drop(store);
    let closed = disk.content().now.clone();
    let mut noticed = 0;
    for seed in 0..trials {
        let mut random = random_numbers(seed);
        let mut bytes = if seed % 2 == 0 { closed.clone() } else { unclosed.clone() };
        // Most of the file is free: aim at what is in use, and at the header in particular.
        let in_use: Vec<usize> = (0..bytes.len()).filter(|&place| bytes[place] != 0).collect();
        for _ in 0..=random() % 8 {
            let place = match random() % 4 {
                0 => usize::try_from(random() % 320).expect("small"),
                _ => in_use[usize::try_from(random()).expect("64 bits") % in_use.len()],
            };
            bytes[place] ^= u8::try_from(1 + random() % 255).expect("a byte");
        }
        match use_damaged(bytes) {
            None => {}
            Some(
                Error::Corrupt { .. }
                | Error::Backend { .. }
                | Error::TableMissing { .. }
                | Error::TableMismatch { .. }
                | Error::Unreachable { .. }
                | Error::StorageFull { .. },
            ) => noticed += 1,
            Some(other) => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(noticed > 0);
    Ok(())
}

#[test]
fn damaged_files_give_errors() -> Result<(), Error> {
    flip_bytes_at_random(200)
}

#[test]
#[ignore = "thousands of damaged files take minutes"]
fn thousands_of_damaged_files_give_errors() -> Result<(), Error> {
    flip_bytes_at_random(5_000)
}

//! Relaxed durability: what a crash loses, what it must not lose, and the thread that flushes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{Change, CleanupOptions, Error, Loaded, Rotation, Store};

use super::super::{Durability, QlOptions, QlStore};
use super::disk::Disk;
use super::{PATIENCE, in_an_hour, open, options, random_numbers, when_repaired};

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

/// A commit decides that it needn't be durable before it says that a flush is due. If the thread
/// ended in between, it would find nothing to flush.
#[test]
fn last_flush_includes_a_commit_that_has_not_asked_for_it_yet() -> Result<(), Error> {
    let disk = Disk::new();
    let relaxed = options().with_durability(Durability::Relaxed(Duration::from_secs(3_600)));
    let store = open(&disk, relaxed)?;
    store.commit("token", b"data", in_an_hour())?;
    store.shared.flush_state.is_flush_due.store(false, Ordering::Release);
    store.stop_cleanup();
    let crashed = open(&disk.after_power_loss(&mut random_numbers(0)), options())?;
    assert!(crashed.find("token")?.is_some());
    Ok(())
}

#[test]
fn flushes_come_by_themselves_and_failed_ones_are_reported() -> Result<(), Error> {
    let (report, failures) = std::sync::mpsc::channel();
    let disk = Disk::new();
    let relaxed = options()
        .with_durability(Durability::Relaxed(Duration::from_millis(1)))
        .with_flush_failure_hook(move |error| {
            let _ = report.send(error.to_string());
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
    assert!(failures.recv_timeout(PATIENCE).is_ok_and(|text| text.contains("full")));
    disk.fail_after(None);
    assert!(when_repaired(|| store.find("token")).is_some());
    when_repaired(|| store.commit("token", b"new", in_an_hour()));
    Ok(())
}

#[test]
fn hooks_of_both_threads_may_stop_the_store_at_the_same_time() -> Result<(), Error> {
    let disk = Disk::new();
    let store = Arc::new(OnceLock::<Weak<QlStore>>::new());
    let both = Arc::new(Barrier::new(2));
    let (report, stopped) = std::sync::mpsc::channel();
    let hook = || {
        let (store, both, report) = (Arc::clone(&store), Arc::clone(&both), report.clone());
        let has_run = AtomicBool::new(false);
        move || {
            if !has_run.swap(true, Ordering::Relaxed) {
                both.wait();
                if let Some(store) = store.get().and_then(Weak::upgrade) {
                    store.stop_cleanup();
                }
                let _ = report.send(());
            }
        }
    };
    let (of_cleanup, of_flushes) = (hook(), hook());
    let (cleanup, manual) = CleanupOptions::new().with_manual_cleanup();
    let relaxed = QlOptions::new()
        .with_cleanup(cleanup.with_failure_hook(move |_| of_cleanup()))
        .with_durability(Durability::Relaxed(Duration::from_millis(1)))
        .with_flush_failure_hook(move |_| of_flushes());
    let own = Arc::new(open(&disk, relaxed)?);
    store.set(Arc::downgrade(&own)).expect("it is empty");
    disk.fail_after(Some(0));
    let _ = own.commit("token", b"data", in_an_hour());
    // Until one meets the database that the failed flush has left.
    while manual.run() && manual.wait_until_idle() {
        // So that the next one has something to write.
        let _ = own.commit("expired", b"data", Utc::now() - TimeDelta::hours(1));
    }
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

fn expiry_of(store: &QlStore, token: &str) -> Result<Option<DateTime<Utc>>, Error> {
    Ok(match store.load(token)? {
        Loaded::Live { expiry, .. } => Some(expiry),
        Loaded::Rotated { .. } | Loaded::Missing => None,
    })
}

//! Clauses 22 to 26: the cleanup thread and what it removes.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use crate::Harness;
use crate::calls::{
    SetOnDrop, an_hour_ago, commit, found, in_an_hour, unswept, update, walk, within,
};
use store_core::{Change, CleanupOptions, ManualCleanup, Store};

/// So few that a store which chooses smaller batches while others write takes this many all the
/// same.
const BATCH: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");

/// So few that one batch removes all of them.
const FEW: usize = 3;

/// A store that manual when it is told to, in batches of [`BATCH`].
fn manually_swept<H: Harness>(harness: &H) -> (H::Store, ManualCleanup) {
    let (cleanup, manual) = CleanupOptions::new().with_batch_size(BATCH).with_manual_cleanup();
    (harness.store(cleanup), manual)
}

fn commit_expired(store: &dyn Store, count: usize) {
    for i in 0..count {
        commit(store, &format!("expired-{i}"), b"data", an_hour_ago());
    }
}

/// Clause 22: the thread manual after each tick, and not before the first.
pub fn cleanup_runs_when_told<H: Harness>(harness: &H) {
    let (store, manual) = manually_swept(harness);
    let patience = harness.patience();
    commit(&store, "live", b"data", in_an_hour());
    let (store, manual) = within(patience, "the cleanup thread", move || {
        for _ in 0..3 {
            commit_expired(&store, FEW);
            assert!(manual.run() && manual.wait_until_idle(), "the thread manual and waits again");
            let left = store.delete_expired().expect("delete_expired succeeds");
            assert_eq!(left, 0, "the thread has removed them");
        }
        (store, manual)
    });
    commit_expired(&store, FEW);
    assert_eq!(
        store.delete_expired().expect("delete_expired succeeds"),
        FEW as u64,
        "no tick, no cleanup"
    );
    assert!(found(&store, "live").is_some());
    drop((store, manual));
}

/// Clauses 22 and 23: with cleanup disabled nothing is swept, and stopping returns at once.
pub fn disabled_cleanup_never_runs<H: Harness>(harness: &H) {
    let store = unswept(harness);
    commit_expired(&store, FEW);
    let store = within(harness.patience(), "stop_cleanup without a thread", move || {
        store.stop_cleanup();
        store
    });
    assert_eq!(store.delete_expired().expect("delete_expired succeeds"), FEW as u64);
}

/// Clause 23: `stop_cleanup` wakes a thread whose tick is far away, returns when it has ended, and
/// is harmless when called again; the store works on.
pub fn stop_is_prompt_and_idempotent<H: Harness>(harness: &H) {
    let patience = harness.patience();
    let timed = harness.store(CleanupOptions::new());
    within(patience, "stop_cleanup long before the first tick", move || timed.stop_cleanup());

    let (store, manual) = manually_swept(harness);
    within(patience, "stop_cleanup", move || {
        store.stop_cleanup();
        assert!(manual.is_finished(), "the thread has ended when stop_cleanup returns");
        store.stop_cleanup();
        commit(&store, "token", b"data", in_an_hour());
        assert!(found(&store, "token").is_some(), "the store works without its thread");
    });
}

/// Clause 23: `stop_cleanup` may be called from many threads at once, at any moment after
/// construction; for each of them the thread has ended when it returns.
pub fn stop_may_be_called_by_many_threads<H: Harness>(harness: &H) {
    const THREADS: usize = 8;
    let patience = harness.patience();
    for _ in 0..5 {
        let (store, manual) = manually_swept(harness);
        within(patience, "stop_cleanup by many threads", move || {
            let start = Barrier::new(THREADS);
            thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        start.wait();
                        store.stop_cleanup();
                        assert!(manual.is_finished(), "the thread has ended");
                    });
                }
            });
        });
    }
}

/// Clause 23: a cleanup under way ends after its current batch, not after the whole table.
pub fn stop_ends_a_run_after_its_batch<H: Harness>(harness: &H) {
    let (store, manual) = manually_swept(harness);
    commit_expired(&store, 3 * BATCH.get() + FEW);
    let (store, _manual) = within(harness.patience(), "stop_cleanup during a cleanup", move || {
        assert!(manual.run(), "the cleanup begins");
        store.stop_cleanup();
        assert!(manual.is_finished(), "the thread has ended");
        (store, manual)
    });
    let left = store.delete_expired().expect("delete_expired succeeds");
    assert_eq!(left, (2 * BATCH.get() + FEW) as u64, "one batch went, the rest was left");
}

/// Clauses 22 and 23: an application that holds an `Arc<dyn Store>` can ask what the thread has
/// done, and stop it.
pub fn cleanup_is_reached_through_trait_objects<H: Harness>(harness: &H) {
    let (store, manual) = manually_swept(harness);
    let store: Arc<dyn Store> = Arc::new(store);
    commit_expired(&*store, FEW);
    within(harness.patience(), "the cleanup thread", move || {
        assert_eq!(store.cleanup_statistics().runs, 0, "it has not been told to run");
        for run in 1..=2 {
            assert!(manual.run() && manual.wait_until_idle(), "the thread manual");
            let statistics = store.cleanup_statistics();
            assert_eq!((statistics.runs, statistics.failures), (run, 0));
            assert_eq!(statistics.removed, FEW as u64);
        }
        store.stop_cleanup();
        assert!(manual.is_finished(), "the thread has ended when stop_cleanup returns");
        assert_eq!(store.cleanup_statistics().runs, 2, "the statistics stay");
        store.stop_cleanup();
    });
}

/// Clause 24: dropping the last handle stops the thread.
pub fn dropping_the_store_stops_the_thread<H: Harness>(harness: &H) {
    let (store, manual) = manually_swept(harness);
    let store = Arc::new(store);
    let last = Arc::clone(&store);
    drop(store);
    within(harness.patience(), "dropping the store", move || {
        assert!(manual.run() && manual.wait_until_idle(), "there is still a handle");
        drop(last);
        assert!(manual.is_finished(), "the thread has ended");
    });
}

/// Clause 26: `delete_expired` removes every expired session, in as many batches as it takes, says
/// how many, and removes no live one.
pub fn cleanup_removes_the_expired_and_only_those<H: Harness>(harness: &H) {
    let store = harness.store(CleanupOptions::disabled().with_batch_size(BATCH));
    for i in 0..25 {
        commit(&store, &format!("live-{i}"), format!("{i}").as_bytes(), in_an_hour());
    }
    for count in [0, 1, BATCH.get(), 2 * BATCH.get() + FEW] {
        commit_expired(&store, count);
        commit(&store, "touched", b"data", in_an_hour());
        assert!(store.touch("touched", an_hour_ago()).expect("touch succeeds"));
        assert_eq!(store.delete_expired().expect("delete_expired succeeds"), count as u64 + 1);
        assert_eq!(store.delete_expired().expect("delete_expired succeeds"), 0);
    }
    let sessions = store.all().expect("all succeeds");
    assert_eq!(sessions.len(), 25);
    for i in 0..25 {
        assert_eq!(sessions[&format!("live-{i}")], format!("{i}").into_bytes());
    }
}

/// Clause 26: between two batches a cleanup holds nothing that requests wait for.
pub fn cleanup_gives_way_between_batches<H: Harness>(harness: &H) {
    let (store, manual) = manually_swept(harness);
    commit_expired(&store, 3 * BATCH.get() + FEW);
    commit(&store, "live", b"0", in_an_hour());
    within(harness.patience(), "requests during a cleanup", move || {
        assert!(manual.run(), "the cleanup begins");
        for batch in 0..3 {
            let (current, next) = (format!("{batch}"), format!("{}", batch + 1));
            assert_eq!(found(&store, "live"), Some(current.clone().into_bytes()));
            let change = Change::new(next.as_bytes(), in_an_hour());
            assert!(update(&store, "live", current.as_bytes(), &change));
            assert!(manual.next_batch(), "the cleanup waits between batches");
        }
        assert!(manual.wait_until_idle(), "the cleanup has ended");
        assert_eq!(store.delete_expired().expect("delete_expired succeeds"), 0);
        assert_eq!(walk(&store).len(), 1);
    });
}

/// Clause 26: a session that is committed again while a cleanup runs is never removed by it.
pub fn cleanup_never_removes_a_renewed_session<H: Harness>(harness: &H) {
    const SESSIONS: usize = 30;
    const SWEEPERS: usize = 2;
    let store = harness.store(CleanupOptions::disabled().with_batch_size(BATCH));
    let done = AtomicBool::new(false);
    let manual = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..SWEEPERS {
            scope.spawn(|| {
                // A cleanup that fails is not waited for.
                let _end_of_rounds = SetOnDrop(&done);
                while !done.load(Ordering::Acquire) {
                    store.delete_expired().expect("delete_expired succeeds");
                    manual.fetch_add(1, Ordering::AcqRel);
                }
            });
        }
        let _end_of_cleanup = SetOnDrop(&done);
        for round in 0..20 {
            // Where manual are quicker than commits, they meet only what is renewed at once.
            let at_once = round % 2 == 1;
            for i in 0..SESSIONS {
                commit(&store, &format!("token-{i}"), b"old", an_hour_ago());
            }
            let data = format!("round {round}").into_bytes();
            for i in 0..SESSIONS {
                let token = format!("token-{i}");
                if at_once {
                    commit(&store, &token, b"old", an_hour_ago());
                }
                commit(&store, &token, &data, in_an_hour());
                assert!(
                    found(&store, &token).as_ref() == Some(&data),
                    "round {round}: a cleanup removed a session that was live again"
                );
            }
            // More manual than can be under way by now, so one of them began after the renewals.
            let enough = manual.load(Ordering::Acquire) + SWEEPERS + 1;
            while manual.load(Ordering::Acquire) < enough && !done.load(Ordering::Acquire) {
                thread::yield_now();
            }
            let left = walk(&store).len();
            assert_eq!(left, SESSIONS, "round {round}: a cleanup removed a live session");
        }
    });
}

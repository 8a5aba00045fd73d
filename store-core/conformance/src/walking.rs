//! Clause 27: visiting the live sessions.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::Harness;
use crate::calls::{
    SetOnDrop, an_hour_ago, commit, found, in_an_hour, rotation, unswept, update, within,
};
use store_core::Store;

/// Enough for several pages of any sensible size.
const SESSIONS: usize = 1_500;

fn commit_many(store: &dyn Store) {
    for i in 0..SESSIONS {
        commit(store, &format!("token-{i}"), format!("data {i}").as_bytes(), in_an_hour());
    }
}

/// Clause 27: a walk sees every live session exactly once, with its data, and no expired one.
pub fn walk_sees_each_live_session_once<H: Harness>(harness: &H) {
    let store = unswept(harness);
    commit_many(&store);
    for i in 0..SESSIONS / 10 {
        commit(&store, &format!("token-{}", i * 10), b"expired", an_hour_ago());
    }
    let mut visits = HashMap::new();
    store
        .for_each(&mut |record| {
            *visits.entry((record.token.to_owned(), record.data.to_owned())).or_insert(0) += 1;
            ControlFlow::Continue(())
        })
        .expect("the walk succeeds");
    let live = (0..SESSIONS).filter(|i| i % 10 != 0);
    let expected: HashMap<_, _> =
        live.map(|i| ((format!("token-{i}"), format!("data {i}").into_bytes()), 1)).collect();
    assert!(visits == expected, "{} sessions seen of {}", visits.len(), expected.len());
}

/// Clause 27: sessions that are overwritten, touched or rotated during the walk, and the many that
/// come and go during it, don't make it miss a live session or see one twice.
pub fn walk_sees_rotated_and_rewritten_sessions_once<H: Harness>(harness: &H) {
    let store = unswept(harness);
    commit_many(&store);
    let visits =
        within(harness.patience(), "a walk during writes", move || walk_during_writes(&store));
    let twice = visits.values().filter(|&&count| count > 1).count();
    assert_eq!(twice, 0, "sessions seen more than once");
    assert_eq!(visits.len(), SESSIONS, "sessions seen");
}

/// How often a walk sees each session's data while another thread rotates and rewrites them.
fn walk_during_writes(store: &dyn Store) -> HashMap<Vec<u8>, usize> {
    let done = AtomicBool::new(false);
    let rounds = AtomicUsize::new(0);
    let mut visits: HashMap<Vec<u8>, usize> = HashMap::new();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let n = rounds.fetch_add(1, Ordering::AcqRel);
                // Strides that meet the whole table, before and behind the walk.
                let i = n * 619 % SESSIONS;
                let (token, rotated) = (format!("token-{i}"), format!("rotated-{i}"));
                let data = format!("data {i}");
                if n.is_multiple_of(3) {
                    let data = data.as_bytes();
                    assert!(
                        update(store, &token, data, &rotation(&rotated, data))
                            || update(store, &rotated, data, &rotation(&token, data))
                    );
                } else if found(store, &token).is_some() {
                    commit(store, &token, data.as_bytes(), in_an_hour());
                    assert!(store.touch(&token, in_an_hour()).expect("touch succeeds"));
                }
                let passing = format!("passing-{n}");
                commit(store, &passing, b"passing", in_an_hour());
                store.delete(&passing).expect("delete succeeds");
            }
        });
        let _end_of_writer = SetOnDrop(&done);
        let mut visited = 0_usize;
        let outcome = store.for_each(&mut |record| {
            if record.data != b"passing" {
                *visits.entry(record.data.to_owned()).or_default() += 1;
            }
            visited += 1;
            if visited.is_multiple_of(100) {
                // The writer gets its share of the table between two pages, whatever their size.
                let enough = rounds.load(Ordering::Acquire) + 10;
                while rounds.load(Ordering::Acquire) < enough && !writer.is_finished() {
                    thread::yield_now();
                }
            }
            ControlFlow::Continue(())
        });
        outcome.expect("the walk succeeds");
    });
    visits
}

/// Clause 27: `count` and `all` agree with the walk: they know every live session and no other.
pub fn count_agrees_with_all<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let assert_count = |expected: usize, when: &str| {
        assert_eq!(store.count().expect("count succeeds"), expected as u64, "{when}");
        assert_eq!(store.all().expect("all succeeds").len(), expected, "{when}");
    };
    assert_count(0, "nothing was written");
    for i in 0..10 {
        commit(&store, &format!("token-{i}"), b"data", in_an_hour());
        commit(&store, &format!("expired-{i}"), b"data", an_hour_ago());
    }
    assert_count(10, "others have expired");
    commit(&store, "token-0", b"", in_an_hour());
    store.create("created", b"data", in_an_hour(), None).expect("create succeeds");
    assert_count(11, "one was created");
    assert!(store.touch("token-1", an_hour_ago()).expect("touch succeeds"));
    store.delete("token-2").expect("delete succeeds");
    assert_count(9, "one has expired, and one was deleted");
    assert!(update(&store, "token-3", b"data", &rotation("rotated", b"data")));
    assert_count(9, "one was rotated");
    let change = rotation("rotated-again", b"data").absorbing("token-4", b"data");
    assert!(update(&store, "rotated", b"data", &change));
    assert_count(8, "one was absorbed");
    assert_eq!(store.delete_expired().expect("delete_expired succeeds"), 11);
    assert_count(8, "the expired were swept");
    let mut visits = 0;
    store
        .for_each(&mut |record| {
            visits += usize::from(!record.token.is_empty());
            ControlFlow::Continue(())
        })
        .expect("the walk succeeds");
    assert_eq!(visits, 8);
}

/// Clause 27: a visitor that breaks off sees no further session.
pub fn walk_stops_early<H: Harness>(harness: &H) {
    let store = unswept(harness);
    commit_many(&store);
    for limit in [1, 2, SESSIONS / 2] {
        let mut visits = 0;
        store
            .for_each(&mut |_| {
                visits += 1;
                if visits == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .expect("the walk succeeds");
        assert_eq!(visits, limit);
    }
}

/// Clause 27: while the visitor runs, it and other threads can read and write.
pub fn walk_holds_no_lock<H: Harness>(harness: &H) {
    let store = Arc::new(unswept(harness));
    let patience = harness.patience();
    commit_many(&*store);
    within(patience, "a walk whose visitor writes", move || {
        let mut visits = 0;
        store
            .for_each(&mut |record| {
                visits += 1;
                if visits % 500 == 1 && record.token.starts_with("token-") {
                    let token = record.token.to_owned();
                    store.delete(&token).expect("the visitor deletes");
                    let other = Arc::clone(&store);
                    let committed = thread::spawn(move || {
                        commit(&*other, "from-another-thread", b"data", in_an_hour());
                        found(&*other, &token)
                    });
                    let deleted = committed.join().expect("the thread ends well");
                    assert_eq!(deleted, None, "what the visitor deleted is gone");
                }
                ControlFlow::Continue(())
            })
            .expect("the walk succeeds");
        assert!(visits >= SESSIONS, "{visits} of {SESSIONS} seen");
    });
}

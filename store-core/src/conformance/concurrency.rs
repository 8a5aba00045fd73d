//! Clauses 9, 11, 15, 16, 18 and 19: races with a known outcome.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use super::{Harness, SetOnDrop, commit, found, in_an_hour, unswept, walk};
use crate::{Error, Store};

const THREADS: usize = 8;
const ROUNDS: usize = 30;

/// Runs the same closure on all threads at the same time, and gives what each gave.
fn race<T: Send>(run: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|i| {
                let (start, run) = (&start, &run);
                scope.spawn(move || {
                    start.wait();
                    run(i)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("the thread ends well")).collect()
    })
}

/// Clause 9: of threads that race from the same `current`, exactly one gets `true`, and its data is
/// what is there afterwards.
pub fn one_of_many_racing_replaces_wins<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for round in 0..ROUNDS {
        commit(&store, "token", b"current", in_an_hour());
        let won = race(|i| {
            let data = format!("round {round} thread {i}");
            store.replace("token", b"current", data.as_bytes(), in_an_hour()).expect("it answers")
        });
        let winners: Vec<_> = (0..THREADS).filter(|&i| won[i]).collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?} all won");
        let expected = format!("round {round} thread {}", winners[0]);
        assert_eq!(found(&store, "token"), Some(expected.into_bytes()));
    }
}

/// Clause 11: of threads that rename one session to different tokens, exactly one gets `true`; of
/// threads that rename different sessions to one token, exactly one does, and nothing is lost.
pub fn one_of_many_racing_renames_wins<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for round in 0..ROUNDS {
        commit(&store, "source", b"data", in_an_hour());
        let won = race(|i| store.rename("source", &format!("target-{i}")).expect("rename answers"));
        assert_eq!(won.iter().filter(|&&won| won).count(), 1, "round {round}");
        let winner = won.iter().position(|&won| won).expect("counted above");
        assert_eq!(walk(&store).len(), 1, "round {round}: one session was one session");
        assert_eq!(found(&store, &format!("target-{winner}")).as_deref(), Some(&b"data"[..]));
        store.delete(&format!("target-{winner}")).expect("delete succeeds");

        for i in 0..THREADS {
            commit(&store, &format!("source-{i}"), format!("{i}").as_bytes(), in_an_hour());
        }
        let outcomes = race(|i| match store.rename(&format!("source-{i}"), "target") {
            Ok(renamed) => {
                assert!(renamed, "the source is live");
                true
            }
            Err(Error::TokenTaken) => false,
            Err(error) => panic!("rename: {error:?}"),
        });
        let winner = outcomes.iter().position(|&won| won).expect("somebody wins");
        assert_eq!(outcomes.iter().filter(|&&won| won).count(), 1, "round {round}");
        assert_eq!(found(&store, "target"), Some(format!("{winner}").into_bytes()));
        assert_eq!(walk(&store).len(), THREADS, "round {round}: the losers stay as they were");
        for (token, _, _) in walk(&store) {
            store.delete(&token).expect("delete succeeds");
        }
    }
}

/// Clause 11: at no moment do both tokens, or neither, find the session.
pub fn rename_is_seen_as_one_step<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for round in 0..ROUNDS {
        let (old, new) = (format!("old-{round}"), format!("new-{round}"));
        commit(&store, &old, b"data", in_an_hour());
        let renamed = AtomicBool::new(false);
        race(|i| {
            if i == 0 {
                // Ends the loops below also where the rename fails.
                let _end_of_rename = SetOnDrop(&renamed);
                assert!(store.rename(&old, &new).expect("rename succeeds"));
                return;
            }
            // The session moves once, so what two finds in a row may show is known.
            loop {
                let over = renamed.load(Ordering::Acquire);
                if i % 2 == 0 {
                    if found(&store, &old).is_none() {
                        assert!(found(&store, &new).is_some(), "neither token finds the session");
                    }
                } else if found(&store, &new).is_some() {
                    assert!(found(&store, &old).is_none(), "both tokens find the session");
                }
                if over {
                    assert!(found(&store, &old).is_none() && found(&store, &new).is_some());
                    return;
                }
            }
        });
    }
}

/// Clause 15: stores are `Send + Sync`, and usable as `Arc<dyn Store>`, references and boxes.
pub fn stores_are_shared_and_object_safe<H: Harness>(harness: &H) {
    fn commit_through(store: impl Store, token: &str) {
        commit(&store, token, b"data", in_an_hour());
        assert!(found(&store, token).is_some());
        assert_eq!(store.all().expect("all succeeds").len(), walk(&store).len());
    }
    let store: Arc<dyn Store> = Arc::new(unswept(harness));
    commit_through(&store, "reference");
    commit_through(&*store, "trait-object");
    commit_through(Arc::clone(&store), "arc");
    commit_through(Box::new(Arc::clone(&store)) as Box<dyn Store>, "box");
    let elsewhere = Arc::clone(&store);
    thread::spawn(move || commit_through(elsewhere, "thread"))
        .join()
        .expect("the thread ends well");
    assert_eq!(walk(&store).len(), 5);
}

/// Clause 18: first commits of one token from many threads leave one session.
pub fn first_commits_of_one_token_leave_one_session<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for round in 0..ROUNDS {
        let token = format!("token-{round}");
        race(|i| commit(&store, &token, format!("thread {i}").as_bytes(), in_an_hour()));
        let sessions = walk(&store);
        assert_eq!(sessions.len(), round + 1);
        let data = found(&store, &token).expect("all of them committed it");
        assert!((0..THREADS).any(|i| data == format!("thread {i}").as_bytes()), "a torn value");
    }
}

/// Clauses 16 and 19: threads that fight over few sessions get no error and lose no write: a counter
/// under `replace` counts every increment.
pub fn contention_is_waited_out<H: Harness>(harness: &H) {
    const INCREMENTS: usize = 25;
    let store = unswept(harness);
    commit(&store, "counter", b"0", in_an_hour());
    let conflicts = AtomicUsize::new(0);
    race(|i| {
        for n in 0..INCREMENTS {
            increment(&store, &conflicts);
            commit(&store, "everyone", format!("{i} {n}").as_bytes(), in_an_hour());
            assert!(found(&store, "everyone").is_some());
        }
    });
    let total = (THREADS * INCREMENTS).to_string();
    assert_eq!(found(&store, "counter"), Some(total.into_bytes()), "after {conflicts:?} conflicts");
}

/// Adds one to the decimal number in the session "counter", as often as it takes.
pub(super) fn increment(store: &dyn Store, conflicts: &AtomicUsize) {
    let mut refused = None;
    loop {
        let current = found(store, "counter").expect("the counter is live");
        // The count only grows, so what was there before and after was there in between.
        assert!(refused.as_ref() != Some(&current), "replace refused the current data");
        let count: usize =
            str::from_utf8(&current).ok().and_then(|n| n.parse().ok()).expect("a whole number");
        let next = (count + 1).to_string();
        if store.replace("counter", &current, next.as_bytes(), in_an_hour()).expect("it answers") {
            return;
        }
        refused = Some(current);
        conflicts.fetch_add(1, Ordering::Relaxed);
    }
}

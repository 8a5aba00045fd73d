//! Clauses 9 to 11, 17, 18, 20 and 21: races with a known outcome.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use crate::Harness;
use crate::calls::{
    SetOnDrop, an_hour_ago, commit, found, in_an_hour, rotation, unswept, update, walk,
};
use store_core::{Change, Error, Loaded, Rotation, Store};

pub(super) const THREADS: usize = 8;
pub(super) const ROUNDS: usize = if cfg!(miri) { 2 } else { 30 };

/// Runs the same closure on all threads at the same time, and returns what each returned.
pub(super) fn race<T: Send>(run: impl Fn(usize) -> T + Sync) -> Vec<T> {
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
pub fn one_of_many_racing_updates_wins<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for round in 0..ROUNDS {
        commit(&store, "token", b"current", in_an_hour());
        let won = race(|i| {
            let data = format!("round {round} thread {i}");
            update(&store, "token", b"current", &Change::new(data.as_bytes(), in_an_hour()))
        });
        let winners: Vec<_> = (0..THREADS).filter(|&i| won[i]).collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?} all won");
        let expected = format!("round {round} thread {}", winners[0]);
        assert_eq!(found(&store, "token"), Some(expected.into_bytes()));
    }
}

/// Clause 11: of threads that rotate one session to different tokens, exactly one gets `true`; of
/// threads that rotate different sessions to one token, exactly one does, and nothing is lost.
pub fn one_of_many_racing_rotations_wins<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for round in 0..ROUNDS {
        commit(&store, "source", b"data", in_an_hour());
        let won =
            race(|i| update(&store, "source", b"data", &rotation(&format!("target-{i}"), b"data")));
        assert_eq!(won.iter().filter(|&&won| won).count(), 1, "round {round}");
        let winner = won.iter().position(|&won| won).expect("counted above");
        assert_eq!(walk(&store).len(), 1, "round {round}: one session was one session");
        assert_eq!(found(&store, &format!("target-{winner}")).as_deref(), Some(&b"data"[..]));
        store.delete(&format!("target-{winner}")).expect("delete succeeds");

        for i in 0..THREADS {
            commit(&store, &format!("source-{i}"), format!("{i}").as_bytes(), in_an_hour());
        }
        let outcomes = race(|i| {
            let data = format!("{i}").into_bytes();
            match store.update(&format!("source-{i}"), &data, &rotation("target", &data)) {
                Ok(rotated) => {
                    assert!(rotated, "the source is live");
                    true
                }
                Err(Error::TokenTaken) => false,
                Err(error) => panic!("rotation: {error:?}"),
            }
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
pub fn rotation_is_seen_as_one_step<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for round in 0..ROUNDS {
        let (old, new) = (format!("old-{round}"), format!("new-{round}"));
        commit(&store, &old, b"data", in_an_hour());
        let rotated = AtomicBool::new(false);
        race(|i| {
            if i == 0 {
                // Ends the loops below also where the rotation fails.
                let _end_of_rotation = SetOnDrop(&rotated);
                assert!(update(&store, &old, b"data", &rotation(&new, b"data")));
                return;
            }
            // The session moves once, so what two finds in a row may show is known.
            loop {
                let over = rotated.load(Ordering::Acquire);
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

/// Clauses 10 and 18: at no moment does a change show in part: the new token has the new data, and
/// what it absorbs is gone once it is there, and not before.
pub fn update_is_seen_as_one_step<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for round in 0..ROUNDS {
        let [old, new, absorbed] = ["old", "new", "absorbed"].map(|name| format!("{name}-{round}"));
        commit(&store, &old, b"before", in_an_hour());
        commit(&store, &absorbed, b"absorbed", in_an_hour());
        let updated = AtomicBool::new(false);
        race(|i| {
            if i == 0 {
                let _end_of_update = SetOnDrop(&updated);
                let change = Change::new(b"after", in_an_hour())
                    .with_rotation(Rotation::new(&new))
                    .absorbing(&absorbed, b"absorbed");
                assert!(update(&store, &old, b"before", &change));
                return;
            }
            // The session changes once, so what two finds in a row may show is known.
            loop {
                let over = updated.load(Ordering::Acquire);
                match i % 3 {
                    0 => {
                        if found(&store, &absorbed).is_none() {
                            let data = found(&store, &new);
                            assert_eq!(data.as_deref(), Some(&b"after"[..]), "too early an end");
                        }
                    }
                    1 => {
                        if let Some(data) = found(&store, &new) {
                            assert_eq!(data, b"after", "a new token with old data");
                            assert_eq!(found(&store, &absorbed), None, "too late an end");
                        }
                    }
                    _ => {
                        if let Some(data) = found(&store, &old) {
                            assert_eq!(data, b"before", "an old token with new data");
                        } else {
                            assert_eq!(found(&store, &absorbed), None, "too late an end");
                        }
                    }
                }
                if over {
                    return;
                }
            }
        });
    }
}

/// Clauses 9 and 10: of sessions that absorb each other at the same time, one is left.
pub fn one_of_many_racing_absorptions_wins<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for round in 0..ROUNDS {
        // Each absorbs the next one.
        let token = |i: usize| format!("token-{round}-{}", i % THREADS);
        for i in 0..THREADS {
            commit(&store, &token(i), b"data", in_an_hour());
        }
        let won = race(|i| {
            let other = token(i + 1);
            let change = Change::new(b"merged", in_an_hour()).absorbing(&other, b"data");
            update(&store, &token(i), b"data", &change)
        });
        for i in 0..THREADS {
            let data = found(&store, &token(i));
            // Who has absorbed the next one is not absorbed itself, because its data is new.
            let expected = match (won[i], won[(i + THREADS - 1) % THREADS]) {
                (true, absorbed) => {
                    assert!(!absorbed, "round {round}: {i} won and was absorbed");
                    Some(&b"merged"[..])
                }
                (false, true) => None,
                (false, false) => {
                    assert!(won[(i + 1) % THREADS], "round {round}: {i} was refused for nothing");
                    Some(&b"data"[..])
                }
            };
            assert_eq!(data.as_deref(), expected, "round {round}, session {i}");
        }
        for (token, _, _) in walk(&store) {
            store.delete(&token).expect("delete succeeds");
        }
    }
}

/// Clause 17: stores are `Send + Sync`, and usable as `Arc<dyn Store>`, references and boxes.
pub fn stores_are_shared_and_object_safe<H: Harness>(harness: &H) {
    fn use_through(store: impl Store, token: &str) {
        commit(&store, token, b"data", in_an_hour());
        assert!(found(&store, token).is_some());
        assert!(matches!(store.load(token).expect("load answers"), Loaded::Live { .. }));
        assert!(update(&store, token, b"data", &Change::new(b"new", in_an_hour())));
        let created = format!("{token}-created");
        store.create(&created, b"data", in_an_hour(), None).expect("the token is free");
        store.delete(&created).expect("delete succeeds");
        assert_eq!(store.count().expect("count succeeds"), walk(&store).len() as u64);
        assert_eq!(store.all().expect("all succeeds").len(), walk(&store).len());
    }
    let store: Arc<dyn Store> = Arc::new(unswept(harness));
    use_through(&store, "reference");
    use_through(&*store, "trait-object");
    use_through(Arc::clone(&store), "arc");
    use_through(Box::new(Arc::clone(&store)) as Box<dyn Store>, "box");
    let elsewhere = Arc::clone(&store);
    thread::spawn(move || use_through(elsewhere, "thread")).join().expect("the thread ends well");
    assert_eq!(walk(&store).len(), 5);
}

/// Clause 20: first commits of one token from many threads leave one session.
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

/// Clause 20: of threads that create one session, exactly one succeeds, and its data is what is
/// there afterwards; also where a session under the token has expired.
pub fn one_of_many_racing_creates_wins<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for round in 0..ROUNDS {
        let token = format!("token-{round}");
        if round % 2 == 1 {
            commit(&store, &token, b"expired", an_hour_ago());
        }
        let won = race(|i| {
            let data = format!("round {round} thread {i}");
            match store.create(&token, data.as_bytes(), in_an_hour(), None) {
                Ok(()) => true,
                Err(Error::TokenTaken) => false,
                Err(error) => panic!("create: {error:?}"),
            }
        });
        let winners: Vec<_> = (0..THREADS).filter(|&i| won[i]).collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?} all won");
        let expected = format!("round {round} thread {}", winners[0]);
        assert_eq!(found(&store, &token), Some(expected.into_bytes()));
        assert_eq!(walk(&store).len(), round + 1);
    }
}

/// Clauses 18 and 21: threads that fight over few sessions get no error and lose no write: a
/// counter under `update` counts every increment.
pub fn contention_is_waited_out<H: Harness>(harness: &H) {
    const INCREMENTS: usize = if cfg!(miri) { 3 } else { 25 };
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
        assert!(refused.as_ref() != Some(&current), "update refused the current data");
        let count: usize =
            str::from_utf8(&current).ok().and_then(|n| n.parse().ok()).expect("a whole number");
        let next = (count + 1).to_string();
        if update(store, "counter", &current, &Change::new(next.as_bytes(), in_an_hour())) {
            return;
        }
        refused = Some(current);
        conflicts.fetch_add(1, Ordering::Relaxed);
    }
}

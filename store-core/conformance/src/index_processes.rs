//! Clauses 10, 12, 13, 18 and 28 between processes, about all that belongs to a session.

use std::thread;
use std::time::Instant;

use crate::DurableHarness;
use crate::calls::{commit, found, in_an_hour, lasting, loaded, unswept, update, walk};
use crate::processes::{Helper, role, tell};
use crate::subjects::{create, tokens_of};
use store_core::{Change, Loaded, Store};

/// Clauses 10 and 28: a process killed with SIGKILL at any moment leaves each change done as a
/// whole or not at all, and every change that had returned is done.
pub fn killed_process_leaves_no_half_update<H: DurableHarness>(new: impl Fn() -> H, test: &str) {
    let names = |round: usize| move |name: &str, n: usize| format!("{name}-{round}-{n}");
    if let Some((round, harness)) = role::<H>() {
        let store = unswept(&harness);
        let name = names(round.parse().expect("a whole number"));
        create(&store, &name("session", 0), Some(&name("subject", 0)));
        for n in 0.. {
            // All of it is in one change: data, token, subject, and a session that is absorbed.
            let (old, next) = (name("session", n), name("session", n + 1));
            let (subject, absorbed) = (name("subject", n + 1), name("absorbed", n));
            create(&store, &absorbed, Some(&absorbed));
            let change = Change::new(next.as_bytes(), in_an_hour())
                .with_rotation(lasting(&next).old_token_opens())
                .with_subject(Some(&subject))
                .absorbing(&absorbed, absorbed.as_bytes());
            // All before this one are done.
            tell(&n.to_string());
            assert!(update(&store, &old, old.as_bytes(), &change), "nobody else writes");
        }
    }
    let harness = new();
    for (round, kill_after) in [2, 3, 4, 5, 6, 7, 8, 10, 15, 25].into_iter().enumerate() {
        let mut helper = Helper::start(&harness, test, &round.to_string(), &[]);
        let mut last = helper.told();
        let first_told = Instant::now();
        for _ in 0..kill_after {
            last = helper.told();
            assert!(last.is_some(), "the child ended by itself");
        }
        // Any moment of the next change is as likely as another.
        let moment = first_told.elapsed() / kill_after;
        let moment = moment.mul_f64(fastrand::f64());
        let last_told = Instant::now();
        while last_told.elapsed() < moment {
            thread::yield_now();
        }
        helper.kill();
        while let Some(told) = helper.told() {
            last = Some(told);
        }
        drop(helper);
        let last: usize = last.and_then(|n| n.parse().ok()).expect("it told a number");

        let store = unswept(&harness);
        assert_whole(&store, last, names(round));
        for (token, ..) in walk(&store) {
            store.delete(&token).expect("delete succeeds");
        }
    }
}

/// Checks that the last change that was begun, and all before it, show as a whole or not at all.
fn assert_whole(store: &dyn Store, last: usize, name: impl Fn(&str, usize) -> String) {
    let live: Vec<_> =
        (0..=last + 2).filter(|&n| found(store, &name("session", n)).is_some()).collect();
    assert!(live == [last] || live == [last + 1], "{live:?} are live, and {last} was begun");
    let newest = name("session", live[0]);
    assert_eq!(found(store, &newest), Some(newest.clone().into_bytes()), "the data of its token");
    for n in 0..=last + 2 {
        let of_subject = tokens_of(store, &name("subject", n));
        if n == live[0] {
            assert_eq!(of_subject, [&*newest], "the subject of its token");
            continue;
        }
        assert!(of_subject.is_empty(), "subject {n} of {}", live[0]);
        let expected = if n < live[0] {
            Loaded::Rotated { token: newest.clone(), opens: true }
        } else {
            Loaded::Missing
        };
        assert_eq!(loaded(store, &name("session", n)), expected, "session {n} of {}", live[0]);
    }
    let mut others = 0;
    for n in 0..=last + 2 {
        let absorbed = name("absorbed", n);
        let of_subject = tokens_of(store, &absorbed);
        if found(store, &absorbed).is_some() {
            assert_eq!(n, live[0], "it is absorbed by the next change, and not there before");
            assert_eq!(of_subject, [&*absorbed], "it was created with its subject");
            others += 1;
        } else {
            assert!(of_subject.is_empty(), "an absorbed session has no subject");
        }
    }
    assert_eq!(walk(store).len(), 1 + others);
}

/// Clauses 12 and 13: a rotation by another process leads to the newest token, and a `delete` by an
/// old token ends what another process has rotated.
pub fn grace_is_seen_by_other_processes<H: DurableHarness>(new: impl Fn() -> H, test: &str) {
    const SESSIONS: usize = 4;
    const ROTATIONS: usize = 3;
    let token = |i: usize, n: usize| format!("token-{i}-{n}");
    if let Some((_, harness)) = role::<H>() {
        let store = unswept(&harness);
        for i in 0..SESSIONS {
            for n in 0..ROTATIONS {
                let (old, newest) = (token(i, n), token(i, n + 1));
                let change = Change::new(b"data", in_an_hour())
                    .with_rotation(lasting(&newest).old_token_opens());
                assert!(update(&store, &old, b"data", &change));
            }
        }
        return;
    }
    let harness = new();
    // Closed before the child begins: not every durable database can be open twice.
    let store = unswept(&harness);
    for i in 0..SESSIONS {
        store.create(&token(i, 0), b"data", in_an_hour(), Some("one")).expect("the token is free");
    }
    drop(store);
    Helper::start(&harness, test, "rotate", &[]).finish();

    let store = unswept(&harness);
    for i in 0..SESSIONS {
        let newest = token(i, ROTATIONS);
        for n in 0..ROTATIONS {
            let expected = Loaded::Rotated { token: newest.clone(), opens: true };
            assert_eq!(loaded(&store, &token(i, n)), expected);
            assert_eq!(found(&store, &token(i, n)), None);
        }
        assert_eq!(found(&store, &newest).as_deref(), Some(&b"data"[..]));
        assert_eq!(tokens_of(&store, "one").len(), SESSIONS - i);
        store.delete(&token(i, i % (ROTATIONS + 1))).expect("delete succeeds");
        for n in 0..=ROTATIONS {
            assert_eq!(loaded(&store, &token(i, n)), Loaded::Missing, "session {i}, token {n}");
        }
    }
    assert!(walk(&store).is_empty() && tokens_of(&store, "one").is_empty());
}

/// Clauses 12, 13 and 18: a process ends, by an old token, a session that another process is
/// rotating; until then each old token leads to it.
pub fn process_ends_a_session_that_another_rotates<H: DurableHarness>(
    new: impl Fn() -> H,
    test: &str,
) {
    const ROUNDS: usize = 15;
    // Each rotation leads all older tokens on, so without an end they would take longer and longer.
    const ROTATIONS: usize = 200;
    let token = |round: usize, n: usize| format!("token-{round}-{n}");
    if let Some((_, harness)) = role::<H>() {
        let store = unswept(&harness);
        for round in 0..ROUNDS {
            commit(&store, &token(round, 0), b"data", in_an_hour());
            tell("begun");
            let mut n = 0;
            while n < ROTATIONS {
                let newest = token(round, n + 1);
                let change = Change::new(b"data", in_an_hour()).with_rotation(lasting(&newest));
                if !update(&store, &token(round, n), b"data", &change) {
                    break;
                }
                n += 1;
            }
            tell(&n.to_string());
        }
        return;
    }
    let harness = new();
    let store = unswept(&harness);
    let mut helper = Helper::start(&harness, test, "rotate", &[]);
    for round in 0..ROUNDS {
        assert_eq!(helper.told().as_deref(), Some("begun"));
        // The session that the child rotates is never missing, and its newest token becomes old,
        // but for the last one.
        let last = token(round, ROTATIONS);
        let rotated = |old: &str| loop {
            match loaded(&store, old) {
                Loaded::Live { .. } if old == last => return last.clone(),
                Loaded::Live { .. } => thread::yield_now(),
                Loaded::Rotated { token, .. } => return token,
                Loaded::Missing => panic!("round {round}: the session is lost"),
            }
        };
        let mut used = token(round, 0);
        for _ in 0..round % 3 {
            used = rotated(&used);
        }
        rotated(&used);
        store.delete(&used).expect("delete succeeds");
        // The child may have begun the next one.
        let own = format!("token-{round}-");
        let left = walk(&store).into_iter().filter(|(token, ..)| token.starts_with(&own));
        assert_eq!(left.count(), 0, "round {round}: it has ended");
        let rotations: usize =
            helper.told().and_then(|told| told.parse().ok()).expect("it tells how many");
        for n in 0..=rotations + 1 {
            assert_eq!(loaded(&store, &token(round, n)), Loaded::Missing, "round {round}: {n}");
        }
    }
    helper.finish();
    assert_eq!(walk(&store), []);
}

//! Both sides at the same time, on their own and on the same sessions, while both sweep.

use std::collections::HashMap;
use std::thread;

use chrono::{TimeDelta, Utc};
use store_core::Change;

use crate::places::Place;
use crate::sides::{Pair, Side};

test_everywhere! {
    nothing_is_lost_torn_or_revived_while_both_write_and_sweep,
    update_never_takes_back_what_go_committed,
    session_that_go_deleted_is_not_revived,
}

const THREADS_PER_SIDE: u64 = 4;
const STEPS: usize = 2_000;

fn nothing_is_lost_torn_or_revived_while_both_write_and_sweep(place: Place) {
    let pair = &Pair::with_go_cleanup(place, "5ms");
    let (rust, go) = (&pair.rust, &pair.go);
    let models: Vec<HashMap<String, Vec<u8>>> = thread::scope(|scope| {
        let churners: Vec<_> = (0..THREADS_PER_SIDE)
            .flat_map(|n| [(rust as &dyn Side, 2 * n), (go as &dyn Side, 2 * n + 1)])
            .map(|(side, seed)| scope.spawn(move || churn(side, pair, seed)))
            .collect();
        let models = churners.into_iter().map(|churner| churner.join().expect("it went well"));
        models.collect()
    });

    let expected: HashMap<_, _> = models.into_iter().flatten().collect();
    let shared = |token: &str| token.starts_with("shared");
    let (ours, theirs) = (rust.all(), go.all());
    assert!(ours == theirs, "both list the same sessions");
    let own = ours.iter().filter(|(token, _)| !shared(token)).count();
    assert_eq!(own, expected.len(), "sessions were lost or revived");
    for (token, data) in &expected {
        assert!(ours.get(token) == Some(data), "{token} isn't what was written last");
    }
    rust.0.delete_expired().expect("sweeps");
    assert_eq!(go.rows(), ours.len(), "only live sessions are left");
}

/// Writes, reads and deletes sessions at random, and returns those that must be there at the end.
/// Nobody else writes the thread's own sessions, so what either side finds of them is known.
fn churn(side: &dyn Side, pair: &Pair, seed: u64) -> HashMap<String, Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut model = HashMap::new();
    for _ in 0..STEPS {
        let is_shared = random.u8(0..4) == 0;
        let owner = if is_shared { "shared".to_owned() } else { format!("of-{seed}") };
        let token = format!("{owner}-{}", random.u8(0..6));
        match random.u8(0..9) {
            0..3 => {
                let data = pattern(&mut random);
                side.commit(&token, &data, Utc::now() + TimeDelta::hours(1));
                model.insert(token, data);
            }
            3 => {
                // Long ago, because a statement takes the time at which it begins for the present,
                // and may read what was committed since.
                side.commit(&token, b"late", Utc::now() - TimeDelta::hours(1));
                model.remove(&token);
            }
            4 => {
                side.delete(&token);
                model.remove(&token);
            }
            5 => drop(pair.rust.0.delete_expired().expect("sweeps")),
            _ => {
                let reader: &dyn Side = if random.bool() { &pair.rust } else { &pair.go };
                let found = reader.find(&token);
                if is_shared {
                    assert!(found.as_deref().is_none_or(is_pattern), "{token} is torn");
                } else {
                    assert!(found.as_ref() == model.get(&token), "{token} is not what was written");
                }
            }
        }
    }
    model.retain(|token, _| !token.starts_with("shared"));
    model
}

/// Many times one byte, which also tells how often: parts of two writes can't look like one.
fn pattern(random: &mut fastrand::Rng) -> Vec<u8> {
    let byte = random.u8(..);
    vec![byte; pattern_len(byte)]
}

fn is_pattern(data: &[u8]) -> bool {
    data.first().is_some_and(|first| {
        data.len() == pattern_len(*first) && data.iter().all(|byte| byte == first)
    })
}

fn pattern_len(byte: u8) -> usize {
    1 + usize::from(byte) * 37
}

fn update_never_takes_back_what_go_committed(place: Place) {
    const COMMITS: u32 = 200;
    const UPDATES: u32 = 300;
    let pair = &Pair::new(place);
    let expiry = Utc::now() + TimeDelta::hours(1);
    // The data is two numbers: how often Go has committed, and how often ours has updated it since
    // then.
    let data = |commits: u32, updates: u32| format!("{commits} {updates}").into_bytes();
    pair.go.commit("token", &data(0, 0), expiry);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut newest = 0;
                for _ in 0..UPDATES {
                    let current = pair.rust.find("token").expect("it is never gone");
                    let (commits, updates) = numbers(&current);
                    assert!(commits >= newest, "commit {newest} of Go was taken back");
                    newest = commits;
                    let new = data(commits, updates + 1);
                    let change = Change::new(&new, expiry);
                    pair.rust.0.update("token", &current, &change).expect("updates");
                }
            });
        }
        for commits in 1..=COMMITS {
            pair.go.commit("token", &data(commits, 0), expiry);
        }
    });
    let last = pair.go.find("token").expect("it is there");
    assert_eq!(numbers(&last).0, COMMITS);
}

fn numbers(data: &[u8]) -> (u32, u32) {
    let text = str::from_utf8(data).expect("two numbers");
    let (commits, updates) = text.split_once(' ').expect("two numbers");
    (commits.parse().expect("a number"), updates.parse().expect("a number"))
}

fn session_that_go_deleted_is_not_revived(place: Place) {
    // A bounded number of writes: those of one process that never pause can keep another's waiting
    // for seconds, because a waiting SQLite looks only now and then whether it is its turn.
    const WRITES: usize = 20;
    let pair = &Pair::new(place);
    let expiry = Utc::now() + TimeDelta::hours(1);
    for n in 0..50 {
        let token = &format!("token-{n}");
        let ours = &pair.rust.0;
        pair.go.commit(token, b"data", expiry);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..WRITES {
                    let change = Change::new(b"data", expiry);
                    ours.update(token, b"data", &change).expect("updates");
                }
            });
            scope.spawn(|| {
                for _ in 0..WRITES {
                    ours.touch(token, expiry).expect("touches");
                }
            });
            pair.go.delete(token);
        });
        assert_eq!((pair.go.find(token), pair.rust.find(token)), (None, None));
    }
}

//! Clause 17: random operations, checked against a model.
//!
//! One thread's operations must give what the model gives. The operations of many threads must give
//! what the model gives in *some* order that agrees with real time: if one returned before another
//! began, it comes first (linearizability). The search for that order is the one of Wing and Gong,
//! “Testing and Verifying Concurrent Objects” (1993), with Lowe's memoisation, “Testing for
//! linearizability” (2017). Histories of different objects can be checked apart (Herlihy and Wing,
//! 1990, theorem 1), so operations stay within groups of tokens and each group is an object.

use std::collections::HashSet;
use std::env;
use std::fmt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use chrono::{DateTime, Utc};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::{Harness, SetOnDrop, an_hour_ago, commit, found, in_an_hour, unswept};
use crate::{Error, Store};

/// Set this to the number that a failure prints to try the same operations again.
const SEED_VARIABLE: &str = "STORE_CONFORMANCE_SEED";

const THREADS: usize = 8;
const GROUPS: usize = 20;
/// Tokens in a group; renames stay within one.
const GROUP: usize = 5;

/// What the model knows of a group: the live sessions' data.
type State = [Option<u64>; GROUP];

/// A random operation on token `i` of a group. What data it writes is decided when it runs.
#[derive(Clone, Copy, Debug)]
enum Op {
    Find(usize),
    Commit(usize, Expiry),
    /// Replaces what this thread saw last under the token.
    Replace(usize, Expiry),
    Touch(usize, Expiry),
    Rename(usize, usize),
    Delete(usize),
}

#[derive(Clone, Copy, Debug)]
enum Expiry {
    Live,
    Past,
}

impl Expiry {
    fn instant(self) -> DateTime<Utc> {
        match self {
            Self::Live => in_an_hour(),
            Self::Past => an_hour_ago(),
        }
    }

    /// What the model holds after data was written with this expiry.
    fn keeps(self, data: u64) -> Option<u64> {
        match self {
            Self::Live => Some(data),
            Self::Past => None,
        }
    }
}

/// An operation with the data that it used.
#[derive(Clone, Copy, Debug)]
struct Call {
    op: Op,
    current: u64,
    data: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Found(Option<u64>),
    Answer(bool),
    Taken,
    Done,
}

/// What an operation does to the model, and what it must give.
fn model(state: &mut State, Call { op, current, data }: Call) -> Outcome {
    match op {
        Op::Find(i) => Outcome::Found(state[i]),
        Op::Commit(i, expiry) => {
            state[i] = expiry.keeps(data);
            Outcome::Done
        }
        Op::Replace(i, expiry) => {
            let matches = state[i] == Some(current);
            if matches {
                state[i] = expiry.keeps(data);
            }
            Outcome::Answer(matches)
        }
        Op::Touch(i, expiry) => {
            let live = state[i];
            state[i] = live.and_then(|data| expiry.keeps(data));
            Outcome::Answer(live.is_some())
        }
        Op::Rename(from, to) => match (state[from], state[to]) {
            (None, _) => Outcome::Answer(false),
            (Some(_), _) if from == to => Outcome::Answer(true),
            (Some(_), Some(_)) => Outcome::Taken,
            (Some(data), None) => {
                (state[from], state[to]) = (None, Some(data));
                Outcome::Answer(true)
            }
        },
        Op::Delete(i) => {
            state[i] = None;
            Outcome::Done
        }
    }
}

/// Does to the store what [`model`] does to the model.
fn run(store: &dyn Store, group: usize, Call { op, current, data }: Call) -> Outcome {
    let token = |i| format!("group-{group}-token-{i}");
    let expect = |answer: Result<bool, Error>| match answer {
        Ok(answer) => Outcome::Answer(answer),
        Err(Error::TokenTaken) => Outcome::Taken,
        Err(error) => panic!("{op:?} failed: {error:?}"),
    };
    match op {
        Op::Find(i) => Outcome::Found(found(store, &token(i)).map(|data| decode(&data))),
        Op::Commit(i, expiry) => {
            commit(store, &token(i), &encode(data), expiry.instant());
            Outcome::Done
        }
        Op::Replace(i, expiry) => {
            expect(store.replace(&token(i), &encode(current), &encode(data), expiry.instant()))
        }
        Op::Touch(i, expiry) => expect(store.touch(&token(i), expiry.instant())),
        Op::Rename(from, to) => expect(store.rename(&token(from), &token(to))),
        Op::Delete(i) => {
            store.delete(&token(i)).expect("delete succeeds");
            Outcome::Done
        }
    }
}

/// Data that shows which write it is from, and whether it is whole. Never the same for two numbers.
fn encode(number: u64) -> Vec<u8> {
    let len = 8 + usize::try_from(number % 300).expect("small") * 7;
    number.to_le_bytes().into_iter().cycle().take(len).collect()
}

fn decode(data: &[u8]) -> u64 {
    let number = data.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    match number {
        Some(number) if encode(number) == data => number,
        _ => panic!("a torn value of {} bytes", data.len()),
    }
}

fn ops() -> impl Strategy<Value = Op> {
    let token = || 0..GROUP;
    let expiry = || prop_oneof![4 => Just(Expiry::Live), 1 => Just(Expiry::Past)];
    prop_oneof![
        4 => token().prop_map(Op::Find),
        3 => (token(), expiry()).prop_map(|(i, expiry)| Op::Commit(i, expiry)),
        3 => (token(), expiry()).prop_map(|(i, expiry)| Op::Replace(i, expiry)),
        2 => (token(), expiry()).prop_map(|(i, expiry)| Op::Touch(i, expiry)),
        3 => (token(), token()).prop_map(|(from, to)| Op::Rename(from, to)),
        1 => token().prop_map(Op::Delete),
    ]
}

/// Runs a property over random values, and names the seed when it fails.
fn check<S: Strategy>(cases: u32, values: &S, property: impl Fn(S::Value)) {
    let seed = match env::var(SEED_VARIABLE) {
        Ok(seed) => seed.parse().expect("the seed is a whole number"),
        Err(_) => fastrand::u64(..),
    };
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 200,
        // Milliseconds. Looking for an order that doesn't exist can take long.
        max_shrink_time: 2_000,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(values, |value| {
        property(value);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}\ntry it again with {SEED_VARIABLE}={seed}");
    }
}

/// Clause 17, one thread: random operations give what the model gives, and leave what it holds.
pub fn random_operations_follow_the_model<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let numbers = AtomicU64::new(1);
    check(48, &vec(ops(), 1..60), |ops| {
        let mut state = State::default();
        for i in 0..GROUP {
            run(&store, 0, Call { op: Op::Delete(i), current: 0, data: 0 });
        }
        let mut seen = [0; GROUP];
        for (n, op) in ops.into_iter().enumerate() {
            let call = next_call(op, &seen, &numbers);
            let outcome = run(&store, 0, call);
            remember(&mut seen, call, outcome);
            let expected = model(&mut state, call);
            assert_eq!(outcome, expected, "operation {n}, {call:?}");
        }
        let live = state.iter().flatten().count();
        assert_eq!(store.all().expect("all succeeds").len(), live);
    });
}

/// Clauses 16 and 17: what eight threads see, that commit, find, replace, touch, rename and delete at
/// random over 100 tokens while a ninth sweeps, is explained by some sequential order.
pub fn concurrent_histories_are_linearizable<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let numbers = AtomicU64::new(1);
    // Half of the operations meet in one group, the rest spread over all.
    let group = prop_oneof![Just(0), 0..GROUPS];
    check(6, &vec(vec((group, ops()), 80), THREADS), |programs| {
        for (token, _) in store.all().expect("all succeeds") {
            store.delete(&token).expect("delete succeeds");
        }
        let clock = AtomicU64::new(0);
        let start = Barrier::new(THREADS);
        let done = std::sync::atomic::AtomicBool::new(false);
        let events: Vec<Event> = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    store.delete_expired().expect("the sweep succeeds");
                    thread::yield_now();
                }
            });
            let _end_of_sweeper = SetOnDrop(&done);
            let threads: Vec<_> = programs
                .iter()
                .map(|program| {
                    let (store, clock, start, numbers) = (&store, &clock, &start, &numbers);
                    scope.spawn(move || {
                        let mut seen = [[0; GROUP]; GROUPS];
                        start.wait();
                        program
                            .iter()
                            .map(|&(group, op)| {
                                let call = next_call(op, &seen[group], numbers);
                                let began = clock.fetch_add(1, Ordering::SeqCst);
                                let outcome = run(store, group, call);
                                let ended = clock.fetch_add(1, Ordering::SeqCst);
                                remember(&mut seen[group], call, outcome);
                                Event { group, call, outcome, began, ended }
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|t| t.join().expect("no operation fails")).collect()
        });
        for group in 0..GROUPS {
            let mut history: Vec<_> =
                events.iter().filter(|event| event.group == group).copied().collect();
            history.sort_by_key(|event| event.began);
            assert!(
                is_linearizable(&history),
                "no sequential order explains what was seen:\n{}",
                Listing(&history)
            );
        }
    });
}

fn next_call(op: Op, seen: &[u64; GROUP], numbers: &AtomicU64) -> Call {
    let current = if let Op::Replace(i, _) = op { seen[i] } else { 0 };
    Call { op, current, data: numbers.fetch_add(1, Ordering::Relaxed) }
}

/// Keeps what the thread knows to be under the token, for its next replace.
fn remember(seen: &mut [u64; GROUP], call: Call, outcome: Outcome) {
    match (call.op, outcome) {
        (Op::Find(i), Outcome::Found(Some(data))) => seen[i] = data,
        (Op::Commit(i, _), _) | (Op::Replace(i, _), Outcome::Answer(true)) => seen[i] = call.data,
        (Op::Rename(from, to), Outcome::Answer(true)) => seen[to] = seen[from],
        _ => {}
    }
}

/// An operation as a thread saw it, with the moments between which it took effect.
#[derive(Clone, Copy, Debug)]
struct Event {
    group: usize,
    call: Call,
    outcome: Outcome,
    began: u64,
    ended: u64,
}

/// Whether some order of the events agrees with real time and with the model.
fn is_linearizable(history: &[Event]) -> bool {
    let mut search = Search { history, placed: vec![false; history.len()], tried: HashSet::new() };
    search.place_rest(0, State::default())
}

struct Search<'a> {
    history: &'a [Event],
    placed: Vec<bool>,
    tried: HashSet<(Vec<bool>, State)>,
}

impl Search<'_> {
    /// Tries every event that may come next; `first` is the index before which all are placed.
    fn place_rest(&mut self, mut first: usize, state: State) -> bool {
        while self.placed.get(first) == Some(&true) {
            first += 1;
        }
        if first == self.history.len() {
            return true;
        }
        if !self.tried.insert((self.placed[first..].to_vec(), state)) {
            return false;
        }
        let unplaced = || (first..self.history.len()).filter(|&i| !self.placed[i]);
        // An event may come next if no other had ended before it began.
        let horizon = unplaced().map(|i| self.history[i].ended).min().unwrap_or(u64::MAX);
        let candidates: Vec<_> =
            unplaced().take_while(|&i| self.history[i].began < horizon).collect();
        for i in candidates {
            let mut next = state;
            if model(&mut next, self.history[i].call) == self.history[i].outcome {
                self.placed[i] = true;
                if self.place_rest(first, next) {
                    return true;
                }
                self.placed[i] = false;
            }
        }
        false
    }
}

/// A history, a line an event.
struct Listing<'a>(&'a [Event]);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Event { call, outcome, began, ended, .. } in self.0 {
            writeln!(f, "{began}..{ended}: {call:?} gave {outcome:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(began: u64, ended: u64, op: Op, data: u64, outcome: Outcome) -> Event {
        Event { group: 0, call: Call { op, current: 0, data }, outcome, began, ended }
    }

    #[test]
    fn sequential_history_must_agree_with_the_model() {
        let write = event(0, 1, Op::Commit(0, Expiry::Live), 7, Outcome::Done);
        let good = event(2, 3, Op::Find(0), 0, Outcome::Found(Some(7)));
        let lost = event(2, 3, Op::Find(0), 0, Outcome::Found(None));
        assert!(is_linearizable(&[write, good]));
        assert!(!is_linearizable(&[write, lost]));
    }

    #[test]
    fn overlapping_operations_may_come_in_either_order() {
        let write = event(0, 5, Op::Commit(0, Expiry::Live), 7, Outcome::Done);
        let before = event(1, 2, Op::Find(0), 0, Outcome::Found(None));
        let after = event(3, 4, Op::Find(0), 0, Outcome::Found(Some(7)));
        assert!(is_linearizable(&[write, before, after]));
        let seen_first = event(1, 2, Op::Find(0), 0, Outcome::Found(Some(7)));
        let then_gone = event(3, 4, Op::Find(0), 0, Outcome::Found(None));
        assert!(!is_linearizable(&[write, seen_first, then_gone]));
    }

    #[test]
    fn lost_update_is_not_linearizable() {
        let first = event(0, 1, Op::Commit(0, Expiry::Live), 1, Outcome::Done);
        let replace = |began, data| Event {
            call: Call { op: Op::Replace(0, Expiry::Live), current: 1, data },
            ..event(began, began + 3, Op::Find(0), 0, Outcome::Answer(true))
        };
        assert!(!is_linearizable(&[first, replace(2, 2), replace(3, 3)]));
    }

    #[test]
    fn data_round_trips_and_torn_data_is_noticed() {
        for number in [0, 1, 299, 300, u64::MAX] {
            assert_eq!(decode(&encode(number)), number);
        }
        let torn: Vec<u8> = encode(7).iter().chain(&encode(8)).copied().collect();
        assert!(std::panic::catch_unwind(|| decode(&torn)).is_err());
    }
}

//! Clause 19: random operations, checked against a model.
//!
//! One thread's operations must return what the model returns. Those of many threads must return
//! what the model returns in some order.

mod model;

mod programs;

mod operations;

mod linearizability;

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use proptest::prelude::*;
use store_core::Store;

use crate::Harness;
use crate::calls::{SetOnDrop, unswept};
use linearizability::{Event, Listing, is_linearizable};
use model::{Call, Expiry, GROUP, Op, Outcome, State, model};
use operations::{Group, run};
use programs::{GROUPS, Kind, THREADS, check, indexed, program, programs};

/// Clause 19, one thread: random operations return what the model returns, and leave what it holds.
pub fn random_operations_follow_the_model<H: Harness>(harness: &H) {
    follow_the_model(harness, &program(Kind::Sessions));
}

/// Clauses 12 to 14 and 19, one thread: the same with subjects, and with the grace after a
/// rotation.
pub fn random_operations_on_indexes_follow_the_model<H: Harness>(harness: &H) {
    follow_the_model(harness, &indexed(program));
}

/// Clauses 18 and 19: what eight threads see, that run all operations at random over 100 tokens
/// while a ninth cleans up, is explained by some sequential order.
pub fn concurrent_histories_are_linearizable<H: Harness>(harness: &H) {
    be_linearizable(harness, &programs(Kind::Sessions));
}

/// Clauses 12 to 14, 18 and 19: the same with subjects, and with the grace after a rotation.
pub fn concurrent_histories_of_indexes_are_linearizable<H: Harness>(harness: &H) {
    be_linearizable(harness, &indexed(programs));
}

fn follow_the_model<H: Harness>(harness: &H, programs: &BoxedStrategy<Vec<Op>>) {
    let store = unswept(harness);
    let numbers = AtomicU64::new(1);
    check(48, programs, |ops| {
        delete_all(&store);
        let group = Group { case: numbers.load(Ordering::Relaxed), group: 0 };
        let mut state = State::default();
        let mut seen = Seen::default();
        for (n, op) in ops.into_iter().enumerate() {
            let call = seen.next_call(op, &numbers);
            let call = Call { expected: state.expected(call.op), ..call };
            let outcome = run(&store, group, call);
            seen.remember(call, outcome);
            let expected = model(&mut state, call);
            assert_eq!(outcome, expected, "operation {n}, {call:?}");
        }
        let live = state.sessions.iter().flatten().count();
        assert_eq!(store.all().expect("all succeeds").len(), live);
        assert_eq!(store.count().expect("count succeeds"), live as u64);
        // The next case begins with tokens of its own.
        numbers.fetch_add(1, Ordering::Relaxed);
    });
}

fn be_linearizable<H: Harness>(harness: &H, programs: &BoxedStrategy<Vec<Vec<(usize, Op)>>>) {
    let store = unswept(harness);
    let numbers = AtomicU64::new(1);
    check(6, programs, |programs| {
        delete_all(&store);
        let case = numbers.fetch_add(1, Ordering::Relaxed);
        let events = run_all(&store, case, &programs, &numbers);
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

/// Runs each program on a thread of its own, while one more cleans up.
fn run_all(
    store: &dyn Store,
    case: u64,
    programs: &[Vec<(usize, Op)>],
    numbers: &AtomicU64,
) -> Vec<Event> {
    let clock = AtomicU64::new(0);
    let start = Barrier::new(THREADS);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                store.delete_expired().expect("delete_expired succeeds");
                thread::yield_now();
            }
        });
        let _end_of_cleanup = SetOnDrop(&done);
        let threads: Vec<_> = programs
            .iter()
            .map(|program| {
                let (clock, start) = (&clock, &start);
                scope.spawn(move || {
                    let mut seen = [Seen::default(); GROUPS];
                    start.wait();
                    program
                        .iter()
                        .map(|&(group, op)| {
                            let call = seen[group].next_call(op, numbers);
                            let began = clock.fetch_add(1, Ordering::SeqCst);
                            let outcome = run(store, Group { case, group }, call);
                            let ended = clock.fetch_add(1, Ordering::SeqCst);
                            seen[group].remember(call, outcome);
                            Event { group, call, outcome, began, ended }
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().expect("no operation fails")).collect()
    })
}

fn delete_all(store: &dyn Store) {
    for token in store.all().expect("all succeeds").keys() {
        store.delete(token).expect("delete succeeds");
    }
}

/// What a thread has seen of a group.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// The data that was last under each token.
    data: [u64; GROUP],
    /// Which tokens name live sessions, unless another thread has changed that.
    live: [bool; GROUP],
}

impl Seen {
    /// One of the tokens that do, or don't, name a live session. The first token stands for itself,
    /// so that what can't be done is tried as well.
    fn pick(&self, i: usize, is_live: bool) -> usize {
        let picked: Vec<_> = (0..GROUP).filter(|&token| self.live[token] == is_live).collect();
        if i == 0 || picked.is_empty() { i } else { picked[i % picked.len()] }
    }

    /// The same operation on tokens for which it can be done.
    fn aim(&self, op: Op) -> Op {
        match op {
            Op::Create(i, expiry, subject, expected) => {
                Op::Create(self.pick(i, false), expiry, subject, expected)
            }
            Op::Update(i, expiry, mut parts) => {
                if let Some(rotation) = &mut parts.rotation {
                    rotation.to = self.pick(rotation.to, false);
                }
                parts.absorbed = parts.absorbed.map(|other| self.pick(other, true));
                Op::Update(self.pick(i, true), expiry, parts)
            }
            op => op,
        }
    }

    fn next_call(&self, op: Op, numbers: &AtomicU64) -> Call {
        let op = self.aim(op);
        let (current, absorbed) = match op {
            Op::Update(i, _, parts) => {
                (self.data[i], parts.absorbed.map_or(0, |other| self.data[other]))
            }
            _ => (0, 0),
        };
        let data = numbers.fetch_add(1, Ordering::Relaxed);
        Call { op, current, absorbed, data, expected: [false; GROUP] }
    }

    fn set(&mut self, i: usize, data: u64) {
        (self.data[i], self.live[i]) = (data, true);
    }

    /// Keeps what an operation shows.
    fn remember(&mut self, call: Call, outcome: Outcome) {
        match (call.op, outcome) {
            (Op::Find(i) | Op::Load(i), Outcome::Found(Some(data))) => self.set(i, data),
            (Op::Find(i) | Op::Load(i) | Op::Delete(i) | Op::Touch(i, Expiry::Past), _) => {
                self.live[i] = false;
            }
            (Op::Commit(i, expiry), Outcome::Done)
            | (Op::Create(i, expiry, ..), Outcome::Answer(true)) => {
                self.set(i, call.data);
                self.live[i] = matches!(expiry, Expiry::Live);
            }
            (Op::Create(i, ..), Outcome::Taken) => self.live[i] = true,
            (Op::Update(i, expiry, parts), Outcome::Answer(true)) => {
                self.live[i] = false;
                if let Some(other) = parts.absorbed {
                    self.live[other] = false;
                }
                let newest = parts.rotation.map_or(i, |rotation| rotation.to);
                self.set(newest, call.data);
                self.live[newest] = matches!(expiry, Expiry::Live);
            }
            (Op::FindBySubject(_), Outcome::Records(records)) => {
                for (i, data) in records.into_iter().enumerate() {
                    if let Some(data) = data {
                        self.set(i, data);
                    }
                }
            }
            _ => {}
        }
    }
}

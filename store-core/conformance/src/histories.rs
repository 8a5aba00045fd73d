//! Clause 19: random operations, checked against a model.
//!
//! One thread's operations must return what the model returns. The operations of many threads must
//! return what the model returns in *some* order that agrees with real time: if one returned before
//! another began, it comes first (linearizability). The search for that order is the one of Wing
//! and Gong, “Testing and Verifying Concurrent Objects” (1993), with Lowe's memoisation, “Testing
//! for linearizability” (2017). Histories of different objects can be checked apart (Herlihy and
//! Wing, 1990, theorem 1), so operations stay within groups of tokens and each group is an object.

use std::collections::HashSet;
use std::env;
use std::fmt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::Harness;
use crate::calls::{HOUR, SetOnDrop, an_hour_ago, commit, found, in_an_hour, loaded, unswept};
use store_core::{Change, Error, Loaded, Rotation, Store};

/// Set this to the number that a failure prints to try the same operations again.
const SEED_VARIABLE: &str = "STORE_CONFORMANCE_SEED";

const THREADS: usize = 8;
const GROUPS: usize = 20;
/// Tokens in a group; rotations and absorptions stay within one.
const GROUP: usize = 5;

/// Subjects of a group; they stay within one, so that a group is still one object.
const SUBJECTS: usize = 2;

/// What a history is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The table of sessions alone: no subjects, and no rotation has a grace.
    Sessions,
    /// Subjects and graces, with commits. Nothing expires: what subject a session has that is
    /// committed over an expired one is left open.
    IndexesWithCommits,
    /// Subjects and graces, with expiries in the past, and without commits.
    IndexesWithExpiries,
}

/// What the model knows of a group: the live sessions, and what has become of old tokens. No grace
/// ends, so a rotation that has one is known until the old token is rotated again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    sessions: [Option<Session>; GROUP],
    rotated: [Option<Rotated>; GROUP],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Session {
    data: u64,
    subject: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Rotated {
    newest: usize,
    opens: bool,
}

impl State {
    /// Where the session lives that was rotated away from a token.
    fn rotated(&self, i: usize) -> Option<Rotated> {
        self.rotated[i].filter(|rotated| self.sessions[rotated.newest].is_some())
    }

    /// Where the session lives that a token names, or named before.
    fn live_or_rotated(&self, i: usize) -> Option<usize> {
        match self.sessions[i] {
            Some(_) => Some(i),
            None => self.rotated(i).map(|rotated| rotated.newest),
        }
    }

    /// Leads the tokens that led to one on to another.
    fn lead(&mut self, i: usize, to: usize, opens: bool) {
        for rotated in self.rotated.iter_mut().flatten().filter(|rotated| rotated.newest == i) {
            *rotated = Rotated { newest: to, opens: rotated.opens && opens };
        }
    }

    fn has(&self, i: usize, data: u64) -> bool {
        self.sessions[i].is_some_and(|session| session.data == data)
    }

    fn of_subject(&self, subject: usize) -> [Option<u64>; GROUP] {
        self.sessions.map(|session| {
            session.filter(|session| session.subject == Some(subject)).map(|session| session.data)
        })
    }
}

/// A random operation on token `i` of a group. What data it writes is decided when it runs.
#[derive(Clone, Copy, Debug)]
enum Op {
    Find(usize),
    Load(usize),
    Commit(usize, Expiry),
    Create(usize, Expiry, Option<usize>),
    /// Updates what this thread saw last under the token.
    Update(usize, Expiry, Parts),
    Touch(usize, Expiry),
    Delete(usize),
    FindBySubject(usize),
    DeleteBySubject(usize, Option<usize>),
}

/// What an update changes besides data and expiry.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    rotation: Option<Target>,
    subject: NewSubject,
    /// Absorbs what this thread saw last under the token. There is a rotation then, if only to the
    /// same token, which says how long the grace is.
    absorbed: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum NewSubject {
    #[default]
    Unchanged,
    None,
    Some(usize),
}

impl NewSubject {
    fn after(self, before: Option<usize>) -> Option<usize> {
        match self {
            Self::Unchanged => before,
            Self::None => None,
            Self::Some(subject) => Some(subject),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Target {
    to: usize,
    opens: bool,
    grace: Grace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grace {
    Hour,
    None,
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

    /// What the model holds after a session was written with this expiry.
    fn keeps(self, session: Session) -> Option<Session> {
        match self {
            Self::Live => Some(session),
            Self::Past => None,
        }
    }
}

/// An operation with the data that it used.
#[derive(Clone, Copy, Debug)]
struct Call {
    op: Op,
    current: u64,
    absorbed: u64,
    data: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Found(Option<u64>),
    Rotated(usize, bool),
    Answer(bool),
    Taken,
    Done,
    Records([Option<u64>; GROUP]),
    Count(u64),
}

/// What an operation does to the model, and what it must return.
fn model(state: &mut State, call: Call) -> Outcome {
    let Call { op, data, .. } = call;
    match op {
        Op::Find(i) => Outcome::Found(state.sessions[i].map(|session| session.data)),
        Op::Load(i) => match (state.sessions[i], state.rotated(i)) {
            (None, Some(Rotated { newest, opens })) => Outcome::Rotated(newest, opens),
            (session, _) => Outcome::Found(session.map(|session| session.data)),
        },
        Op::Commit(i, expiry) => {
            let subject = state.sessions[i].and_then(|session| session.subject);
            state.sessions[i] = expiry.keeps(Session { data, subject });
            Outcome::Done
        }
        Op::Create(i, ..) if state.sessions[i].is_some() => Outcome::Taken,
        Op::Create(i, expiry, subject) => {
            state.sessions[i] = expiry.keeps(Session { data, subject });
            Outcome::Done
        }
        Op::Update(i, expiry, parts) => model_update(state, call, i, expiry, parts),
        Op::Touch(i, expiry) => {
            let live = state.sessions[i];
            state.sessions[i] = live.and_then(|session| expiry.keeps(session));
            Outcome::Answer(live.is_some())
        }
        Op::Delete(i) => {
            if let Some(i) = state.live_or_rotated(i) {
                state.sessions[i] = None;
            }
            Outcome::Done
        }
        Op::FindBySubject(subject) => Outcome::Records(state.of_subject(subject)),
        Op::DeleteBySubject(subject, except) => {
            let except = except.and_then(|except| state.live_or_rotated(except));
            let mut count = 0;
            for (i, session) in state.of_subject(subject).iter().enumerate() {
                if session.is_some() && except != Some(i) {
                    state.sessions[i] = None;
                    count += 1;
                }
            }
            Outcome::Count(count)
        }
    }
}

fn model_update(
    state: &mut State,
    Call { current, absorbed, data, .. }: Call,
    i: usize,
    expiry: Expiry,
    parts: Parts,
) -> Outcome {
    let Some(session) = state.sessions[i].filter(|session| session.data == current) else {
        return Outcome::Answer(false);
    };
    if parts.absorbed.is_some_and(|other| other == i || !state.has(other, absorbed)) {
        return Outcome::Answer(false);
    }
    let rotation = parts.rotation.filter(|rotation| rotation.to != i);
    if rotation.is_some_and(|rotation| state.sessions[rotation.to].is_some()) {
        return Outcome::Taken;
    }
    if let (Some(other), Some(Target { to, grace, .. })) = (parts.absorbed, parts.rotation) {
        state.sessions[other] = None;
        // Its tokens lead to what absorbed it, and open nothing.
        state.lead(other, to, false);
        state.rotated[other] =
            (grace == Grace::Hour).then_some(Rotated { newest: to, opens: false });
    }
    let subject = parts.subject.after(session.subject);
    state.sessions[i] = None;
    let to = rotation.map_or(i, |rotation| rotation.to);
    state.sessions[to] = expiry.keeps(Session { data, subject });
    if let Some(Target { to, opens, grace }) = rotation {
        state.lead(i, to, opens);
        state.rotated[i] = (grace == Grace::Hour).then_some(Rotated { newest: to, opens });
    }
    Outcome::Answer(true)
}

/// The names of a group of tokens in a store. Each case has tokens of its own, because what a store
/// knows of rotations doesn't end with their sessions.
#[derive(Clone, Copy)]
struct Group {
    case: u64,
    group: usize,
}

impl Group {
    fn token(self, i: usize) -> String {
        format!("case-{}-group-{}-token-{i}", self.case, self.group)
    }

    fn subject(self, i: usize) -> String {
        format!("case-{}-group-{}-subject-{i}", self.case, self.group)
    }

    fn index(self, token: &str) -> usize {
        (0..GROUP).find(|&i| self.token(i) == token).expect("a token of the group")
    }
}

/// Does to the store what [`model`] does to the model.
fn run(store: &dyn Store, group: Group, call: Call) -> Outcome {
    let Call { op, data, .. } = call;
    let token = |i| group.token(i);
    match op {
        Op::Find(i) => Outcome::Found(found(store, &token(i)).map(|data| decode(&data))),
        Op::Load(i) => match loaded(store, &token(i)) {
            Loaded::Live { data, .. } => Outcome::Found(Some(decode(&data))),
            Loaded::Rotated { token, opens } => Outcome::Rotated(group.index(&token), opens),
            Loaded::Missing => Outcome::Found(None),
        },
        Op::Commit(i, expiry) => {
            commit(store, &token(i), &encode(data), expiry.instant());
            Outcome::Done
        }
        Op::Create(i, expiry, subject) => {
            let subject = subject.map(|subject| group.subject(subject));
            match store.create(&token(i), &encode(data), expiry.instant(), subject.as_deref()) {
                Ok(()) => Outcome::Done,
                Err(Error::TokenTaken) => Outcome::Taken,
                Err(error) => panic!("{op:?} failed: {error:?}"),
            }
        }
        Op::Update(i, expiry, parts) => run_update(store, group, call, i, expiry, parts),
        Op::Touch(i, expiry) => {
            Outcome::Answer(store.touch(&token(i), expiry.instant()).expect("touch answers"))
        }
        Op::Delete(i) => {
            store.delete(&token(i)).expect("delete succeeds");
            Outcome::Done
        }
        Op::FindBySubject(subject) => {
            let mut records = [None; GROUP];
            for record in store.find_by_subject(&group.subject(subject)).expect("it succeeds") {
                let earlier = records[group.index(&record.token)].replace(decode(&record.data));
                assert_eq!(earlier, None, "a session is found once");
            }
            Outcome::Records(records)
        }
        Op::DeleteBySubject(subject, except) => {
            let except = except.map(token);
            let count = store.delete_by_subject(&group.subject(subject), except.as_deref());
            Outcome::Count(count.expect("it succeeds"))
        }
    }
}

fn run_update(
    store: &dyn Store,
    group: Group,
    Call { current, absorbed, data, .. }: Call,
    i: usize,
    expiry: Expiry,
    parts: Parts,
) -> Outcome {
    let (data, absorbed) = (encode(data), encode(absorbed));
    let new_token = parts.rotation.map(|rotation| group.token(rotation.to)).unwrap_or_default();
    let other = parts.absorbed.map(|other| group.token(other)).unwrap_or_default();
    let subject = parts.subject.after(None).map(|subject| group.subject(subject));
    let mut change = Change::new(&data, expiry.instant());
    if let Some(Target { opens, grace, .. }) = parts.rotation {
        let grace = if grace == Grace::Hour { HOUR } else { Duration::ZERO };
        let rotation = Rotation::new(&new_token).with_grace(grace);
        change = change.with_rotation(if opens { rotation.old_token_opens() } else { rotation });
    }
    if parts.subject != NewSubject::Unchanged {
        change = change.with_subject(subject.as_deref());
    }
    if parts.absorbed.is_some() {
        change = change.absorbing(&other, &absorbed);
    }
    match store.update(&group.token(i), &encode(current), &change) {
        Ok(answer) => Outcome::Answer(answer),
        Err(Error::TokenTaken) => Outcome::Taken,
        Err(error) => panic!("an update failed: {error:?}"),
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

fn ops(kind: Kind) -> BoxedStrategy<Op> {
    let token = || 0..GROUP;
    let past = u32::from(kind != Kind::IndexesWithCommits);
    let expiry = move || prop_oneof![4 => Just(Expiry::Live), past => Just(Expiry::Past)];
    // Old tokens are asked for, and sessions changed in many ways, more often where that is the
    // point.
    let (commits, loads, changes) = match kind {
        Kind::Sessions => (3, 2, 4),
        Kind::IndexesWithCommits => (2, 6, 10),
        Kind::IndexesWithExpiries => (0, 6, 10),
    };
    let of_sessions = prop_oneof![
        3 => token().prop_map(Op::Find),
        loads => token().prop_map(Op::Load),
        3 => (token(), expiry(), subjects(kind))
            .prop_map(|(i, expiry, subject)| Op::Create(i, expiry, subject.after(None))),
        2 => (token(), expiry()).prop_map(|(i, expiry)| Op::Update(i, expiry, Parts::default())),
        changes => (token(), expiry(), parts(kind))
            .prop_map(|(i, expiry, parts)| Op::Update(i, expiry, parts)),
        2 => (token(), expiry()).prop_map(|(i, expiry)| Op::Touch(i, expiry)),
        1 => token().prop_map(Op::Delete),
        // Last, because a failure is narrowed down to what stands before it.
        commits => (token(), expiry()).prop_map(|(i, expiry)| Op::Commit(i, expiry)),
    ];
    if kind == Kind::Sessions {
        return of_sessions.boxed();
    }
    prop_oneof![
        10 => of_sessions,
        2 => (0..SUBJECTS).prop_map(Op::FindBySubject),
        1 => (0..SUBJECTS, option::of(token()))
            .prop_map(|(subject, except)| Op::DeleteBySubject(subject, except)),
    ]
    .boxed()
}

/// What an update does with the subject.
fn subjects(kind: Kind) -> BoxedStrategy<NewSubject> {
    match kind {
        Kind::Sessions => Just(NewSubject::Unchanged).boxed(),
        Kind::IndexesWithCommits | Kind::IndexesWithExpiries => prop_oneof![
            5 => Just(NewSubject::Unchanged),
            1 => Just(NewSubject::None),
            4 => (0..SUBJECTS).prop_map(NewSubject::Some),
        ]
        .boxed(),
    }
}

fn parts(kind: Kind) -> impl Strategy<Value = Parts> {
    let hours = if kind == Kind::Sessions { 0 } else { 4 };
    let grace = prop_oneof![1 => Just(Grace::None), hours => Just(Grace::Hour)];
    let target = (0..GROUP, prop_oneof![2 => Just(true), 1 => Just(false)], grace)
        .prop_map(|(to, opens, grace)| Target { to, opens, grace });
    (option::weighted(0.8, target), subjects(kind), option::weighted(0.3, 0..GROUP)).prop_map(
        |(rotation, subject, absorbed)| Parts {
            rotation,
            subject,
            absorbed: absorbed.filter(|_| rotation.is_some()),
        },
    )
}

/// Histories of both indexes, half of which have commits and the other half expiries.
fn indexed<S: Strategy + 'static>(of_kind: fn(Kind) -> S) -> BoxedStrategy<S::Value> {
    prop_oneof![of_kind(Kind::IndexesWithCommits), of_kind(Kind::IndexesWithExpiries)].boxed()
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
        max_shrink_time: 500,
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

/// The operations of one thread on one group.
fn program(kind: Kind) -> BoxedStrategy<Vec<Op>> {
    // More of them where a failure takes more steps.
    let longest = if kind == Kind::Sessions { 60 } else { 120 };
    vec(ops(kind), 1..longest).boxed()
}

/// The operations of each thread, and their groups.
fn programs(kind: Kind) -> BoxedStrategy<Vec<Vec<(usize, Op)>>> {
    // Half of the operations meet in one group, the rest spread over all.
    let group = prop_oneof![Just(0), 0..GROUPS];
    vec(vec((group, ops(kind)), 80), THREADS).boxed()
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
            Op::Create(i, expiry, subject) => Op::Create(self.pick(i, false), expiry, subject),
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
        Call { op, current, absorbed, data: numbers.fetch_add(1, Ordering::Relaxed) }
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
            (Op::Commit(i, expiry) | Op::Create(i, expiry, _), Outcome::Done) => {
                self.set(i, call.data);
                self.live[i] = matches!(expiry, Expiry::Live);
            }
            (Op::Create(i, ..), _) => self.live[i] = true,
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
        Event { group: 0, call: Call { op, current: 0, absorbed: 0, data }, outcome, began, ended }
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
        let op = Op::Update(0, Expiry::Live, Parts::default());
        let update = |began, data| Event {
            call: Call { op, current: 1, absorbed: 0, data },
            ..event(began, began + 3, Op::Find(0), 0, Outcome::Answer(true))
        };
        assert!(!is_linearizable(&[first, update(2, 2), update(3, 3)]));
    }

    #[test]
    fn model_leads_old_tokens_to_the_newest() {
        let mut state = State::default();
        let rotate = |to, opens| Parts {
            rotation: Some(Target { to, opens, grace: Grace::Hour }),
            ..Parts::default()
        };
        let mut done = |op| model(&mut state, Call { op, current: 1, absorbed: 0, data: 1 });
        assert_eq!(done(Op::Create(0, Expiry::Live, Some(1))), Outcome::Done);
        for (from, opens) in [(0, true), (1, true), (2, false)] {
            let update = Op::Update(from, Expiry::Live, rotate(from + 1, opens));
            assert_eq!(done(update), Outcome::Answer(true));
            assert_eq!(done(Op::Load(0)), Outcome::Rotated(from + 1, opens));
        }
        let mut records = [None; GROUP];
        records[3] = Some(1);
        assert_eq!(done(Op::FindBySubject(1)), Outcome::Records(records));
        assert_eq!(done(Op::DeleteBySubject(1, Some(0))), Outcome::Count(0));
        assert_eq!(done(Op::Delete(1)), Outcome::Done);
        assert_eq!(done(Op::Load(0)), Outcome::Found(None));
        assert_eq!(done(Op::Load(3)), Outcome::Found(None));
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

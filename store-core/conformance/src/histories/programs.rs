//! Random programs of operations, and how they are tried.

use std::env;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::model::{Expected, Expiry, GROUP, Grace, NewSubject, Op, Parts, SUBJECTS, Target};

/// Set this to the number that a failure prints to try the same operations again.
const SEED_VARIABLE: &str = "STORE_CONFORMANCE_SEED";

pub(super) const THREADS: usize = 8;

pub(super) const GROUPS: usize = 20;

/// What a history is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The table of sessions alone: no subjects, and no rotation has a grace.
    Sessions,
    /// Subjects and graces, with commits. Nothing expires: what subject a session has that is
    /// committed over an expired one is left open.
    IndexesWithCommits,
    /// Subjects and graces, with expiries in the past, and without commits.
    IndexesWithExpiries,
}

/// `expects` is whether some writes expect which sessions a subject has.
fn ops(kind: Kind, expects: bool) -> BoxedStrategy<Op> {
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
        3 => (token(), expiry(), subjects(kind), expected(expects)).prop_map(
            |(i, expiry, subject, expected)| Op::Create(i, expiry, subject.after(None), expected),
        ),
        2 => (token(), expiry()).prop_map(|(i, expiry)| Op::Update(i, expiry, Parts::default())),
        changes => (token(), expiry(), parts(kind), expected(expects)).prop_map(
            |(i, expiry, parts, expected)| Op::Update(i, expiry, Parts { expected, ..parts }),
        ),
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
pub(super) fn subjects(kind: Kind) -> BoxedStrategy<NewSubject> {
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

/// What a write expects of a subject's sessions.
fn expected(expects: bool) -> BoxedStrategy<Option<Expected>> {
    if !expects {
        return Just(None).boxed();
    }
    let but = option::weighted(0.3, 0..GROUP);
    let expected = (0..SUBJECTS, but).prop_map(|(subject, but)| Expected { subject, but });
    option::weighted(0.3, expected).boxed()
}

pub(super) fn parts(kind: Kind) -> impl Strategy<Value = Parts> {
    let hours = if kind == Kind::Sessions { 0 } else { 4 };
    let grace = prop_oneof![1 => Just(Grace::None), hours => Just(Grace::Hour)];
    let target = (0..GROUP, prop_oneof![2 => Just(true), 1 => Just(false)], grace)
        .prop_map(|(to, opens, grace)| Target { to, opens, grace });
    (option::weighted(0.8, target), subjects(kind), option::weighted(0.3, 0..GROUP)).prop_map(
        |(rotation, subject, absorbed)| Parts {
            rotation,
            subject,
            absorbed: absorbed.filter(|_| rotation.is_some()),
            expected: None,
        },
    )
}

/// Histories of both indexes, half of which have commits and the other half expiries.
pub(super) fn indexed<S: Strategy + 'static>(of_kind: fn(Kind) -> S) -> BoxedStrategy<S::Value> {
    prop_oneof![of_kind(Kind::IndexesWithCommits), of_kind(Kind::IndexesWithExpiries)].boxed()
}

/// The operations of one thread on one group.
pub(super) fn program(kind: Kind) -> BoxedStrategy<Vec<Op>> {
    // More of them where a failure takes more steps.
    let longest = if kind == Kind::Sessions { 60 } else { 120 };
    vec(ops(kind, kind != Kind::Sessions), 1..longest).boxed()
}

/// The operations of each thread, and their groups.
pub(super) fn programs(kind: Kind) -> BoxedStrategy<Vec<Vec<(usize, Op)>>> {
    // Half of the operations meet in one group, the rest spread over all.
    let group = prop_oneof![Just(0), 0..GROUPS];
    // No write expects a subject's sessions: what others do to them at the same time without an
    // expectation, a store needn't notice.
    vec(vec((group, ops(kind, false)), 80), THREADS).boxed()
}

/// Runs a property over random values, and names the seed when it fails.
pub(super) fn check<S: Strategy>(cases: u32, values: &S, property: impl Fn(S::Value)) {
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

//! Models of threads that share a store, tried under a great many schedules.
//!
//! A model is a test of the crates' own code, in which shuttle decides at each use of a lock, a
//! condition, an atomic or a channel which thread goes on, and how much time has passed. Two
//! schedulers take half of the schedules each: one chooses at random, and one gives threads random
//! priorities and changes these at a few random moments (PCT), which finds what needs one thread to
//! stop at a certain place for long.
//!
//! `cargo xtask schedules` runs them, and sets the variables that are read here.
#![cfg(shuttle)]

use std::env;
use std::str::FromStr;
use std::sync::Arc;

use shuttle::scheduler::{
    PctScheduler, RandomScheduler, ReplayScheduler, Scheduler,
    UncontrolledNondeterminismCheckScheduler,
};
use shuttle::{Config, MaxSteps, Runner};

/// How many schedules of each model are tried, if `SCHEDULES` doesn't say it.
const DEFAULT_SCHEDULES: usize = 500;

/// How many of them are tried twice, to see that a schedule decides all that happens.
const REPEATED_SCHEDULES: usize = 20;

/// How often PCT changes the priorities of threads, plus one.
const PCT_DEPTH: usize = 4;

/// A schedule that takes more steps than this doesn't end.
const MAX_STEPS: usize = 20_000;

/// Bytes of a thread's stack. A manager decodes JSON on it.
const STACK_SIZE: usize = 256 << 10;

/// Tries a model under many schedules, or under the one that `SCHEDULE` names. `SCHEDULES_SEED`
/// decides which they are.
///
/// # Panics
/// If one of them fails. The schedule is printed.
///
/// # Examples
/// ```
/// schedules::explore(|| {
///     let thread = shuttle::thread::spawn(|| 1);
///     assert_eq!(thread.join().ok(), Some(1));
/// });
/// ```
pub fn explore(model: impl Fn() + Send + Sync + 'static) {
    let model = Arc::new(model);
    if let Ok(schedule) = env::var("SCHEDULE") {
        run(ReplayScheduler::new_from_encoded(&schedule), &model);
        return;
    }
    let schedules = variable("SCHEDULES").unwrap_or(DEFAULT_SCHEDULES);
    let seed = variable("SCHEDULES_SEED").unwrap_or_default();
    let repeated = RandomScheduler::new_from_seed(seed, REPEATED_SCHEDULES);
    run(UncontrolledNondeterminismCheckScheduler::new(repeated), &model);
    run(RandomScheduler::new_from_seed(seed, schedules.div_ceil(2)), &model);
    run(PctScheduler::new_from_seed(seed, PCT_DEPTH, schedules / 2), &model);
}

fn run(scheduler: impl Scheduler + 'static, model: &Arc<impl Fn() + Send + Sync + 'static>) {
    let mut config = Config::new();
    config.stack_size = STACK_SIZE;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    // They say that shuttle takes every ordering of atomics for `SeqCst`; Miri tries weaker ones.
    config.silence_warnings = true;
    let model = Arc::clone(model);
    Runner::new(scheduler, config).run(move || model());
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    let parsed = value.parse().ok();
    assert!(parsed.is_some(), "{name} is no number: {value:?}");
    parsed
}

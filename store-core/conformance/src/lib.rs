//! The conformance kit: what every store promises, as tests.
//!
//! Each promise is a function named as a claim, which panics where the store breaks it. A store
//! runs them all with one short file, `tests/conformance.rs`: a [`Harness`] that opens the store,
//! and one call of [`conformance_tests!`](crate::conformance_tests).
//!
//! ```
//! use store_conformance::Harness;
//! use store_core::{CleanupOptions, Limits, MemoryOptions, MemoryStore};
//!
//! struct Memory;
//!
//! impl Harness for Memory {
//!     type Store = MemoryStore;
//!
//!     fn store(&self, cleanup: CleanupOptions) -> MemoryStore {
//!         MemoryOptions::new().with_cleanup(cleanup).build().expect("threads are to be had")
//!     }
//!
//!     fn limits(&self) -> Limits {
//!         Limits::DEFAULT
//!     }
//! }
//!
//! store_conformance::conformance_tests!(Memory);
//! # fn main() {}
//! ```
//!
//! A store that keeps sessions beyond the life of the process adds [`DurableHarness`] and says
//! `conformance_tests!(…, durable)`; one whose database several processes use at the same time says
//! `conformance_tests!(…, durable, shared)`. These start child processes of the test binary.
//!
//! These claims need the table of sessions alone. A store that keeps the two indexes next to it, of
//! subjects and of rotations, adds [`index_conformance_tests!`](crate::index_conformance_tests)
//! with the same arguments.
//!
//! # The clauses
//! Claims marked † are those of `index_conformance_tests!`.
//!
//! | clause | claims |
//! |---|---|
//! | 1 what isn't there is not found | [`missing_sessions_are_not_found`], [`expired_session_is_not_found`], [`impossible_tokens_are_not_found`] |
//! | 2 bytes come back as they were | [`data_comes_back_byte_for_byte`] |
//! | 3 commit creates or overwrites | [`commit_overwrites_data_and_expiry`], [`commit_over_an_expired_session_leaves_one`] |
//! | 4 expiry in the past | [`commit_in_the_past_leaves_nothing_findable`] |
//! | 5 tokens byte for byte | [`tokens_are_compared_byte_for_byte`] |
//! | 6 tokens are data | [`hostile_tokens_are_data`] |
//! | 7 refusals | [`invalid_tokens_are_refused`], [`oversized_data_is_refused_and_changes_nothing`], [`refused_update_changes_nothing`] |
//! | 8 expiry | [`expiry_is_kept_to_the_millisecond`], [`load_agrees_with_find`], [`extreme_expiries_do_no_harm`] |
//! | 9 update and touch | [`update_needs_the_current_data`], [`update_never_creates_or_revives`], [`update_absorbs_other_sessions`], [`one_of_many_racing_updates_wins`], [`one_of_many_racing_absorptions_wins`], [`touch_moves_the_expiry_alone`], [`touch_never_creates_or_revives`] |
//! | 10 all or nothing | [`create_makes_new_sessions_only`], [`refused_update_changes_nothing`], [`update_is_seen_as_one_step`], [`update_does_all_of_a_change`] †, [`refused_update_leaves_the_indexes_alone`] †, [`find_by_subject_sees_changes_as_one_step`] †, [`killed_process_leaves_no_half_update`] † (durable) |
//! | 11 rotation | [`rotation_moves_the_whole_session`], [`rotation_to_a_taken_token_changes_nothing`], [`rotation_of_a_missing_session_is_false`], [`rotation_is_seen_as_one_step`], [`one_of_many_racing_rotations_wins`] |
//! | 12 grace | [`old_tokens_lead_to_the_newest`] †, [`old_token_finds_and_writes_nothing`] †, [`old_token_can_be_used_again`] †, [`grace_ends`] †, [`absorbed_tokens_lead_to_the_absorbing_session`] †, [`old_tokens_end_with_the_session`] †, [`old_tokens_are_compared_byte_for_byte`] †, [`sweep_leaves_rotations_that_last`] †, [`load_never_loses_a_rotated_session`] †, [`grace_is_seen_by_other_processes`] † (durable) |
//! | 13 delete | [`delete_is_final_and_idempotent`], [`delete_follows_rotations`] †, [`delete_ends_a_session_that_is_being_rotated`] †, [`deleting_by_subject_removes_all_but_one`] †, [`exception_of_delete_by_subject_follows_rotations`] †, [`delete_by_subject_is_seen_as_one_step`] †, [`delete_by_subject_ends_sessions_that_are_being_rotated`] †, [`process_ends_a_session_that_another_rotates`] † (shared) |
//! | 14 subjects | [`subject_finds_its_live_sessions`] †, [`writes_leave_the_subject_alone`] †, [`created_session_has_its_own_subject`] †, [`subject_follows_a_rotation`] †, [`subject_ends_with_the_session`] †, [`refused_subject_is_not_kept`] †, [`subjects_are_compared_byte_for_byte`] †, [`find_by_subject_sees_a_rotated_session_once`] †, [`racing_logins_and_logouts_leave_a_true_index`] † |
//! | 15 one clock, no time zone | [`expiry_does_not_depend_on_the_time_zone`] (durable) |
//! | 16 no sleeping | holds for the kit itself |
//! | 17 shared and object-safe | [`stores_are_shared_and_object_safe`] |
//! | 18 atomic, seen by all | [`concurrent_histories_are_linearizable`], [`processes_count_together`] (shared) |
//! | 19 random histories | [`random_operations_follow_the_model`], [`concurrent_histories_are_linearizable`], [`random_operations_on_indexes_follow_the_model`] †, [`concurrent_histories_of_indexes_are_linearizable`] † |
//! | 20 first commits and creates | [`first_commits_of_one_token_leave_one_session`], [`one_of_many_racing_creates_wins`], [`racing_creates_leave_one_subject`] †, [`processes_race_to_create`] (shared) |
//! | 21 contention | [`contention_is_waited_out`], [`processes_count_together`] (shared) |
//! | 22 the cleanup thread | [`cleanup_sweeps_when_told`], [`disabled_cleanup_never_sweeps`], [`cleanup_is_reached_through_trait_objects`] |
//! | 23 stopping it | [`stop_is_prompt_and_idempotent`], [`stop_may_be_called_by_many_threads`], [`stop_ends_a_sweep_after_its_batch`], [`cleanup_is_reached_through_trait_objects`] |
//! | 24 dropping the store | [`dropping_the_store_stops_the_thread`] |
//! | 25 failed sweeps | the tests of [`CleanupThread`](store_core::backend::CleanupThread); a backend adds its own faults |
//! | 26 what a sweep removes | [`sweep_removes_the_expired_and_only_those`], [`sweep_gives_way_between_batches`], [`sweep_never_removes_a_renewed_session`], [`processes_sweep_together`] (shared) |
//! | 27 the walk | [`walk_sees_each_live_session_once`], [`walk_sees_rotated_and_rewritten_sessions_once`], [`walk_stops_early`], [`walk_holds_no_lock`], [`count_agrees_with_all`]; what memory a walk needs is for benchmarks |
//! | 28 SIGKILL | [`killed_process_loses_no_commit`] (durable) |
//! | 29 faults | each backend's own tests: the faults are its own |
//! | 30 secrets | [`secrets_stay_out_of_errors_logs_and_debug_output`] |
#![expect(clippy::missing_panics_doc, reason = "a claim panics where the store breaks it")]

mod finding_and_writing;

mod updating;

mod histories;

mod concurrency;

mod cleaning;

mod walking;

mod secrecy;

mod subjects;

mod grace;

mod index_races;

mod processes;

mod index_processes;

use std::fmt;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::{RecvTimeoutError, bounded};

use store_core::{Change, CleanupOptions, Error, Limits, Loaded, Rotation, Store};

pub use cleaning::{
    cleanup_is_reached_through_trait_objects, cleanup_sweeps_when_told,
    disabled_cleanup_never_sweeps, dropping_the_store_stops_the_thread,
    stop_ends_a_sweep_after_its_batch, stop_is_prompt_and_idempotent,
    stop_may_be_called_by_many_threads, sweep_gives_way_between_batches,
    sweep_never_removes_a_renewed_session, sweep_removes_the_expired_and_only_those,
};
pub use concurrency::{
    contention_is_waited_out, first_commits_of_one_token_leave_one_session,
    one_of_many_racing_absorptions_wins, one_of_many_racing_creates_wins,
    one_of_many_racing_rotations_wins, one_of_many_racing_updates_wins,
    rotation_is_seen_as_one_step, stores_are_shared_and_object_safe, update_is_seen_as_one_step,
};
pub use finding_and_writing::{
    commit_in_the_past_leaves_nothing_findable, commit_over_an_expired_session_leaves_one,
    commit_overwrites_data_and_expiry, data_comes_back_byte_for_byte,
    delete_is_final_and_idempotent, expired_session_is_not_found,
    expiry_is_kept_to_the_millisecond, extreme_expiries_do_no_harm, hostile_tokens_are_data,
    impossible_tokens_are_not_found, invalid_tokens_are_refused, load_agrees_with_find,
    missing_sessions_are_not_found, oversized_data_is_refused_and_changes_nothing,
    tokens_are_compared_byte_for_byte, touch_moves_the_expiry_alone,
    touch_never_creates_or_revives,
};
pub use grace::{
    absorbed_tokens_lead_to_the_absorbing_session, delete_follows_rotations,
    exception_of_delete_by_subject_follows_rotations, grace_ends, old_token_can_be_used_again,
    old_token_finds_and_writes_nothing, old_tokens_are_compared_byte_for_byte,
    old_tokens_end_with_the_session, old_tokens_lead_to_the_newest,
    refused_update_leaves_the_indexes_alone, sweep_leaves_rotations_that_last,
    update_does_all_of_a_change,
};
pub use histories::{
    concurrent_histories_are_linearizable, concurrent_histories_of_indexes_are_linearizable,
    random_operations_follow_the_model, random_operations_on_indexes_follow_the_model,
};
pub use index_processes::{
    grace_is_seen_by_other_processes, killed_process_leaves_no_half_update,
    process_ends_a_session_that_another_rotates,
};
pub use index_races::{
    delete_by_subject_ends_sessions_that_are_being_rotated, delete_by_subject_is_seen_as_one_step,
    delete_ends_a_session_that_is_being_rotated, find_by_subject_sees_a_rotated_session_once,
    find_by_subject_sees_changes_as_one_step, load_never_loses_a_rotated_session,
    racing_creates_leave_one_subject,
};
pub use processes::{
    expiry_does_not_depend_on_the_time_zone, killed_process_loses_no_commit,
    processes_count_together, processes_race_to_create, processes_sweep_together,
};
pub use secrecy::secrets_stay_out_of_errors_logs_and_debug_output;
pub use subjects::{
    created_session_has_its_own_subject, deleting_by_subject_removes_all_but_one,
    racing_logins_and_logouts_leave_a_true_index, refused_subject_is_not_kept,
    subject_ends_with_the_session, subject_finds_its_live_sessions, subject_follows_a_rotation,
    subjects_are_compared_byte_for_byte, writes_leave_the_subject_alone,
};
pub use updating::{
    create_makes_new_sessions_only, refused_update_changes_nothing,
    rotation_moves_the_whole_session, rotation_of_a_missing_session_is_false,
    rotation_to_a_taken_token_changes_nothing, update_absorbs_other_sessions,
    update_needs_the_current_data, update_never_creates_or_revives,
};
pub use walking::{
    count_agrees_with_all, walk_holds_no_lock, walk_sees_each_live_session_once,
    walk_sees_rotated_and_rewritten_sessions_once, walk_stops_early,
};

/// How the kit gets at the store under test.
///
/// Each test makes a harness of its own, so a new harness stands for a new, empty database.
///
/// The kit needs memory for a few times the largest data that the store takes, and is the only
/// logger of its test binary, because it looks for secrets in the log.
pub trait Harness: 'static {
    /// The store under test.
    type Store: Store + fmt::Debug + 'static;

    /// Opens a store with this cleanup on the harness's database.
    fn store(&self, cleanup: CleanupOptions) -> Self::Store;

    /// The limits that the store states.
    fn limits(&self) -> Limits;

    /// How long to wait before what doesn't return counts as hanging. Nothing is timed but that.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// A [`Harness`] whose database outlives the process that writes it.
pub trait DurableHarness: Harness + Sized {
    /// Where the database is: a path or an address.
    fn location(&self) -> String;

    /// A harness on the database of another process, which is not emptied and not removed on drop.
    fn attach(location: &str) -> Self;
}

/// Makes a `#[test]` of every claim of the conformance kit that needs the
/// table of sessions alone.
///
/// The argument is an expression for a new [`Harness`](crate::Harness), evaluated once
/// a test; `durable` adds the claims about killed processes, `shared` those about several processes
/// on one database. `when …` at the end is asked in each test whether the database is to be had at
/// all; where it says no it should say so aloud, for the test then passes without a claim.
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr $(, when $available:expr)?) => {
        $crate::conformance_tests! { @claims $harness $(, when $available)?;
            missing_sessions_are_not_found
            expired_session_is_not_found
            impossible_tokens_are_not_found
            data_comes_back_byte_for_byte
            commit_overwrites_data_and_expiry
            commit_over_an_expired_session_leaves_one
            commit_in_the_past_leaves_nothing_findable
            tokens_are_compared_byte_for_byte
            hostile_tokens_are_data
            invalid_tokens_are_refused
            oversized_data_is_refused_and_changes_nothing
            load_agrees_with_find
            expiry_is_kept_to_the_millisecond
            extreme_expiries_do_no_harm
            create_makes_new_sessions_only
            update_needs_the_current_data
            update_never_creates_or_revives
            update_absorbs_other_sessions
            refused_update_changes_nothing
            update_is_seen_as_one_step
            one_of_many_racing_updates_wins
            one_of_many_racing_absorptions_wins
            touch_moves_the_expiry_alone
            touch_never_creates_or_revives
            rotation_moves_the_whole_session
            rotation_to_a_taken_token_changes_nothing
            rotation_of_a_missing_session_is_false
            rotation_is_seen_as_one_step
            one_of_many_racing_rotations_wins
            delete_is_final_and_idempotent
            stores_are_shared_and_object_safe
            random_operations_follow_the_model
            concurrent_histories_are_linearizable
            first_commits_of_one_token_leave_one_session
            one_of_many_racing_creates_wins
            contention_is_waited_out
            cleanup_sweeps_when_told
            disabled_cleanup_never_sweeps
            cleanup_is_reached_through_trait_objects
            stop_is_prompt_and_idempotent
            stop_may_be_called_by_many_threads
            stop_ends_a_sweep_after_its_batch
            dropping_the_store_stops_the_thread
            sweep_removes_the_expired_and_only_those
            sweep_gives_way_between_batches
            sweep_never_removes_a_renewed_session
            walk_sees_each_live_session_once
            walk_sees_rotated_and_rewritten_sessions_once
            walk_stops_early
            walk_holds_no_lock
            count_agrees_with_all
            secrets_stay_out_of_errors_logs_and_debug_output
        }
    };
    ($harness:expr, durable $(, when $available:expr)?) => {
        $crate::conformance_tests!($harness $(, when $available)?);
        $crate::conformance_tests! { @process_claims $harness $(, when $available)?;
            killed_process_loses_no_commit
            expiry_does_not_depend_on_the_time_zone
        }
    };
    ($harness:expr, durable, shared $(, when $available:expr)?) => {
        $crate::conformance_tests!($harness, durable $(, when $available)?);
        $crate::conformance_tests! { @process_claims $harness $(, when $available)?;
            processes_count_together
            processes_race_to_create
            processes_sweep_together
        }
    };
    (@claims $harness:expr; $($claim:ident)*) => {
        $crate::conformance_tests! { @claims $harness, when true; $($claim)* }
    };
    (@claims $harness:expr, when $available:expr; $($claim:ident)*) => {$(
        #[test]
        fn $claim() {
            if $available {
                $crate::$claim(&$harness);
            }
        }
    )*};
    (@process_claims $harness:expr; $($claim:ident)*) => {
        $crate::conformance_tests! { @process_claims $harness, when true; $($claim)* }
    };
    (@process_claims $harness:expr, when $available:expr; $($claim:ident)*) => {$(
        #[test]
        fn $claim() {
            if $available {
                // The path names this test to the child processes that it starts.
                $crate::$claim(
                    || $harness,
                    concat!(module_path!(), "::", stringify!($claim)),
                );
            }
        }
    )*};
}

/// Makes a `#[test]` of every claim of the conformance kit about subjects
/// and about the grace after a rotation, for a store that keeps indexes of both.
///
/// The arguments are those of [`conformance_tests!`](crate::conformance_tests), which goes first.
#[macro_export]
macro_rules! index_conformance_tests {
    ($harness:expr $(, when $available:expr)?) => {
        $crate::conformance_tests! { @claims $harness $(, when $available)?;
            subject_finds_its_live_sessions
            writes_leave_the_subject_alone
            created_session_has_its_own_subject
            subject_follows_a_rotation
            subject_ends_with_the_session
            refused_subject_is_not_kept
            deleting_by_subject_removes_all_but_one
            subjects_are_compared_byte_for_byte
            racing_logins_and_logouts_leave_a_true_index
            old_tokens_lead_to_the_newest
            old_token_finds_and_writes_nothing
            old_token_can_be_used_again
            grace_ends
            sweep_leaves_rotations_that_last
            absorbed_tokens_lead_to_the_absorbing_session
            old_tokens_end_with_the_session
            delete_follows_rotations
            exception_of_delete_by_subject_follows_rotations
            old_tokens_are_compared_byte_for_byte
            refused_update_leaves_the_indexes_alone
            update_does_all_of_a_change
            delete_ends_a_session_that_is_being_rotated
            delete_by_subject_ends_sessions_that_are_being_rotated
            load_never_loses_a_rotated_session
            find_by_subject_sees_a_rotated_session_once
            find_by_subject_sees_changes_as_one_step
            delete_by_subject_is_seen_as_one_step
            racing_creates_leave_one_subject
            random_operations_on_indexes_follow_the_model
            concurrent_histories_of_indexes_are_linearizable
        }
    };
    ($harness:expr, durable $(, when $available:expr)?) => {
        $crate::index_conformance_tests!($harness $(, when $available)?);
        $crate::conformance_tests! { @process_claims $harness $(, when $available)?;
            grace_is_seen_by_other_processes
            killed_process_leaves_no_half_update
        }
    };
    ($harness:expr, durable, shared $(, when $available:expr)?) => {
        $crate::index_conformance_tests!($harness, durable $(, when $available)?);
        $crate::conformance_tests! { @process_claims $harness $(, when $available)?;
            process_ends_a_session_that_another_rotates
        }
    };
}

/// A grace that is longer than any test.
const HOUR: Duration = Duration::from_secs(3_600);

/// A store that nobody sweeps.
fn unswept<H: Harness>(harness: &H) -> H::Store {
    harness.store(CleanupOptions::disabled())
}

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

fn an_hour_ago() -> DateTime<Utc> {
    Utc::now() - TimeDelta::hours(1)
}

/// The data under a token; a fault of the system fails the test.
fn found(store: &dyn Store, token: &str) -> Option<Vec<u8>> {
    store.find(token).expect("find gives no error")
}

fn commit(store: &dyn Store, token: &str, data: &[u8], expiry: DateTime<Utc>) {
    store.commit(token, data, expiry).expect("commit succeeds");
}

fn loaded(store: &dyn Store, token: &str) -> Loaded {
    store.load(token).expect("load gives no error")
}

fn update(store: &dyn Store, token: &str, current: &[u8], change: &Change<'_>) -> bool {
    store.update(token, current, change).expect("update answers")
}

/// A change that gives a session this data and a new token.
fn rotation<'a>(new_token: &'a str, data: &'a [u8]) -> Change<'a> {
    Change::new(data, in_an_hour()).with_rotation(Rotation::new(new_token))
}

/// A rotation whose grace doesn't end while a test runs.
fn lasting(new_token: &str) -> Rotation<'_> {
    Rotation::new(new_token).with_grace(HOUR)
}

/// Tries an operation that must not bring a session (back) to life on every kind of one that isn't.
fn assert_not_revived(
    store: &dyn Store,
    operation: &str,
    revive: impl Fn(&str) -> Result<bool, Error>,
) {
    commit(store, "deleted", b"data", in_an_hour());
    store.delete("deleted").expect("delete succeeds");
    commit(store, "expired", b"data", an_hour_ago());
    commit(store, "ended", b"data", in_an_hour());
    assert!(store.touch("ended", an_hour_ago()).expect("touch succeeds"));
    commit(store, "rotated", b"data", in_an_hour());
    assert!(update(store, "rotated", b"data", &rotation("elsewhere", b"data")));
    for token in ["never-written", "deleted", "expired", "ended", "rotated"] {
        assert!(!revive(token).expect("it answers"), "{operation} of a {token} session is false");
        assert_eq!(found(store, token), None, "{operation} leaves a {token} session dead");
    }
    assert_eq!(walk(store).len(), 1, "only the rotated session lives, elsewhere");
    store.delete("elsewhere").expect("delete succeeds");
}

/// Clause 8: never later, at most 1 ms earlier.
fn assert_stored(given: DateTime<Utc>, stored: DateTime<Utc>) {
    let early = given - stored;
    assert!(
        early >= TimeDelta::zero() && early <= TimeDelta::milliseconds(1),
        "expiry {given:?} was stored as {stored:?}"
    );
}

/// Every session that a walk shows, as often as it shows it.
fn walk(store: &dyn Store) -> Vec<(String, Vec<u8>, DateTime<Utc>)> {
    let mut seen = Vec::new();
    store
        .for_each(&mut |record| {
            seen.push((record.token.to_owned(), record.data.to_owned(), record.expiry));
            ControlFlow::Continue(())
        })
        .expect("the walk succeeds");
    seen
}

/// Ends the loops of other threads, also when the one that holds it panics.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs something that must not hang, on a thread of its own, and gives up after the patience.
fn within<T: Send + 'static>(
    patience: Duration,
    what: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, result) = bounded(1);
    let thread = thread::spawn(move || {
        // Nobody receives once the patience has ended.
        let _ = done.send(run());
    });
    match result.recv_timeout(patience) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("{what} did not end within {patience:?}"),
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => unreachable!("the thread sends before it ends"),
        },
    }
}

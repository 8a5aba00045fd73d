//! The conformance kit: what every store promises, as tests.
//!
//! Each promise is a function named as a claim, which panics where the store breaks it. A store runs
//! them all with one short file, `tests/conformance.rs`: a [`Harness`] that opens the store, and one
//! call of [`conformance_tests!`](crate::conformance_tests).
//!
//! ```
//! use store_core::conformance::Harness;
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
//!     fn stop_cleanup(store: &MemoryStore) {
//!         store.stop_cleanup();
//!     }
//!
//!     fn limits(&self) -> Limits {
//!         Limits::DEFAULT
//!     }
//! }
//!
//! store_core::conformance_tests!(Memory);
//! # fn main() {}
//! ```
//!
//! A store that keeps sessions beyond the life of the process adds [`DurableHarness`] and says
//! `conformance_tests!(…, durable)`; one whose database several processes use at the same time says
//! `conformance_tests!(…, durable, shared)`. These start child processes of the test binary.
//!
//! A store that is a [`SubjectStore`](crate::SubjectStore) adds `subject_conformance_tests!(…)`.
//!
//! # The clauses
//! | clause | claims |
//! |---|---|
//! | 1 what isn't there is not found | [`missing_sessions_are_not_found`], [`expired_session_is_not_found`], [`impossible_tokens_are_not_found`] |
//! | 2 bytes come back as they were | [`data_comes_back_byte_for_byte`] |
//! | 3 commit creates or overwrites | [`commit_overwrites_data_and_expiry`], [`commit_over_an_expired_session_leaves_one`] |
//! | 4 expiry in the past | [`commit_in_the_past_leaves_nothing_findable`] |
//! | 5 tokens byte for byte | [`tokens_are_compared_byte_for_byte`] |
//! | 6 tokens are data | [`hostile_tokens_are_data`] |
//! | 7 refusals | [`invalid_tokens_are_refused`], [`oversized_data_is_refused_and_changes_nothing`] |
//! | 8 expiry | [`expiry_is_kept_to_the_millisecond`], [`find_with_expiry_agrees_with_find`], [`extreme_expiries_do_no_harm`] |
//! | 9 replace | [`replace_needs_the_current_data`], [`replace_never_creates_or_revives`], [`one_of_many_racing_replaces_wins`] |
//! | 10 touch | [`touch_moves_the_expiry_alone`], [`touch_never_creates_or_revives`] |
//! | 11 rename | [`rename_moves_the_whole_session`], [`rename_to_a_taken_token_changes_nothing`], [`rename_of_a_missing_session_is_false`], [`rename_is_seen_as_one_step`], [`one_of_many_racing_renames_wins`] |
//! | 12 delete | [`delete_is_final_and_idempotent`] |
//! | 13 one clock, no time zone | [`expiry_does_not_depend_on_the_time_zone`] (durable) |
//! | 14 no sleeping | holds for the kit itself |
//! | 15 shared and object-safe | [`stores_are_shared_and_object_safe`] |
//! | 16 atomic, seen by all | [`concurrent_histories_are_linearizable`], [`processes_count_together`] (shared) |
//! | 17 random histories | [`random_operations_follow_the_model`], [`concurrent_histories_are_linearizable`] |
//! | 18 first commits | [`first_commits_of_one_token_leave_one_session`] |
//! | 19 contention | [`contention_is_waited_out`], [`processes_count_together`] (shared) |
//! | 20 the cleanup thread | [`cleanup_sweeps_when_told`], [`disabled_cleanup_never_sweeps`] |
//! | 21 stopping it | [`stop_is_prompt_and_idempotent`], [`stop_may_be_called_by_many_threads`], [`stop_ends_a_sweep_after_its_batch`] |
//! | 22 dropping the store | [`dropping_the_store_stops_the_thread`] |
//! | 23 failed sweeps | the tests of [`Cleanup`](crate::Cleanup); a backend adds its own faults |
//! | 24 what a sweep removes | [`sweep_removes_the_expired_and_only_those`], [`sweep_gives_way_between_batches`], [`sweep_never_removes_a_renewed_session`], [`processes_sweep_together`] (shared) |
//! | 25 the walk | [`walk_sees_each_live_session_once`], [`walk_sees_renamed_and_rewritten_sessions_once`], [`walk_stops_early`], [`walk_holds_no_lock`]; what memory a walk needs is for benchmarks |
//! | 26 SIGKILL | [`killed_process_loses_no_commit`] (durable) |
//! | 27 faults | each backend's own tests: the faults are its own |
//! | 28 secrets | [`secrets_stay_out_of_errors_logs_and_debug_output`] |
#![expect(clippy::missing_panics_doc, reason = "a claim panics where the store breaks it")]

mod finding_and_writing;

mod histories;

mod concurrency;

mod cleaning;

mod walking;

mod secrecy;

mod subjects;

mod processes;

use std::fmt;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::{RecvTimeoutError, bounded};

use crate::{CleanupOptions, Limits, Store};

pub use cleaning::{
    cleanup_sweeps_when_told, disabled_cleanup_never_sweeps, dropping_the_store_stops_the_thread,
    stop_ends_a_sweep_after_its_batch, stop_is_prompt_and_idempotent,
    stop_may_be_called_by_many_threads, sweep_gives_way_between_batches,
    sweep_never_removes_a_renewed_session, sweep_removes_the_expired_and_only_those,
};
pub use concurrency::{
    contention_is_waited_out, first_commits_of_one_token_leave_one_session,
    one_of_many_racing_renames_wins, one_of_many_racing_replaces_wins, rename_is_seen_as_one_step,
    stores_are_shared_and_object_safe,
};
pub use finding_and_writing::{
    commit_in_the_past_leaves_nothing_findable, commit_over_an_expired_session_leaves_one,
    commit_overwrites_data_and_expiry, data_comes_back_byte_for_byte,
    delete_is_final_and_idempotent, expired_session_is_not_found,
    expiry_is_kept_to_the_millisecond, extreme_expiries_do_no_harm,
    find_with_expiry_agrees_with_find, hostile_tokens_are_data, impossible_tokens_are_not_found,
    invalid_tokens_are_refused, missing_sessions_are_not_found,
    oversized_data_is_refused_and_changes_nothing, rename_moves_the_whole_session,
    rename_of_a_missing_session_is_false, rename_to_a_taken_token_changes_nothing,
    replace_needs_the_current_data, replace_never_creates_or_revives,
    tokens_are_compared_byte_for_byte, touch_moves_the_expiry_alone,
    touch_never_creates_or_revives,
};
pub use histories::{concurrent_histories_are_linearizable, random_operations_follow_the_model};
pub use processes::{
    expiry_does_not_depend_on_the_time_zone, killed_process_loses_no_commit,
    processes_count_together, processes_sweep_together,
};
pub use secrecy::secrets_stay_out_of_errors_logs_and_debug_output;
pub use subjects::{
    deleting_by_subject_removes_all_but_one, racing_log_ins_and_log_outs_leave_a_true_index,
    setting_a_subject_never_creates_or_revives, subject_ends_with_the_session,
    subject_finds_its_live_sessions, subject_follows_a_rename, subjects_are_compared_byte_for_byte,
};
pub use walking::{
    walk_holds_no_lock, walk_sees_each_live_session_once,
    walk_sees_renamed_and_rewritten_sessions_once, walk_stops_early,
};

/// How the kit gets at the store under test.
///
/// Each test makes a harness of its own, so a new harness stands for a new, empty database.
///
/// The kit needs memory for a few times the largest data that the store takes, and is the only logger of its
/// test binary, because it looks for secrets in the log.
pub trait Harness: 'static {
    /// The store under test.
    type Store: Store + fmt::Debug + 'static;

    /// Opens a store with this cleanup on the harness's database.
    fn store(&self, cleanup: CleanupOptions) -> Self::Store;

    /// Calls the store's `stop_cleanup`.
    fn stop_cleanup(store: &Self::Store);

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

/// Makes a `#[test]` of every claim of the [`conformance`](crate::conformance) kit.
///
/// The argument is an expression for a new [`Harness`](crate::conformance::Harness), evaluated once a
/// test; `durable` adds the claims about killed processes, `shared` those about several processes on
/// one database. `when …` at the end is asked in each test whether the database is to be had at all; where it says no it
/// should say so aloud, for the test then passes without a claim.
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
            find_with_expiry_agrees_with_find
            expiry_is_kept_to_the_millisecond
            extreme_expiries_do_no_harm
            replace_needs_the_current_data
            replace_never_creates_or_revives
            one_of_many_racing_replaces_wins
            touch_moves_the_expiry_alone
            touch_never_creates_or_revives
            rename_moves_the_whole_session
            rename_to_a_taken_token_changes_nothing
            rename_of_a_missing_session_is_false
            rename_is_seen_as_one_step
            one_of_many_racing_renames_wins
            delete_is_final_and_idempotent
            stores_are_shared_and_object_safe
            random_operations_follow_the_model
            concurrent_histories_are_linearizable
            first_commits_of_one_token_leave_one_session
            contention_is_waited_out
            cleanup_sweeps_when_told
            disabled_cleanup_never_sweeps
            stop_is_prompt_and_idempotent
            stop_may_be_called_by_many_threads
            stop_ends_a_sweep_after_its_batch
            dropping_the_store_stops_the_thread
            sweep_removes_the_expired_and_only_those
            sweep_gives_way_between_batches
            sweep_never_removes_a_renewed_session
            walk_sees_each_live_session_once
            walk_sees_renamed_and_rewritten_sessions_once
            walk_stops_early
            walk_holds_no_lock
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
                $crate::conformance::$claim(&$harness);
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
                $crate::conformance::$claim(
                    || $harness,
                    concat!(module_path!(), "::", stringify!($claim)),
                );
            }
        }
    )*};
}

/// Makes a `#[test]` of every claim about the index of subjects, for a store that is a
/// [`SubjectStore`](crate::SubjectStore). The arguments are those of [`conformance_tests!`].
#[macro_export]
macro_rules! subject_conformance_tests {
    ($harness:expr $(, when $available:expr)?) => {
        $crate::conformance_tests! { @claims $harness $(, when $available)?;
            subject_finds_its_live_sessions
            subject_follows_a_rename
            subject_ends_with_the_session
            setting_a_subject_never_creates_or_revives
            deleting_by_subject_removes_all_but_one
            subjects_are_compared_byte_for_byte
            racing_log_ins_and_log_outs_leave_a_true_index
        }
    };
}

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

//! The table of the claims, and what is made of it: exports, the list by clauses, and tests.

/// The claims by what they need of a store, and by the file they are in, each with its clauses.
///
/// It calls back `$crate::$callback!` with the arguments and the claims of one need.
#[doc(hidden)]
#[macro_export]
macro_rules! __claims {
    (table $callback:ident $arguments:tt) => {
        $crate::$callback! { $arguments
            finding_and_writing {
                missing_sessions_are_not_found: 1;
                expired_session_is_not_found: 1;
                now_is_by_the_clock_that_decides: 15;
                impossible_tokens_are_not_found: 1;
                data_comes_back_byte_for_byte: 2;
                commit_overwrites_data_and_expiry: 3;
                commit_over_an_expired_session_leaves_one: 3;
                commit_in_the_past_leaves_nothing_findable: 4;
                tokens_are_compared_byte_for_byte: 5;
                hostile_tokens_are_data: 6;
                invalid_tokens_are_refused: 7;
                oversized_data_is_refused_and_changes_nothing: 7;
                load_agrees_with_find: 8;
                expiry_is_kept_to_the_millisecond: 8;
                extreme_expiries_do_no_harm: 8;
                touch_moves_the_expiry_alone: 9;
                touch_never_creates_or_revives: 9;
                delete_is_final_and_idempotent: 13;
            }
            updating {
                refused_update_changes_nothing: 7, 10;
                update_needs_the_current_data: 9;
                update_can_keep_the_expiry: 9;
                update_never_creates_or_revives: 9;
                update_absorbs_other_sessions: 9;
                create_makes_new_sessions_only: 10;
                rotation_moves_the_whole_session: 11;
                rotation_to_a_taken_token_changes_nothing: 11;
                rotation_of_a_missing_session_is_false: 11;
            }
            expected_sessions {
                create_absorbs_other_sessions: 9, 10;
            }
            concurrency {
                one_of_many_racing_updates_wins: 9;
                one_of_many_racing_absorptions_wins: 9;
                update_is_seen_as_one_step: 10;
                rotation_is_seen_as_one_step: 11;
                one_of_many_racing_rotations_wins: 11;
                stores_are_shared_and_object_safe: 17;
                first_commits_of_one_token_leave_one_session: 20;
                one_of_many_racing_creates_wins: 20;
                contention_is_waited_out: 21;
            }
            histories {
                concurrent_histories_are_linearizable: 18, 19;
                random_operations_follow_the_model: 19;
            }
            cleaning {
                cleanup_runs_when_told: 22;
                disabled_cleanup_never_runs: 22;
                cleanup_is_reached_through_trait_objects: 22, 23;
                stop_is_prompt_and_idempotent: 23;
                stop_may_be_called_by_many_threads: 23;
                stop_ends_a_run_after_its_batch: 23;
                dropping_the_store_stops_the_thread: 24;
                cleanup_removes_the_expired_and_only_those: 26;
                cleanup_gives_way_between_batches: 26;
                cleanup_never_removes_a_renewed_session: 26;
            }
            walking {
                walk_sees_each_live_session_once: 27;
                walk_sees_rotated_and_rewritten_sessions_once: 27;
                walk_stops_early: 27;
                walk_holds_no_lock: 27;
                count_agrees_with_all: 27;
            }
            forking {
                forked_process_is_told_and_harms_nothing: 29;
            }
            secrecy {
                secrets_stay_out_of_errors_logs_and_debug_output: 30;
            }
        }
    };
    (durable $callback:ident $arguments:tt) => {
        $crate::$callback! { $arguments
            processes {
                expiry_does_not_depend_on_the_time_zone: 15;
                killed_process_loses_no_commit: 28;
            }
        }
    };
    (shared $callback:ident $arguments:tt) => {
        $crate::$callback! { $arguments
            processes {
                processes_count_together: 18, 21;
                processes_race_to_create: 20;
                processes_clean_up_together: 26;
            }
        }
    };
    (indexes $callback:ident $arguments:tt) => {
        $crate::$callback! { $arguments
            subjects {
                deleting_by_subject_removes_all_but_one: 13;
                delete_all_ends_every_session: 13;
                subject_finds_its_live_sessions: 14;
                subject_of_a_session_is_the_one_it_is_found_by: 14;
                writes_leave_the_subject_alone: 14;
                created_session_has_its_own_subject: 14;
                commit_over_an_expired_session_has_no_subject: 14;
                subject_follows_a_rotation: 14;
                subject_ends_with_the_session: 14;
                refused_subject_is_not_kept: 14;
                subjects_are_compared_byte_for_byte: 14;
                racing_logins_and_logouts_leave_a_true_index: 14;
            }
            grace {
                refused_update_leaves_the_indexes_alone: 10;
                update_does_all_of_a_change: 10;
                old_tokens_lead_to_the_newest: 12;
                old_token_finds_and_writes_nothing: 12;
                old_token_can_be_used_again: 12;
                grace_ends: 12;
                cleanup_leaves_rotations_that_last: 12;
                absorbed_tokens_lead_to_the_absorbing_session: 12;
                tokens_of_an_ended_session_lead_nowhere: 12;
                old_tokens_end_with_the_session: 12;
                old_tokens_are_compared_byte_for_byte: 12;
                delete_follows_rotations: 13;
                exception_of_delete_by_subject_follows_rotations: 13;
            }
            expected_sessions {
                update_needs_the_expected_sessions: 9, 10;
                create_needs_the_expected_sessions: 9, 10;
                racing_logins_keep_a_limit: 9, 18;
            }
            index_races {
                find_by_subject_sees_changes_as_one_step: 10;
                load_never_loses_a_rotated_session: 12;
                delete_ends_a_session_that_is_being_rotated: 13;
                delete_by_subject_ends_sessions_that_are_being_rotated: 13;
                delete_by_subject_is_seen_as_one_step: 13;
                find_by_subject_sees_a_rotated_session_once: 14;
                racing_creates_leave_one_subject: 20;
            }
            histories {
                random_operations_on_indexes_follow_the_model: 19;
                concurrent_histories_of_indexes_are_linearizable: 19;
            }
        }
    };
    (durable_indexes $callback:ident $arguments:tt) => {
        $crate::$callback! { $arguments
            index_processes {
                killed_process_leaves_no_half_update: 10;
                grace_is_seen_by_other_processes: 12;
            }
        }
    };
    (shared_indexes $callback:ident $arguments:tt) => {
        $crate::$callback! { $arguments
            index_processes {
                process_ends_a_session_that_another_rotates: 13;
            }
            expected_sessions {
                processes_keep_a_limit: 9, 18;
            }
        }
    };
}

/// The claims of one need, for the crate's root.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    (() $($file:ident { $($claim:ident: $($clause:literal),+;)+ })+) => {
        $(pub use $crate::$file::{$($claim),+};)+
    };
}

/// The claims of one need, as rows of a table.
#[doc(hidden)]
#[macro_export]
macro_rules! __rows {
    (($needs:literal) $($file:ident { $($claim:ident: $($clause:literal),+;)+ })+) => {
        concat!($($(
            "| ", $($clause, " ",)+ "| [`", stringify!($claim), "`](crate::", stringify!($claim),
            ") | ", $needs, " |\n",
        )+)+)
    };
}

/// The names of the claims of one need.
#[doc(hidden)]
#[macro_export]
macro_rules! __names {
    (() $($file:ident { $($claim:ident: $($clause:literal),+;)+ })+) => {
        [$($(stringify!($claim)),+),+].as_slice()
    };
}

/// A `#[test]` of each claim of one need.
#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    (($harness:expr, $guard:block)
        $($file:ident { $($claim:ident: $($clause:literal),+;)+ })+) => {$($(
        #[test]
        fn $claim() {
            $guard
            $crate::$claim(&$harness);
        }
    )+)+};
}

/// The same for claims that start child processes, in which the test is called by its name.
#[doc(hidden)]
#[macro_export]
macro_rules! __process_tests {
    (($harness:expr, $guard:block)
        $($file:ident { $($claim:ident: $($clause:literal),+;)+ })+) => {$($(
        #[test]
        fn $claim() {
            $guard
            $crate::$claim(|| $harness, concat!(module_path!(), "::", stringify!($claim)));
        }
    )+)+};
}

/// Makes a `#[test]` of each claim of the conformance kit that a store with these capabilities
/// owes.
///
/// The first argument is an expression for a new [`Harness`](crate::Harness), evaluated once a
/// test. The capabilities, in this order, are:
///
/// - `indexes`: the store keeps the indexes of subjects and of rotations next to the table of
///   sessions;
/// - `durable`: sessions outlive the process; the harness is a
///   [`DurableHarness`](crate::DurableHarness);
/// - `shared`: several processes use the database at the same time.
///
/// `; when …` at the end is asked in each test whether the database is available at all. If not,
/// the expression should say so out loud, because the test then passes without a claim.
///
/// # Examples
/// See the [crate](crate).
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr $(; when $available:expr)?) => {
        $crate::__claims! { table __tests ($harness, { $(if !$available { return; })? }) }
    };
    ($harness:expr, durable $(; when $available:expr)?) => {
        $crate::conformance_tests! { $harness $(; when $available)? }
        $crate::__claims! { durable __process_tests ($harness, { $(if !$available { return; })? }) }
    };
    ($harness:expr, durable, shared $(; when $available:expr)?) => {
        $crate::conformance_tests! { $harness, durable $(; when $available)? }
        $crate::__claims! { shared __process_tests ($harness, { $(if !$available { return; })? }) }
    };
    ($harness:expr, indexes $(; when $available:expr)?) => {
        $crate::conformance_tests! { $harness $(; when $available)? }
        $crate::__claims! { indexes __tests ($harness, { $(if !$available { return; })? }) }
    };
    ($harness:expr, indexes, durable $(; when $available:expr)?) => {
        $crate::conformance_tests! { $harness, durable $(; when $available)? }
        $crate::__claims! { indexes __tests ($harness, { $(if !$available { return; })? }) }
        $crate::__claims! { durable_indexes __process_tests ($harness, { $(if !$available { return; })? }) }
    };
    ($harness:expr, indexes, durable, shared $(; when $available:expr)?) => {
        $crate::conformance_tests! { $harness, durable, shared $(; when $available)? }
        $crate::__claims! { indexes __tests ($harness, { $(if !$available { return; })? }) }
        $crate::__claims! { durable_indexes __process_tests ($harness, { $(if !$available { return; })? }) }
        $crate::__claims! { shared_indexes __process_tests ($harness, { $(if !$available { return; })? }) }
    };
}

//! A store that takes an application to another database keeps every promise, in each phase, and
//! while processes of both phases work on the same two databases.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use store_conformance::Harness;
use store_core::{
    Change, CleanupOptions, CleanupStatistics, Error, Limits, Loaded, MemoryOptions, MemoryStore,
    MovingStore, OwnedRecord, Record, Store,
};

fn memory(cleanup: CleanupOptions) -> Arc<MemoryStore> {
    Arc::new(MemoryOptions::new().with_cleanup(cleanup).build().expect("a thread starts"))
}

struct Preparing;

impl Harness for Preparing {
    type Store = MovingStore;

    fn store(&self, cleanup: CleanupOptions) -> MovingStore {
        MovingStore::preparing(memory(cleanup), memory(CleanupOptions::disabled()))
    }

    fn limits(&self) -> Limits {
        Limits::DEFAULT
    }
}

struct Moving;

impl Harness for Moving {
    type Store = MovingStore;

    fn store(&self, cleanup: CleanupOptions) -> MovingStore {
        MovingStore::moving(memory(CleanupOptions::disabled()), memory(cleanup))
    }

    fn limits(&self) -> Limits {
        Limits::DEFAULT
    }
}

/// Makes a test of each claim, where a store doesn't keep all of them.
macro_rules! claims {
    ($harness:expr; $($claim:ident)+) => {$(
        #[test]
        fn $claim() {
            store_conformance::$claim(&$harness);
        }
    )+};
}

/// Those that hold in every phase, and for processes of both at once: all but those that count what
/// ended in the old store, whose rows stay until the cleanup, and those for which
/// `delete_by_subject` is one step.
macro_rules! claims_of_every_phase {
    ($harness:expr) => {
        claims! {
            $harness;
            missing_sessions_are_not_found expired_session_is_not_found
            now_is_by_the_clock_that_decides impossible_tokens_are_not_found
            data_comes_back_byte_for_byte commit_overwrites_data_and_expiry
            commit_over_an_expired_session_leaves_one commit_in_the_past_leaves_nothing_findable
            tokens_are_compared_byte_for_byte hostile_tokens_are_data invalid_tokens_are_refused
            oversized_data_is_refused_and_changes_nothing load_agrees_with_find
            expiry_is_kept_to_the_millisecond extreme_expiries_do_no_harm
            touch_moves_the_expiry_alone touch_never_creates_or_revives
            refused_update_changes_nothing update_needs_the_current_data
            update_can_keep_the_expiry update_never_creates_or_revives update_absorbs_other_sessions
            create_makes_new_sessions_only rotation_to_a_taken_token_changes_nothing
            rotation_of_a_missing_session_is_false create_absorbs_other_sessions
            one_of_many_racing_updates_wins one_of_many_racing_absorptions_wins
            update_is_seen_as_one_step rotation_is_seen_as_one_step
            stores_are_shared_and_object_safe first_commits_of_one_token_leave_one_session
            one_of_many_racing_creates_wins contention_is_waited_out
            random_operations_follow_the_model cleanup_runs_when_told disabled_cleanup_never_runs
            cleanup_is_reached_through_trait_objects stop_is_prompt_and_idempotent
            stop_may_be_called_by_many_threads stop_ends_a_run_after_its_batch
            dropping_the_store_stops_the_thread cleanup_removes_the_expired_and_only_those
            cleanup_gives_way_between_batches cleanup_never_removes_a_renewed_session
            walk_sees_each_live_session_once walk_sees_rotated_and_rewritten_sessions_once
            walk_stops_early walk_holds_no_lock forked_process_is_told_and_harms_nothing
            secrets_stay_out_of_errors_logs_and_debug_output deleting_by_subject_removes_all_but_one
            subject_finds_its_live_sessions subject_of_a_session_is_the_one_it_is_found_by
            writes_leave_the_subject_alone created_session_has_its_own_subject
            commit_over_an_expired_session_has_no_subject subject_follows_a_rotation
            refused_subject_is_not_kept subjects_are_compared_byte_for_byte
            racing_logins_and_logouts_leave_a_true_index refused_update_leaves_the_indexes_alone
            update_does_all_of_a_change old_tokens_lead_to_the_newest
            old_token_finds_and_writes_nothing old_token_can_be_used_again
            cleanup_leaves_rotations_that_last absorbed_tokens_lead_to_the_absorbing_session
            tokens_of_an_ended_session_lead_nowhere old_tokens_end_with_the_session
            old_tokens_are_compared_byte_for_byte exception_of_delete_by_subject_follows_rotations
            update_needs_the_expected_sessions create_needs_the_expected_sessions
            racing_logins_keep_a_limit find_by_subject_sees_changes_as_one_step
            load_never_loses_a_rotated_session delete_ends_a_session_that_is_being_rotated
            delete_by_subject_ends_sessions_that_are_being_rotated
            find_by_subject_sees_a_rotated_session_once racing_creates_leave_one_subject
        }
    };
}

mod preparing {
    claims_of_every_phase!(super::Preparing);

    claims! {
        super::Preparing;
        concurrent_histories_are_linearizable rotation_moves_the_whole_session
        one_of_many_racing_rotations_wins delete_all_ends_every_session grace_ends
        random_operations_on_indexes_follow_the_model
    }
}

mod moving {
    store_conformance::conformance_tests!(super::Moving, indexes);
}

/// Sessions are created while preparing; of the other operations, each second one is of a process
/// that moves.
struct Mixed;

struct BothPhases {
    preparing: MovingStore,
    moving: MovingStore,
    operations: AtomicUsize,
}

impl Harness for Mixed {
    type Store = BothPhases;

    fn store(&self, cleanup: CleanupOptions) -> BothPhases {
        let (old, new) = (memory(cleanup), memory(CleanupOptions::disabled()));
        BothPhases {
            preparing: MovingStore::preparing(Arc::clone(&old), Arc::clone(&new)),
            moving: MovingStore::moving(old, new),
            operations: AtomicUsize::new(0),
        }
    }

    fn limits(&self) -> Limits {
        Limits::DEFAULT
    }
}

mod mixed {
    // Left out as well are those for which a token that a store knows from an earlier rotation is
    // used again, or a session is rotated to a token that another one is given at the same moment,
    // as in random histories. No random token is: see "What it can't do" of `MovingStore`.
    claims_of_every_phase!(super::Mixed);
}

impl BothPhases {
    fn either(&self) -> &MovingStore {
        match self.operations.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => &self.preparing,
            _ => &self.moving,
        }
    }
}

impl Store for BothPhases {
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        self.either().find(token)
    }

    fn load(&self, token: &str) -> Result<Loaded, Error> {
        self.either().load(token)
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        self.preparing.commit(token, data, expiry)
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        self.preparing.create_with(token, change)
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        // Logins that expect sessions agree upon a phase.
        if change.expected_sessions.is_some() {
            return self.preparing.update(token, current, change);
        }
        self.either().update(token, current, change)
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        self.either().touch(token, expiry)
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        self.either().delete(token)
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        self.either().find_by_subject(subject)
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        self.either().subject_of(token)
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        self.either().delete_by_subject(subject, except)
    }

    fn delete_all(&self) -> Result<u64, Error> {
        self.either().delete_all()
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        self.either().delete_expired()
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        self.moving.for_each(visit)
    }

    fn count(&self) -> Result<u64, Error> {
        self.either().count()
    }

    fn now(&self) -> DateTime<Utc> {
        self.either().now()
    }

    fn stop_cleanup(&self) {
        self.either().stop_cleanup();
    }

    fn cleanup_statistics(&self) -> CleanupStatistics {
        self.preparing.cleanup_statistics()
    }
}

impl fmt::Debug for BothPhases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BothPhases").finish_non_exhaustive()
    }
}

//! The memory store keeps every promise that a store in memory can, also if it is opened lazily.

use std::sync::{Mutex, PoisonError};
use store_conformance::Harness;

use store_core::{CleanupOptions, LazyStore, Limits, MemoryOptions, MemoryStore};

struct Memory;

impl Harness for Memory {
    type Store = MemoryStore;

    fn store(&self, cleanup: CleanupOptions) -> MemoryStore {
        MemoryOptions::new().with_cleanup(cleanup).build().expect("a thread starts")
    }

    fn limits(&self) -> Limits {
        Limits::DEFAULT
    }
}

store_conformance::conformance_tests!(Memory, indexes);

mod lazy {
    use super::*;

    struct Lazy;

    impl Harness for Lazy {
        type Store = LazyStore<MemoryStore>;

        fn store(&self, cleanup: CleanupOptions) -> Self::Store {
            let cleanup = Mutex::new(Some(cleanup));
            let store = LazyStore::new(move || {
                let cleanup = cleanup.lock().unwrap_or_else(PoisonError::into_inner).take();
                Ok(Memory.store(cleanup.expect("it is opened once")))
            });
            // The claims about cleanups begin with a store that has a thread.
            store.wait_until_open(std::time::Duration::ZERO).expect("it opens");
            store
        }

        fn limits(&self) -> Limits {
            Limits::DEFAULT
        }
    }

    /// Each call is passed on, which some claims show as well as all.
    macro_rules! claims {
        ($($claim:ident)+) => {$(
            #[test]
            fn $claim() {
                store_conformance::$claim(&Lazy);
            }
        )+};
    }

    claims! {
        load_agrees_with_find now_is_by_the_clock_that_decides commit_overwrites_data_and_expiry
        touch_moves_the_expiry_alone create_makes_new_sessions_only update_does_all_of_a_change
        walk_stops_early count_agrees_with_all cleanup_is_reached_through_trait_objects
        dropping_the_store_stops_the_thread delete_all_ends_every_session
        deleting_by_subject_removes_all_but_one subject_of_a_session_is_the_one_it_is_found_by
        forked_process_is_told_and_harms_nothing secrets_stay_out_of_errors_logs_and_debug_output
    }
}

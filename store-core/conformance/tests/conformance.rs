//! The memory store keeps every promise that a store in memory can, also through the stores that
//! pass each call on to another one.

use std::sync::{Mutex, PoisonError};

use store_conformance::Harness;
use store_core::{CleanupOptions, LazyStore, Limits, MemoryOptions, MemoryStore, MeteredStore};

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

mod passed_on {
    use super::*;

    struct PassedOn;

    impl Harness for PassedOn {
        type Store = MeteredStore<LazyStore<MemoryStore>>;

        fn store(&self, cleanup: CleanupOptions) -> Self::Store {
            let cleanup = Mutex::new(Some(cleanup));
            let store = LazyStore::new(move || {
                let cleanup = cleanup.lock().unwrap_or_else(PoisonError::into_inner).take();
                Ok(Memory.store(cleanup.expect("it is opened once")))
            });
            // The claims about cleanups begin with a store that has a thread.
            store.wait_until_open(std::time::Duration::ZERO).expect("it opens");
            MeteredStore::new(store)
        }

        fn limits(&self) -> Limits {
            Limits::DEFAULT
        }
    }

    store_conformance::conformance_tests!(PassedOn, indexes);
}

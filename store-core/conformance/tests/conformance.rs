//! The memory store keeps every promise that a store in memory can.

use store_conformance::Harness;
use store_core::{CleanupOptions, Limits, MemoryOptions, MemoryStore};

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

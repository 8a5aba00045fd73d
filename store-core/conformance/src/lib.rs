//! The conformance kit: what every store promises, as tests.
//!
//! Each promise is a function named as a claim, which panics if the store breaks it. A store runs
//! them all with one short file, `tests/conformance.rs`: a [`Harness`] that opens the store, and
//! one call of [`conformance_tests!`].
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
//!         MemoryOptions::new().with_cleanup(cleanup).build().expect("a thread starts")
//!     }
//!
//!     fn limits(&self) -> Limits {
//!         Limits::DEFAULT
//!     }
//! }
//!
//! store_conformance::conformance_tests!(Memory, indexes);
//! # fn main() {}
//! ```
//!
//! A store in a file has its harness already: it says how it opens a file ([`FileStore`]), and
//! [`TempFile`] does the rest. The claims that a `durable` or `shared` store owes start child
//! processes of the test binary.
//!
//! # The clauses
//! [`clauses`] lists the claims with the clauses of the stores' contract that they test.
//!
//! Three things go beyond that contract's second version, and are clauses 9 and 10 here. A change
//! can keep the expiry ([`Change::keeping_expiry`](store_core::Change::keeping_expiry)), so that it
//! takes back no touch that came between. It can
//! expect which live sessions a subject has
//! ([`Change::expecting_sessions_of`](store_core::Change::expecting_sessions_of)); if they are
//! others, nothing happens. And a session can be created by a change with all its conditions
//! ([`Store::create_with`](store_core::Store::create_with)). Of several logins that expect the same
//! sessions, in threads or processes, one is done.
//!
//! What the claims leave to others: 16, that no test sleeps until an expiry, holds for the kit
//! itself; 25, failed runs of the cleanup, is tested with
//! [`CleanupThread`](store_core::backend::CleanupThread), and by each backend with its own faults;
//! 27 also limits the memory of a walk, which is for benchmarks; 29, faults, is for each backend's
//! own tests, except forks.
#![expect(clippy::missing_panics_doc, reason = "a claim panics if the store breaks it")]

#[macro_use]
mod claims;

mod harness;

mod calls;

mod finding_and_writing;

mod updating;

mod histories;

mod concurrency;

mod cleaning;

mod walking;

mod forking;

mod secrecy;

mod subjects;

mod grace;

mod index_races;

mod processes;

mod index_processes;

mod expected_sessions;

pub use forking::{count_threads, in_fork, wait_for_threads};
pub use harness::{DurableHarness, FileStore, Harness, TempFile};

__claims!(table __export ());
__claims!(durable __export ());
__claims!(shared __export ());
__claims!(indexes __export ());
__claims!(durable_indexes __export ());
__claims!(shared_indexes __export ());

/// The names of all claims, for the test that each of them can fail.
#[doc(hidden)]
#[must_use]
pub fn __claim_names() -> Vec<&'static str> {
    [
        __claims!(table __names ()),
        __claims!(durable __names ()),
        __claims!(shared __names ()),
        __claims!(indexes __names ()),
        __claims!(durable_indexes __names ()),
        __claims!(shared_indexes __names ()),
    ]
    .concat()
}

/// The claims, the clauses of the contract that they test, and what they need of a store.
///
/// | clauses | claim | needs |
/// |---|---|---|
#[doc = __claims!(table __rows ("the table of sessions"))]
#[doc = __claims!(durable __rows ("the table, durable"))]
#[doc = __claims!(shared __rows ("the table, shared"))]
#[doc = __claims!(indexes __rows ("the indexes"))]
#[doc = __claims!(durable_indexes __rows ("the indexes, durable"))]
#[doc = __claims!(shared_indexes __rows ("the indexes, shared"))]
pub mod clauses {}

//! A synchronous session store in pure Rust, and the way to it from the Go store `qlstore`.

mod store;

mod options;

mod format;

mod write;

mod engine;

mod opening;

mod flusher;

mod fault;

#[cfg(test)]
mod disk_faults;

mod import;

pub use import::{
    ExistingSessions, ImportError, ImportOptions, ImportReport, QlFormat, Refusal, WalUse,
    check_ql, import_ql,
};
pub use options::{Durability, QlOptions};
pub use store::QlStore;

/// The database engine, in the version of the `Database` that [`QlStore::new`] takes.
pub use redb;

pub use store_core::{
    CleanupOptions, CleanupStatistics, Clock, Error, LastSweep, Limits, ManualClock, Record, Store,
    SubjectStore, SweepFailure, SystemClock, TokenProblem,
};

#[cfg(doctest)]
#[doc = include_str!("../../docs/from-ql.md")]
struct FromQl;

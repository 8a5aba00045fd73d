//! A synchronous session store on redb: in one file, in pure Rust; and an importer of the sessions
//! of the Go store `qlstore`.
//!
//! [`QlStore`] is for Rust what ql was for Go: embedded, without a server or a C compiler, one
//! file, transactions. The engine is [redb](https://docs.rs/redb). It suits static binaries and
//! cross-compiling; one process at a time can use a file.
//!
//! ```
//! use chrono::{TimeDelta, Utc};
//! use store_ql_compat::{QlStore, Store};
//!
//! # let directory = tempfile::tempdir().map_err(store_ql_compat::Error::backend)?;
//! # let path = directory.path().join("sessions.redb");
//! let store = QlStore::open(path)?;
//! store.commit("token", b"data", Utc::now() + TimeDelta::hours(24))?;
//! assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
//! # Ok::<(), store_ql_compat::Error>(())
//! ```
//!
//! # Leaving ql
//! [`import_ql`] reads the table that `qlstore` kept in a genuine ql file, and commits the live
//! sessions to any [`Store`]; [`import_ql_dry_run`] reads as much and writes nothing. The ql file
//! is never changed.
//!
//! # Guides
//! - [`guide`]: durability, one process, the size of the file, errors, and the format byte by byte.
//! - [`from_ql`]: leaving ql without losing a session.

mod store;

mod sync;

mod import;

mod ql_format;

pub use import::{
    ExistingSessions, ImportError, ImportOptions, ImportReport, Rejection, WalStatus, import_ql,
    import_ql_dry_run,
};
pub use ql_format::QlFormat;
pub use store::{Durability, QlOptions, QlStore};

/// The database engine, in the version of the `Database` that [`QlStore::new`] takes.
pub use redb;

pub use store_core::{
    Absorbed, Change, CleanupFailure, CleanupOptions, CleanupStatistics, Clock, Error, LastRun,
    Limits, Loaded, ManualClock, OwnedRecord, Record, Rotation, Store, SystemClock, TokenProblem,
};

#[cfg(doc)]
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

#[cfg(doc)]
#[doc = include_str!("../docs/from-ql.md")]
pub mod from_ql {}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! Synchronous session storage: what every store of the family shares.
//!
//! - [`Store`] is the trait: load, create, update, touch, delete, the sessions of a user, removal
//!   of expired sessions, and walks. It is object-safe and has no `async` in it.
//! - [`Change`] is what one atomic update does: data and expiry, a new token, a subject, and the
//!   sessions that it absorbs.
//! - [`Error`] is what a store returns if the database, and not the caller's token, is at fault.
//! - [`CleanupOptions`] says how often the cleanup thread removes expired sessions.
//! - [`MemoryStore`] keeps sessions in memory. Stores on databases are crates of their own
//!   (`store-sqlite` and its siblings); this crate knows no database.
//! - [`copy()`] copies sessions from any store to any other, and a [`MovingStore`] takes a running
//!   application from one to the other.
//! - [`LazyStore`] opens a store once its database is there. With the feature `metrics`,
//!   `MeteredStore` counts and times what a store does.
//!
//! ```
//! use std::sync::Arc;
//! use chrono::{TimeDelta, Utc};
//! use store_core::{MemoryStore, Store};
//!
//! let store: Arc<dyn Store> = Arc::new(MemoryStore::new()?);
//! store.commit("token", b"data", Utc::now() + TimeDelta::hours(24))?;
//! assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
//! # Ok::<(), store_core::Error>(())
//! ```
//!
//! # Writing a store
//! The module [`backend`] has what stores on databases have in common, such as the cleanup thread.
//! The crate `store-conformance` is the conformance kit: the promises of the trait, as tests, which
//! a store runs in one short file.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod sync;

mod store;

mod record;

mod change;

mod rotation;

mod expected_sessions;

mod error;

mod error_chain;

mod limits;

mod inspection;

mod statistics;

mod clock;

mod cleanup;

mod memory;

mod lazy;

#[cfg(feature = "metrics")]
mod metered;

mod parallel_walk;

mod copying;

mod moving;

pub mod backend;

pub use change::{Absorbed, Change};
pub use cleanup::{CleanupFailure, CleanupOptions, CleanupStatistics, LastRun, ManualCleanup};
pub use clock::{Clock, ManualClock, SystemClock};
pub use copying::{CopyError, CopyOptions, CopyReport, copy};
pub use error::{BoxError, Error, ErrorSource, TokenProblem};
pub use error_chain::ErrorChain;
pub use expected_sessions::ExpectedSessions;
pub use inspection::Inspection;
pub use lazy::LazyStore;
pub use limits::{Limits, MAX_SUBJECT_LEN};
pub use memory::{MemoryOptions, MemoryStore};
#[cfg(feature = "metrics")]
pub use metered::MeteredStore;
pub use moving::{MoveReport, MovingStore};
pub use record::{Loaded, OwnedRecord, Record};
pub use rotation::Rotation;
pub use statistics::StoreStatistics;
pub use store::Store;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

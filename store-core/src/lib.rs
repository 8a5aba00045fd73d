//! Synchronous session storage: what every store of the family shares.
//!
//! - [`Store`] is the trait: load, create, update, touch, delete, the sessions of a user, sweep and
//!   walk. It is object-safe and has no `async` in it.
//! - [`Change`] is what one atomic update does: data and expiry, a new token, a subject, and the
//!   sessions that it absorbs.
//! - [`Error`] is what it gives when the database, and not the caller's token, is at fault.
//! - [`Cleanup`] is the thread that removes expired sessions; [`CleanupOptions`] says how often.
//! - [`MemoryStore`] keeps sessions in memory. Stores on databases are crates of their own
//!   (`store-sqlite` and its siblings); this crate knows no database.
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
//! # The conformance kit
//! With the feature `conformance` this crate has the module `conformance`: the promises that the
//! trait makes, as tests. A store of your own runs it in one short file; see there.

mod store;

mod change;

mod error;

mod limits;

mod clock;

mod lock;

mod background;

mod cleanup;

mod group_commit;

mod operation;

mod memory;

mod report;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use background::{BackgroundThread, StopSignal};
pub use change::{Absorbed, Change, Rotation};
pub use cleanup::{
    Batch, Cleanup, CleanupOptions, CleanupStatistics, LastSweep, ManualSweeps, SweepFailure, sweep,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Cause, Error, TokenProblem};
pub use group_commit::{GroupCommit, GroupError};
pub use limits::Limits;
pub use memory::{MemoryOptions, MemoryStore};
pub use operation::Operation;
pub use report::Report;
pub use store::{Loaded, MAX_SUBJECT_LEN, OwnedRecord, Record, Store, check_subject};

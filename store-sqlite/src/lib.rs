//! A synchronous session store on SQLite.
//!
//! [`SqliteStore`] keeps sessions in the table of the Go store `sqlite3store`: a Rust and a Go
//! program can share one database at the same time, and moving over needs no migration.
//! [`SqliteOptions`] has what can be set. The [guide] has the tables, journal modes,
//! durability, several processes, memory-mapped reads and what to do about each error.
//!
//! ```
//! use chrono::{TimeDelta, Utc};
//! use store_sqlite::{SqliteStore, Store};
//!
//! # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
//! # let path = directory.path().join("sessions.db");
//! let store = SqliteStore::open(path)?;
//! store.commit("token", b"data", Utc::now() + TimeDelta::hours(24))?;
//! assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
//! # Ok::<(), store_sqlite::Error>(())
//! ```
//!
//! # Which SQLite
//! The feature `bundled`, on by default, compiles SQLite into the application. With
//! `default-features = false` the system's library is linked; it must be 3.35 or newer.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod store;

mod statistics;

mod opening;

mod existing;

mod options;

mod maintenance;

mod shared;

mod write;

mod walk;

mod cleanup;

mod batch_sizer;

mod expired;

mod database;

mod connections;

mod pool;

mod manager;

mod reader_connections;

mod connection;

mod retry;

mod tables;

mod statements;

mod subjects;

mod rotations;

mod schema;

mod table;

mod row;

mod julian;

mod file;

mod error;

pub use connection::Durability;
pub use options::SqliteOptions;
pub use store::SqliteStore;

/// The pool that [`SqliteStore::new`] takes, in the version that it takes; of any manager of
/// rusqlite's connections, such as that of the crate `r2d2_sqlite`.
pub use r2d2;
/// The driver underneath, in the version whose connections the pool has.
pub use rusqlite;

pub use store_core::{
    Absorbed, Change, CleanupFailure, CleanupOptions, CleanupStatistics, Clock, Error, LastRun,
    Limits, Loaded, ManualClock, OwnedRecord, Record, Rotation, Store, SystemClock, TokenProblem,
};

/// Sessions in SQLite: tables, settings, memory-mapped reads, several processes, errors.
#[cfg(doc)]
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ReadmeOfTheRepository;

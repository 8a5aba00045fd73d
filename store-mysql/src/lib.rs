//! A synchronous session store on MySQL and MariaDB.
//!
//! [`MysqlStore`] keeps sessions in the table of the Go store `mysqlstore`: a Rust and a Go program
//! can share one database at the same time, and moving over needs no migration.
//!
//! ```no_run
//! use chrono::{TimeDelta, Utc};
//! use store_mysql::{MysqlStore, Store};
//!
//! let store = MysqlStore::connect("mysql://app:secret@db.example/app")?;
//! store.commit("token", b"data", Utc::now() + TimeDelta::hours(24))?;
//! assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
//! # Ok::<(), store_mysql::Error>(())
//! ```

mod store;

mod shared;

mod statements;

mod create;

mod update;

mod delete;

mod lost_reply;

mod retry;

mod rotations;

mod subjects;

mod walk;

mod cleanup;

mod options;

mod table;

mod side_tables;

mod time;

mod manager;

mod galera;

mod address;

mod connection;

#[cfg(feature = "rustls")]
mod tls;

mod error;

pub use connection::Connection;
pub use manager::{ConnectError, MysqlConnectionManager};
pub use options::MysqlOptions;
pub use store::MysqlStore;
pub use table::TableVariant;

/// The driver underneath, whose options [`MysqlConnectionManager::from_opts`] takes.
pub use mysql;
/// The pool that [`MysqlStore::new`] takes, in the version that it takes.
pub use r2d2;

pub use store_core::{
    Absorbed, Change, CleanupFailure, CleanupOptions, CleanupStatistics, Error, LastRun, Limits,
    Loaded, OwnedRecord, Record, Rotation, Store, TokenProblem,
};

#[cfg(doctest)]
#[doc = include_str!("../docs/guide.md")]
struct Documentation;

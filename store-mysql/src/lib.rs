//! A synchronous session store on MySQL and MariaDB.
//!
//! [`MysqlStore`] keeps sessions in the table of the Go store `mysqlstore`: a Rust and a Go program
//! can share one database at the same time, and moving over needs no migration. The [`guide`] has
//! what else to know: tables, rights, timeouts, clusters, errors.
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
#![cfg_attr(docsrs, feature(doc_cfg))]

mod store;

mod statistics;

mod open;

mod options;

mod inspection;

mod shared;

mod conditions;

mod create;

mod free_token;

mod update;

mod delete;

mod by_subject;

mod walk;

mod cleanup;

mod retry;

mod lost_reply;

mod error;

mod sql;

mod rows;

mod statements;

mod subjects;

mod rotations;

mod table;

mod schema;

mod ddl;

mod side_tables;

mod time;

mod pool;

mod manager;

mod connection;

mod driver;

mod connect_error;

mod servers;

mod engine;

mod outage;

mod clock_offset;

mod credentials;

mod health;

mod lock;

mod settings;

mod galera;

mod tidb;

mod vitess;

mod address;

#[cfg(feature = "rustls")]
mod tls;

pub use connect_error::ConnectError;
pub use connection::Connection;
pub use credentials::Credentials;
pub use manager::MysqlConnectionManager;
pub use options::MysqlOptions;
pub use pool::LogFailures;
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

#[cfg(doc)]
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

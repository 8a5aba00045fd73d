//! The promises of every store, and what is peculiar to MySQL and MariaDB, on real servers.

mod writes;

mod proxy;

mod conformance;

mod engines;

mod tables;

mod zones;

mod wire;

mod lost;

mod networks;

mod rotations;

mod expected_sessions;

mod settings;

mod faults;

mod away;

mod forks;

mod cleanup;

mod statistics;

mod galera;

mod haproxy;

mod vitess;

#[cfg(feature = "rustls")]
mod encryption;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::CleanupOptions;
use store_mysql::MysqlOptions;

/// Options without a cleanup thread.
fn options() -> MysqlOptions {
    MysqlOptions::new().with_cleanup(CleanupOptions::disabled())
}

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

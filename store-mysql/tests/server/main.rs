//! The promises of every store, and what is peculiar to MySQL and MariaDB, on real servers.

mod database;

mod proxy;

mod conformance;

mod tables;

mod zones;

mod wire;

mod lost;

mod settings;

mod faults;

mod sweeping;

mod galera;

#[cfg(feature = "rustls")]
mod encryption;

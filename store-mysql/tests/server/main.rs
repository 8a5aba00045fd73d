//! The promises of every store, and what is peculiar to MySQL and MariaDB, on real servers.

mod database;

mod writes;

mod proxy;

mod conformance;

mod tables;

mod zones;

mod wire;

mod lost;

mod rotations;

mod settings;

mod faults;

mod cleanup;

mod galera;

#[cfg(feature = "rustls")]
mod encryption;

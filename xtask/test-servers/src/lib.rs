//! Private, temporary MariaDB and MySQL servers for tests, and clusters of MariaDB.
//!
//! [`shared_server`] is the one server that all tests of a program share, with a `Database` for
//! each test (feature `database`); [`private_server`] is a server of one test. Both are a
//! [`PrivateServer`]: it listens on a free port of a loopback address, has its data in a temporary
//! directory, and ends with the process that started it, however that ends. An [`Installation`] is
//! where the programs are: the machine's own, or a copy below the target directory.
//!
//! A [`Result`] fails with a message for a person at a terminal. Functions that only tests call
//! panic instead.

#![expect(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "tests and tasks are the only callers, and stop at any failure"
)]

#[cfg(feature = "database")]
mod ability;

mod apt;

mod certutil;

#[cfg(feature = "database")]
mod database;

mod galera;

mod go;

mod haproxy;

mod installation;

mod maven;

mod packaged_program;

mod packages;

mod ports;

mod program;

mod release;

mod server;

mod shared;

mod supervisor;

mod template;

mod tidb;

mod vitess;

use std::error::Error;

#[cfg(feature = "database")]
pub use ability::Ability;
pub use certutil::{obtain_certutil, trust_authority};
#[cfg(feature = "database")]
pub use database::{CLASSIC, CLASSIC_IGNORING_CASE, Database};
pub use galera::GaleraCluster;
pub use haproxy::HaProxy;
pub use installation::Installation;
pub use release::{Product, Release};
pub use server::{PrivateServer, ServerOptions};
pub use shared::{SharedServer, is_server_there, private_server, shared_server};
pub use tidb::TidbServer;
pub use vitess::VitessServer;

/// What starting or finding a server fails with: a message for a person at a terminal.
pub type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The environment variable that chooses the server, by the [name](Release::name) of its release;
/// the machine's MariaDB by default.
pub const SERVER_VARIABLE: &str = "STORE_MYSQL_SERVER";

/// The environment variable that makes the absence of a server a failure. Without it tests report
/// that they skip.
pub const REQUIRED_VARIABLE: &str = "STORE_MYSQL_REQUIRED";

/// The environment variable with the URL of a server that tests use instead of starting one.
pub const URL_VARIABLE: &str = "STORE_MYSQL_URL";

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
mod database;

mod galera;

mod installation;

mod packages;

mod ports;

mod program;

mod server;

mod shared;

mod supervisor;

mod template;

use std::error::Error;
use std::{env, fmt};

#[cfg(feature = "database")]
pub use database::{CLASSIC, Database};
pub use galera::GaleraCluster;
pub use installation::Installation;
pub use server::{PrivateServer, ServerOptions};
pub use shared::{SharedServer, is_server_there, private_server, shared_server};

/// What starting or finding a server fails with: a message for a person at a terminal.
pub type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The environment variable that chooses the product: `mariadb` (the default) or `mysql`.
pub const PRODUCT_VARIABLE: &str = "STORE_MYSQL_PRODUCT";

/// The environment variable that makes the absence of a server a failure. Without it tests report
/// that they skip.
pub const REQUIRED_VARIABLE: &str = "STORE_MYSQL_REQUIRED";

/// The environment variable with the URL of a server that tests use instead of starting one.
pub const URL_VARIABLE: &str = "STORE_MYSQL_URL";

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Product {
    /// MariaDB, from the distribution's packages.
    MariaDb,
    /// Oracle's MySQL, from the packages of Debian unstable.
    MySql,
}

impl Product {
    /// Returns what [`PRODUCT_VARIABLE`] says: MariaDB if it isn't set.
    pub fn from_env() -> Result<Self> {
        match env::var_os(PRODUCT_VARIABLE) {
            None => Ok(Self::MariaDb),
            Some(name) => Self::from_name(&name.to_string_lossy())
                .map_err(|error| format!("{PRODUCT_VARIABLE}: {error}").into()),
        }
    }

    /// Returns the product that tasks and variables call by this name.
    pub fn from_name(name: &str) -> Result<Self> {
        [Self::MariaDb, Self::MySql]
            .into_iter()
            .find(|product| product.name() == name)
            .ok_or_else(|| format!("there is no product {name:?}; they are: mariadb, mysql").into())
    }

    /// The name in tasks, variables and directories.
    pub fn name(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb",
            Self::MySql => "mysql",
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::MariaDb => "MariaDB",
            Self::MySql => "Oracle MySQL",
        })
    }
}

//! Private, throw-away MariaDB and MySQL servers for tests, and clusters of MariaDB.
//!
//! An [`Installation`] is a product's programs: the machine's own, or a copy below the target
//! directory that leaves the machine untouched. [`PrivateServer`] and [`GaleraCluster`] run them on
//! ports and in directories of their own, and end with whoever started them, however that ends.
//! [`shared_server`] is the one server of a test program.

mod galera;

mod installation;

mod packages;

mod ports;

mod program;

mod server;

mod shared;

mod supervisor;

mod template;

use std::env;
use std::fmt;

pub use galera::GaleraCluster;
pub use installation::Installation;
pub use server::{PrivateServer, ServerOptions};
pub use shared::{SharedServer, shared_server};

use crate::Result;

/// The environment variable that chooses the product: `mariadb` (the default) or `mysql`.
pub const PRODUCT_VARIABLE: &str = "STORE_MYSQL_PRODUCT";

/// The environment variable that makes the absence of a server a failure. Without it tests announce
/// that they skip.
pub const REQUIRED_VARIABLE: &str = "STORE_MYSQL_REQUIRED";

/// The environment variable with the URL of a server that tests use instead of starting one.
pub const URL_VARIABLE: &str = "STORE_MYSQL_URL";

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Product {
    /// MariaDB, as the distribution has it.
    MariaDb,
    /// Oracle's MySQL, as Debian unstable has it.
    MySql,
}

impl Product {
    /// What [`PRODUCT_VARIABLE`] says, MariaDB where it says nothing.
    ///
    /// # Errors
    ///
    /// The variable has another value.
    pub fn from_env() -> Result<Self> {
        match env::var_os(PRODUCT_VARIABLE) {
            None => Ok(Self::MariaDb),
            Some(name) => Self::from_name(&name.to_string_lossy())
                .map_err(|error| format!("{PRODUCT_VARIABLE}: {error}").into()),
        }
    }

    /// The product that tasks and variables call by this name.
    ///
    /// # Errors
    ///
    /// No product has the name.
    pub fn from_name(name: &str) -> Result<Self> {
        [Self::MariaDb, Self::MySql]
            .into_iter()
            .find(|product| product.name() == name)
            .ok_or_else(|| format!("there is no product {name:?}; they are: mariadb, mysql").into())
    }

    /// The name in tasks, variables and directories.
    #[must_use]
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

//! Whose servers there are, and in which versions.

use std::{env, fmt};

use crate::{Result, SERVER_VARIABLE};

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Product {
    /// MariaDB.
    MariaDb,
    /// Oracle's MySQL.
    MySql,
}

/// A product's version, by where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Release {
    /// The MariaDB of the machine or of its distribution.
    MariaDb,
    /// MariaDB 10.5, from Debian 11.
    MariaDb10_5,
    /// MariaDB 11.8, from Debian 13.
    MariaDb11_8,
    /// The MySQL of Debian unstable.
    MySql,
    /// MySQL 5.7, from Maven.
    MySql5_7,
    /// MySQL 8.0, from Maven.
    MySql8_0,
}

impl Product {
    /// Returns the product of the [release](Release::from_env) that the tests use.
    pub fn from_env() -> Result<Self> {
        Release::from_env().map(Release::product)
    }
}

impl Release {
    /// All that there are.
    pub const ALL: [Self; 6] = [
        Self::MariaDb,
        Self::MariaDb10_5,
        Self::MariaDb11_8,
        Self::MySql,
        Self::MySql5_7,
        Self::MySql8_0,
    ];

    /// Returns what [`SERVER_VARIABLE`] says: the machine's MariaDB if it isn't set.
    pub fn from_env() -> Result<Self> {
        match env::var_os(SERVER_VARIABLE) {
            None => Ok(Self::MariaDb),
            Some(name) => Self::from_name(&name.to_string_lossy())
                .map_err(|error| format!("{SERVER_VARIABLE}: {error}").into()),
        }
    }

    /// Returns the release that tasks and variables call by this name.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|release| release.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no server {name:?}; they are: {names}").into()
        })
    }

    /// The name in tasks, variables and directories.
    pub fn name(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb",
            Self::MariaDb10_5 => "mariadb-10.5",
            Self::MariaDb11_8 => "mariadb-11.8",
            Self::MySql => "mysql",
            Self::MySql5_7 => "mysql-5.7",
            Self::MySql8_0 => "mysql-8.0",
        }
    }

    /// Whose it is.
    pub fn product(self) -> Product {
        match self {
            Self::MariaDb | Self::MariaDb10_5 | Self::MariaDb11_8 => Product::MariaDb,
            Self::MySql | Self::MySql5_7 | Self::MySql8_0 => Product::MySql,
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

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::MariaDb => "MariaDB",
            Self::MariaDb10_5 => "MariaDB 10.5",
            Self::MariaDb11_8 => "MariaDB 11.8",
            Self::MySql => "Oracle MySQL",
            Self::MySql5_7 => "Oracle MySQL 5.7",
            Self::MySql8_0 => "Oracle MySQL 8.0",
        })
    }
}

//! Makes the connections of a pool.

use std::fmt;
use std::sync::Arc;

use mysql::Opts;
use r2d2::ManageConnection;
use store_core::Error;

use crate::address;
use crate::connection::Connection;
use crate::servers::{ConnectError, Servers};

/// Makes the connections of a pool that a [`MysqlStore`](crate::MysqlStore) can use.
///
/// It takes the driver's options as they are, and adds what no session store can do without:
/// - the time zone `+00:00`, a strict `sql_mode`, `autocommit`, `REPEATABLE READ`, the character set `utf8mb4` and no
///   limits to a statement's rows, whatever the server's defaults, its `init_connect` and the options' own `init` say;
/// - timeouts for connecting (3 s), reading and writing (8 s each) where the options have none, and shorter ones for the
///   server's locks, so that the server gives up before the client does;
/// - no silent move to a Unix socket (`prefer_socket`), and rows counted where they are matched;
/// - in a Galera cluster, `wsrep_sync_wait`: what one node has acknowledged is seen through each.
///
/// Its connections can't be used for anything else: they are prepared and accounted for by the stores
/// alone, so a reply that came too late can never be taken for the reply to another question. An
/// application's own queries go through a pool of its own.
///
/// # Examples
/// ```no_run
/// use store_mysql::r2d2::Pool;
/// use store_mysql::{Error, MysqlConnectionManager, MysqlStore};
///
/// let manager = MysqlConnectionManager::new("mysql://app:secret@db.example/app")?;
/// let pool = Pool::builder().max_size(4).build(manager).map_err(Error::backend)?;
/// MysqlStore::create_table(&pool)?;
/// let store = MysqlStore::new(pool)?;
/// # drop(store);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct MysqlConnectionManager {
    servers: Arc<Servers>,
}

impl MysqlConnectionManager {
    /// Takes the URL of a server, `mysql://user:password@host:port/database`, or of several that hold
    /// the same data, in order of preference: `mysql://user:password@one:3306,two,three/database`.
    ///
    /// The parameters of the URL are [the driver's](mysql::OptsBuilder::from_hash_map).
    ///
    /// # Errors
    /// [`Error::InvalidOption`], which says what is wrong with the URL and never shows the password.
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::from_opts(address::servers(url)?)
    }

    /// Takes the driver's own options of a server, or of several that hold the same data, in order of
    /// preference.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] where there is no server, where one has no database, or where TLS is
    /// asked for without the feature `rustls`.
    pub fn from_opts<O: Into<Opts>>(servers: impl IntoIterator<Item = O>) -> Result<Self, Error> {
        let servers = Servers::new(servers.into_iter().map(Into::into))?;
        #[cfg(feature = "rustls")]
        crate::tls::install_default_provider();
        Ok(Self { servers: Arc::new(servers) })
    }
}

impl fmt::Debug for MysqlConnectionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlConnectionManager").field("servers", &self.servers).finish()
    }
}

impl ManageConnection for MysqlConnectionManager {
    type Connection = Connection;
    type Error = ConnectError;

    fn connect(&self) -> Result<Connection, ConnectError> {
        Connection::open(&self.servers)
    }

    /// Asks the server nothing: a lost connection is found out by using it.
    fn is_valid(&self, connection: &mut Connection) -> Result<(), ConnectError> {
        if connection.is_usable() {
            Ok(())
        } else {
            Err(ConnectError::new("the server has dropped connections since this one was made"))
        }
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        !connection.is_usable()
    }
}

#[cfg(all(test, not(feature = "rustls")))]
mod tests {
    use super::*;

    #[test]
    fn encryption_needs_its_feature() {
        for url in [
            "mysql://localhost/app?root_cert_path=ca.pem",
            "mysql://localhost/app?danger_accept_invalid_certs=true",
        ] {
            let refused = MysqlConnectionManager::new(url).expect_err(url);
            assert!(refused.to_string().contains("rustls"), "{refused}");
        }
    }
}

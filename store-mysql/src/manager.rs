//! Makes the connections of a pool.

use std::fmt;
use std::sync::Arc;

use mysql::Opts;
use r2d2::ManageConnection;
use store_core::Error;

use crate::address;
use crate::connect_error::ConnectError;
use crate::connection::Connection;
use crate::credentials::Provider;
use crate::servers::Servers;
use crate::settings::ConnectionTimes;

/// Makes the connections of a pool that a [`MysqlStore`](crate::MysqlStore) can use.
///
/// It takes the driver's options as they are, and adds what a session store needs:
/// - the time zone `+00:00`, a strict `sql_mode`, `autocommit`, `REPEATABLE READ`, the character
///   set `utf8mb4` and no limit on the rows of a statement, whatever the server's defaults, its
///   `init_connect` and the options' own `init` say;
/// - timeouts for connecting (3 s), reading and writing (8 s each) if the options have none, and
///   shorter ones for the server's locks, so that the server's limit comes before the client's;
/// - TCP keep-alive after a minute of silence, and connections that are replaced after three
///   minutes without use and after five minutes at the latest; [`MysqlOptions::manager`] takes
///   other times;
/// - no silent move to a Unix socket (`prefer_socket`), and affected rows that count matches;
/// - in a Galera cluster, `wsrep_sync_wait`: what one node has acknowledged is seen on each.
///
/// Its connections can't be used for anything else. Stores alone prepare them and account for their
/// replies, so that a reply which comes too late can never be taken for the reply to another
/// statement. An application's own queries go through another pool.
///
/// [`MysqlOptions::manager`]: crate::MysqlOptions::manager
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
    /// Takes the URL of a server, `mysql://user:password@host:port/database`, or of several that
    /// hold the same data, in order of preference:
    /// `mysql://user:password@one:3306,two,three/database`.
    ///
    /// The parameters of the URL are [the driver's](mysql::OptsBuilder::from_hash_map).
    ///
    /// # Errors
    /// [`Error::InvalidOption`], which says what is wrong with the URL and never shows the
    /// password.
    ///
    /// # Examples
    /// ```
    /// use store_mysql::{Error, MysqlConnectionManager};
    ///
    /// let manager = MysqlConnectionManager::new("mysql://app:secret@one,two/app")?;
    /// assert!(format!("{manager:?}").contains("one:3306"));
    /// assert!(MysqlConnectionManager::new("postgres://db.example/app").is_err());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::from_opts(address::servers(url)?)
    }

    /// Takes the driver's own options of a server, or of several that hold the same data, in order
    /// of preference.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if there is no server, if one has no database, or if TLS is asked
    /// for without the feature `rustls`.
    ///
    /// # Examples
    /// ```
    /// use store_mysql::MysqlConnectionManager;
    /// use store_mysql::mysql::OptsBuilder;
    ///
    /// let server = |host| {
    ///     OptsBuilder::new().ip_or_hostname(Some(host)).user(Some("app")).db_name(Some("app"))
    /// };
    /// let manager = MysqlConnectionManager::from_opts([server("one"), server("two")])?;
    /// # drop(manager);
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
    pub fn from_opts<O: Into<Opts>>(servers: impl IntoIterator<Item = O>) -> Result<Self, Error> {
        Self::with_settings(servers.into_iter().map(Into::into), ConnectionTimes::default(), None)
    }

    pub(crate) fn with_settings(
        servers: impl IntoIterator<Item = Opts>,
        times: ConnectionTimes,
        credentials: Option<Provider>,
    ) -> Result<Self, Error> {
        let servers = Servers::new(servers, times, credentials)?;
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

    /// Doesn't ask the server: a lost connection is noticed when it is used.
    fn is_valid(&self, connection: &mut Connection) -> Result<(), ConnectError> {
        if connection.is_usable() {
            Ok(())
        } else if connection.is_forked() {
            Err(ConnectError::refused(
                "the pool was made before this process was forked: make it after the fork"
                    .to_owned(),
            ))
        } else {
            Err(ConnectError::recycled())
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

//! The options of a store, and the pool of those who have none.

use std::num::NonZeroU32;
use std::time::Duration;

use mysql::{Opts, OptsBuilder};
use r2d2::{ManageConnection, Pool};
use store_core::{CleanupOptions, Error, Limits};

use crate::manager::{CONNECT_TIMEOUT, MysqlConnectionManager, NETWORK_TIMEOUT};
use crate::retry::checkout;
use crate::store::MysqlStore;
use crate::table::{self, TableVariant};
use crate::{address, manager};

/// Enough for one process, and few enough for a dozen of them at a server's default of 151.
const MAX_CONNECTIONS: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

/// Far more than anybody wants to wait, far less than the clocks of the libraries underneath can
/// hold.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// How a [`MysqlStore`] is made.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use store_mysql::{CleanupOptions, MysqlOptions};
///
/// let store = MysqlOptions::new()
///     .with_table_name("web_sessions")
///     .with_cleanup(CleanupOptions::new().with_interval(Duration::from_secs(60)))
///     .connect("mysql://app:secret@db.example/app")?;
/// # drop(store);
/// # Ok::<(), store_mysql::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct MysqlOptions {
    pub(crate) table: String,
    pub(crate) limits: Limits,
    pub(crate) cleanup: CleanupOptions,
    pub(crate) operation_timeout: Duration,
    checkout_timeout: Duration,
    max_connections: NonZeroU32,
    connect_timeout: Duration,
    network_timeout: Duration,
}

impl MysqlOptions {
    /// The defaults, which each method names.
    pub fn new() -> Self {
        Self {
            table: "sessions".to_owned(),
            limits: Limits::DEFAULT,
            cleanup: CleanupOptions::new(),
            operation_timeout: Duration::from_secs(10),
            checkout_timeout: Duration::from_secs(5),
            max_connections: MAX_CONNECTIONS,
            connect_timeout: CONNECT_TIMEOUT,
            network_timeout: NETWORK_TIMEOUT,
        }
    }

    /// The table's name: at most 43 ASCII letters, digits and underscores. Default: `sessions`.
    ///
    /// A name with anything else is refused with [`Error::InvalidOption`] when the store is made.
    pub fn with_table_name(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// The largest token and data that the store takes, as far as the table and the server hold
    /// them. Default:
    /// [`Limits::DEFAULT`].
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// When and how expired sessions are removed, and who hears of failures. Default:
    /// [`CleanupOptions::new`], every five minutes. A batch has at most 10,000 rows.
    pub fn with_cleanup(mut self, cleanup: CleanupOptions) -> Self {
        self.cleanup = cleanup;
        self
    }

    /// How long an operation may be tried again after deadlocks, lost connections and the like; no
    /// attempt is begun later. Default: 10 seconds.
    ///
    /// An attempt that has been begun takes at most two network timeouts more for each of its round
    /// trips; see [`MysqlStore`] for how many an operation has. A statement that a connection meets
    /// for the first time takes one more.
    pub fn with_operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// How long an operation waits for a connection of the pool that [`connect`](Self::connect)
    /// makes before it gives
    /// [`Error::PoolExhausted`] or [`Error::Unreachable`]. Default: 5 seconds.
    pub fn with_checkout_timeout(mut self, timeout: Duration) -> Self {
        self.checkout_timeout = timeout;
        self
    }

    /// How many connections the pool that [`connect`](Self::connect) makes has at the most.
    /// Default: 10.
    pub fn with_max_connections(mut self, connections: NonZeroU32) -> Self {
        self.max_connections = connections;
        self
    }

    /// How long making a TCP connection to a server may take, for [`connect`](Self::connect),
    /// unless the URL or the driver's options say otherwise. Default: 3 seconds.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one read from the network, and one write to it, may take, for
    /// [`connect`](Self::connect), unless the driver's options say otherwise. Default: 8 seconds,
    /// which is longer than a Galera cluster with default settings stalls when it loses a node.
    ///
    /// Locks on the server are waited for half as long, but at least a second.
    pub fn with_network_timeout(mut self, timeout: Duration) -> Self {
        self.network_timeout = timeout;
        self
    }

    /// Connects to a server, `mysql://user:password@host:port/database`, or to several that hold
    /// the same data, the nodes of a cluster, in order of preference:
    /// `mysql://user:password@one:3306,two,three/database`. The table must be there; see
    /// [`create_table`](Self::create_table).
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; [`Error::Unreachable`] where no server takes the connection, with
    /// the reasons of each; [`Error::TableMissing`] and [`Error::TableMismatch`], which say what to
    /// do; and other faults of the system.
    pub fn connect(self, url: &str) -> Result<MysqlStore, Error> {
        let pool = self.pool(url)?;
        self.build(pool)
    }

    /// As [`connect`](Self::connect), with the driver's own options of each server.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub fn connect_with_opts<O: Into<Opts>>(
        self,
        servers: impl IntoIterator<Item = O>,
    ) -> Result<MysqlStore, Error> {
        let pool = self.pool_of(servers.into_iter().map(Into::into).collect())?;
        self.build(pool)
    }

    /// The pool that [`connect`](Self::connect) makes, for [`create_table`](Self::create_table), or
    /// for several stores.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; [`Error::Unreachable`] where no server takes the connection.
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::{MysqlOptions, MysqlStore};
    ///
    /// let pool = MysqlOptions::new().pool("mysql://app:secret@db.example/app")?;
    /// MysqlStore::create_table(&pool)?;
    /// let store = MysqlStore::new(pool)?;
    /// # drop(store);
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
    pub fn pool(&self, url: &str) -> Result<Pool<MysqlConnectionManager>, Error> {
        self.pool_of(address::servers(url)?)
    }

    /// A store on a pool that the application has made, and on a table that is already there. Side
    /// tables that are missing are created, if the account has the right to.
    ///
    /// The pool's size and timeouts are those that it was made with.
    ///
    /// # Errors
    /// [`Error::TableMissing`] and [`Error::TableMismatch`], which say what to do;
    /// [`Error::InvalidOption`]; and faults of the system.
    pub fn build(self, pool: Pool<MysqlConnectionManager>) -> Result<MysqlStore, Error> {
        self.check()?;
        MysqlStore::with_options(pool, self)
    }

    /// Creates the table and its side tables if they are missing, and returns which variant of the
    /// table is there now; a table that is there already stays as it is.
    ///
    /// It needs the privilege `CREATE` only where something is missing.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; [`Error::TableMismatch`] where a table of this name can't keep
    /// sessions; and faults of the system.
    pub fn create_table(&self, pool: &Pool<MysqlConnectionManager>) -> Result<TableVariant, Error> {
        self.check()?;
        let mut connection = checkout(pool, pool.connection_timeout())?;
        table::create(&mut connection, &self.table)?;
        Ok(table::inspect(&mut connection, &self.table, self.limits)?.variant)
    }

    fn pool_of(&self, servers: Vec<Opts>) -> Result<Pool<MysqlConnectionManager>, Error> {
        self.check()?;
        let with_timeouts = |opts: Opts| {
            let or = |own: Option<&Duration>, default| Some(own.copied().unwrap_or(default));
            let read = or(opts.get_read_timeout(), self.network_timeout);
            let write = or(opts.get_write_timeout(), self.network_timeout);
            let connect = or(opts.get_tcp_connect_timeout().as_ref(), self.connect_timeout);
            OptsBuilder::from_opts(opts)
                .read_timeout(read)
                .write_timeout(write)
                .tcp_connect_timeout(connect)
        };
        let manager = MysqlConnectionManager::from_opts(servers.into_iter().map(with_timeouts))?;
        // A first connection of its own, because the pool would only give the text of its errors,
        // late.
        let first =
            manager.connect().map_err(|error| Error::Unreachable { source: error.into() })?;
        drop(first);
        Ok(Pool::builder()
            .max_size(self.max_connections.get())
            .min_idle(Some(0))
            .connection_timeout(self.checkout_timeout)
            .error_handler(Box::new(manager::LogFailures))
            .build_unchecked(manager))
    }

    fn check(&self) -> Result<(), Error> {
        table::check_name(&self.table)?;
        let invalid = |option, problem: &str| {
            Err(Error::InvalidOption { option, problem: problem.to_owned() })
        };
        if self.limits.max_token_len == 0 {
            return invalid("limits", "no token has at most 0 bytes");
        }
        for (option, timeout) in [
            ("checkout timeout", self.checkout_timeout),
            ("connect timeout", self.connect_timeout),
            ("network timeout", self.network_timeout),
        ] {
            if timeout.is_zero() || timeout > MAX_TIMEOUT {
                return invalid(option, "it must be longer than zero and at most a day");
            }
        }
        if self.operation_timeout > MAX_TIMEOUT {
            return invalid("operation timeout", "it must be at most a day");
        }
        Ok(())
    }
}

impl Default for MysqlOptions {
    fn default() -> Self {
        Self::new()
    }
}

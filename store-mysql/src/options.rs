//! The options of a store, and the pool that they describe.

use std::num::NonZeroU32;
use std::time::Duration;

use mysql::{Opts, OptsBuilder};
use r2d2::{ManageConnection, Pool};
use store_core::backend::{OpenStore, TableName};
use store_core::{CleanupOptions, Error, Limits};

use crate::manager::MysqlConnectionManager;
use crate::pool::{LogFailures, checkout};
use crate::settings::{CONNECT_TIMEOUT, NETWORK_TIMEOUT};
use crate::shared::Shared;
use crate::store::MysqlStore;
use crate::table::TableVariant;
use crate::{address, ddl, schema};

/// Enough for one process, and few enough for a dozen processes at a server's default of 151.
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
    table: String,
    limits: Limits,
    cleanup: CleanupOptions,
    operation_timeout: Duration,
    checkout_timeout: Duration,
    max_connections: NonZeroU32,
    connect_timeout: Duration,
    network_timeout: Duration,
}

impl MysqlOptions {
    /// The defaults, which each method names.
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::MysqlOptions;
    ///
    /// let store = MysqlOptions::new().connect("mysql://app:secret@db.example/app")?;
    /// # drop(store);
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
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

    /// Sets the table's name: at most 40 ASCII letters, digits and underscores, the first of which
    /// is no digit. Default: `sessions`.
    ///
    /// Any other name is refused with [`Error::InvalidOption`] when the store is made.
    ///
    /// # Examples
    /// ```
    /// use store_mysql::MysqlOptions;
    ///
    /// let options = MysqlOptions::new().with_table_name("web_sessions");
    /// # drop(options);
    /// ```
    pub fn with_table_name(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// Sets the largest token and the largest data, in bytes, that the store takes; the table and
    /// the server may allow less. Default: [`Limits::DEFAULT`].
    ///
    /// # Examples
    /// ```
    /// use store_mysql::{Limits, MysqlOptions};
    ///
    /// let limits = Limits { max_data_len: 64 * 1024, ..Limits::DEFAULT };
    /// let options = MysqlOptions::new().with_limits(limits);
    /// # drop(options);
    /// ```
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets when and how expired sessions are removed, and who is told of failures. Default:
    /// [`CleanupOptions::new`], every five minutes. A batch has at most 10,000 rows.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_mysql::{CleanupOptions, MysqlOptions};
    ///
    /// let hourly = CleanupOptions::new().with_interval(Duration::from_secs(60 * 60));
    /// let options = MysqlOptions::new().with_cleanup(hourly);
    /// # drop(options);
    /// ```
    pub fn with_cleanup(mut self, cleanup: CleanupOptions) -> Self {
        self.cleanup = cleanup;
        self
    }

    /// Sets for how long an operation is tried again after deadlocks, lost connections and the
    /// like. No attempt begins later. Default: 10 seconds; at most a day.
    ///
    /// An attempt that has begun takes at most two network timeouts for each of its round trips;
    /// [`MysqlStore`] says how many an operation has. A statement that a connection runs for the
    /// first time takes one more.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_mysql::MysqlOptions;
    ///
    /// // One attempt, and no second one.
    /// let options = MysqlOptions::new().with_operation_timeout(Duration::ZERO);
    /// # drop(options);
    /// ```
    #[doc(alias = "retry")]
    pub fn with_operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// Sets how long an operation waits for a connection of the pool that
    /// [`connect`](Self::connect) makes, before it returns [`Error::PoolExhausted`] or
    /// [`Error::Unreachable`]. Default: 5 seconds; at most a day.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_mysql::MysqlOptions;
    ///
    /// let options = MysqlOptions::new().with_checkout_timeout(Duration::from_secs(1));
    /// # drop(options);
    /// ```
    #[doc(alias = "connection_timeout")]
    pub fn with_checkout_timeout(mut self, timeout: Duration) -> Self {
        self.checkout_timeout = timeout;
        self
    }

    /// Sets how many connections the pool that [`connect`](Self::connect) makes has at most.
    /// Default: 10.
    ///
    /// # Examples
    /// ```
    /// use std::num::NonZeroU32;
    /// use store_mysql::MysqlOptions;
    ///
    /// let four = NonZeroU32::new(4).expect("not zero");
    /// let options = MysqlOptions::new().with_max_connections(four);
    /// # drop(options);
    /// ```
    #[doc(alias = "max_size")]
    pub fn with_max_connections(mut self, connections: NonZeroU32) -> Self {
        self.max_connections = connections;
        self
    }

    /// Sets how long making a TCP connection to a server may take, for [`connect`](Self::connect),
    /// unless the URL or the driver's options say otherwise. Default: 3 seconds; at most a day.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_mysql::MysqlOptions;
    ///
    /// let options = MysqlOptions::new().with_connect_timeout(Duration::from_secs(1));
    /// # drop(options);
    /// ```
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long one read from the network, and one write to it, may take, for
    /// [`connect`](Self::connect), unless the driver's options say otherwise. Default: 8 seconds,
    /// which is longer than a Galera cluster with default settings stalls when it loses a node; at
    /// most a day.
    ///
    /// The server waits for locks for half as long, but at least a second.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_mysql::MysqlOptions;
    ///
    /// let options = MysqlOptions::new().with_network_timeout(Duration::from_secs(4));
    /// # drop(options);
    /// ```
    #[doc(alias = "lock_timeout")]
    pub fn with_network_timeout(mut self, timeout: Duration) -> Self {
        self.network_timeout = timeout;
        self
    }

    /// Connects to a server, `mysql://user:password@host:port/database`, or to several that hold
    /// the same data, such as the nodes of a cluster, in order of preference:
    /// `mysql://user:password@one:3306,two,three/database`. The table must exist; see
    /// [`create_table`](Self::create_table).
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; [`Error::Unreachable`] if no server takes the connection, with the
    /// reason of each; [`Error::TableMissing`] and [`Error::TableMismatch`], which say what to do;
    /// and other faults of the system.
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::MysqlOptions;
    ///
    /// let store = MysqlOptions::new().connect("mysql://app:secret@one,two,three/app")?;
    /// # drop(store);
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
    pub fn connect(self, url: &str) -> Result<MysqlStore, Error> {
        let pool = self.pool(url)?;
        self.build(pool)
    }

    /// As [`connect`](Self::connect), with the driver's own options of each server.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::MysqlOptions;
    /// use store_mysql::mysql::OptsBuilder;
    ///
    /// let server = OptsBuilder::new()
    ///     .ip_or_hostname(Some("db.example"))
    ///     .user(Some("app"))
    ///     .pass(std::env::var("DB_PASSWORD").ok())
    ///     .db_name(Some("app"));
    /// let store = MysqlOptions::new().connect_with_opts([server])?;
    /// # drop(store);
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
    pub fn connect_with_opts<O: Into<Opts>>(
        self,
        servers: impl IntoIterator<Item = O>,
    ) -> Result<MysqlStore, Error> {
        let pool = self.pool_from_opts(servers.into_iter().map(Into::into).collect())?;
        self.build(pool)
    }

    /// Makes the pool that [`connect`](Self::connect) uses, for
    /// [`create_table`](Self::create_table), or for several stores.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; [`Error::Unreachable`] if no server takes the connection.
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::MysqlOptions;
    ///
    /// let users = MysqlOptions::new();
    /// let admins = MysqlOptions::new().with_table_name("admin_sessions");
    /// let pool = users.pool("mysql://app:secret@db.example/app")?;
    /// let stores = [users.build(pool.clone())?, admins.build(pool)?];
    /// # drop(stores);
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
    pub fn pool(&self, url: &str) -> Result<Pool<MysqlConnectionManager>, Error> {
        self.pool_from_opts(address::servers(url)?)
    }

    /// Makes a store on the application's pool, and on a table that exists. Side tables that are
    /// missing are created, if the account has the right to.
    ///
    /// The pool keeps the size and the timeouts that it was made with.
    ///
    /// # Errors
    /// [`Error::TableMissing`] and [`Error::TableMismatch`], which say what to do;
    /// [`Error::InvalidOption`]; and faults of the system.
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::r2d2::Pool;
    /// use store_mysql::{Error, MysqlConnectionManager, MysqlOptions};
    ///
    /// let manager = MysqlConnectionManager::new("mysql://app:secret@db.example/app")?;
    /// let pool = Pool::builder().max_size(4).build(manager).map_err(Error::backend)?;
    /// let store = MysqlOptions::new().with_table_name("web_sessions").build(pool)?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn build(self, pool: Pool<MysqlConnectionManager>) -> Result<MysqlStore, Error> {
        let (table, open) = (self.checked_table()?, OpenStore::new()?);
        let batch_size = self.cleanup.batch_size().get();
        let shared =
            Shared::open(open, pool, &table, self.limits, self.operation_timeout, batch_size)?;
        MysqlStore::start(shared, self.cleanup)
    }

    /// Creates those of the table and its side tables that are missing, and leaves existing ones as
    /// they are. Returns which kind of table it is.
    ///
    /// The account needs the privilege `CREATE` only if a table is missing.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; [`Error::TableMismatch`] if there is a table of this name that
    /// can't keep sessions; and faults of the system.
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::MysqlOptions;
    ///
    /// let options = MysqlOptions::new().with_table_name("web_sessions");
    /// let pool = options.pool("mysql://app:secret@db.example/app")?;
    /// options.create_table(&pool)?;
    /// let store = options.build(pool)?;
    /// # drop(store);
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
    pub fn create_table(&self, pool: &Pool<MysqlConnectionManager>) -> Result<TableVariant, Error> {
        let (table, _open) = (self.checked_table()?, OpenStore::new()?);
        let mut connection = checkout(pool, pool.connection_timeout())?;
        ddl::create(&mut connection, &table)?;
        Ok(schema::inspect(&mut connection, &table, self.limits)?.variant)
    }

    fn pool_from_opts(&self, servers: Vec<Opts>) -> Result<Pool<MysqlConnectionManager>, Error> {
        self.checked_table()?;
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
        // The first connection is made here, because the pool would only return the text of its
        // error, and only after the checkout timeout.
        let first =
            manager.connect().map_err(|error| Error::Unreachable { source: error.into() })?;
        drop(first);
        Ok(Pool::builder()
            .max_size(self.max_connections.get())
            .min_idle(Some(0))
            .connection_timeout(self.checkout_timeout)
            .error_handler(Box::new(LogFailures))
            .build_unchecked(manager))
    }

    /// Checks all options, and returns the table's name.
    fn checked_table(&self) -> Result<TableName, Error> {
        let table = TableName::new(self.table.as_str())?;
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
        Ok(table)
    }
}

impl Default for MysqlOptions {
    fn default() -> Self {
        Self::new()
    }
}

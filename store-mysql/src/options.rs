//! The options of a store, and the pool that they describe.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use mysql::Opts;
use r2d2::{ManageConnection, Pool};
use scheduled_thread_pool::{OnPoolDropBehavior, ScheduledThreadPool};
use store_core::backend::{OpenStore, TableName};
use store_core::{CleanupOptions, Error, Limits};

use crate::credentials::{Credentials, Provider, ProviderError};
use crate::manager::MysqlConnectionManager;
use crate::pool::{LogFailures, checkout};
use crate::retry::PoolTimeouts;
use crate::settings::ConnectionTimes;
use crate::shared::Shared;
use crate::store::MysqlStore;
use crate::table::TableVariant;
use crate::{address, ddl, schema};

/// Enough for one process, and few enough for a dozen processes at a server's default of 151.
const MAX_CONNECTIONS: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

/// Far more than anybody wants to wait, far less than the clocks of the libraries underneath can
/// hold.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long operations wait for servers that are away: long enough for the restart of a server that
/// has little to do.
const OUTAGE_TIMEOUT: Duration = Duration::from_secs(1);

/// The pool's own longest wait. It makes half of it pauses between attempts to connect.
const MAX_POOL_WAIT: Duration = Duration::from_secs(1);

/// The threads on which a pool connects, as many as r2d2's.
const POOL_THREADS: usize = 3;

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
    pub(crate) limits: Limits,
    cleanup: CleanupOptions,
    operation_timeout: Duration,
    pub(crate) pool_timeouts: PoolTimeouts,
    max_connections: NonZeroU32,
    times: ConnectionTimes,
    credentials: Option<Provider>,
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
            pool_timeouts: PoolTimeouts {
                checkout: Duration::from_secs(5),
                outage: OUTAGE_TIMEOUT,
            },
            max_connections: MAX_CONNECTIONS,
            times: ConnectionTimes::default(),
            credentials: None,
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

    /// Sets how long an operation waits for a connection of the pool, before it returns
    /// [`Error::PoolExhausted`] or [`Error::Unreachable`]. Default: 5 seconds; at most a day.
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
        self.pool_timeouts.checkout = timeout;
        self
    }

    /// Sets how long operations wait while no server takes connections, counted from the first
    /// attempt that failed. Default: 1 second, which is enough for the restart of a server that has
    /// little to do; at most a day.
    ///
    /// Once the servers have been away for this long, an operation returns [`Error::Unreachable`]
    /// at once, and threads don't pile up. It does so, too, if all servers deny access to the
    /// account or the database. Meanwhile the pool goes on trying.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_mysql::MysqlOptions;
    ///
    /// // Bridges a failover of a few seconds.
    /// let patient = Duration::from_secs(5);
    /// let options =
    ///     MysqlOptions::new().with_outage_timeout(patient).with_checkout_timeout(patient);
    /// # drop(options);
    /// ```
    pub fn with_outage_timeout(mut self, timeout: Duration) -> Self {
        self.pool_timeouts.outage = timeout;
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
        self.times.connect = timeout;
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
        self.times.network = timeout;
        self
    }

    /// Sets after how much silence on a connection the system asks the server whether it is there,
    /// for [`manager`](Self::manager) and what uses it, unless the driver's options say otherwise.
    /// Default: 60 seconds, so that no network forgets the connection; from a second to a day.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_mysql::MysqlOptions;
    ///
    /// let options = MysqlOptions::new().with_keep_alive(Duration::from_secs(30));
    /// # drop(options);
    /// ```
    #[doc(alias = "tcp_keepalive")]
    pub fn with_keep_alive(mut self, silence: Duration) -> Self {
        self.times.keep_alive = silence;
        self
    }

    /// Sets how long a connection may be unused, for [`manager`](Self::manager) and what uses it.
    /// Default: 3 minutes, less than the shortest time after which a cloud's load balancer forgets
    /// a connection; from a second to a day.
    ///
    /// The server ends a connection that is silent for a minute longer, with what its transaction
    /// has locked.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_mysql::MysqlOptions;
    ///
    /// let options = MysqlOptions::new().with_idle_timeout(Duration::from_secs(30));
    /// # drop(options);
    /// ```
    #[doc(alias = "wait_timeout")]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.times.idle = timeout;
        self
    }

    /// Sets how long a connection is used, for [`manager`](Self::manager) and what uses it.
    /// Default: 5 minutes; from a second to a day.
    ///
    /// If the server's name leads to another one after a failover, writes notice it at once,
    /// because the old one refuses them, and reads within this time.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_mysql::MysqlOptions;
    ///
    /// let options = MysqlOptions::new().with_max_lifetime(Duration::from_secs(60));
    /// # drop(options);
    /// ```
    pub fn with_max_lifetime(mut self, lifetime: Duration) -> Self {
        self.times.lifetime = lifetime;
        self
    }

    /// Sets where the account's name and password come from, for [`manager`](Self::manager) and
    /// what uses it: this is called for each new connection. Default: the URL or the driver's
    /// options.
    ///
    /// It is for tokens of a cloud, which are good for some minutes, and for passwords that are
    /// changed while the application runs. A connection that was made with an older one goes on
    /// until its [lifetime](Self::with_max_lifetime) ends. Where the server wants the password in
    /// clear, as for such tokens, the URL needs encryption and `enable_cleartext_plugin=true`.
    ///
    /// # Examples
    /// ```
    /// use store_mysql::{Credentials, MysqlOptions};
    ///
    /// let options = MysqlOptions::new().with_credentials(|| {
    ///     let password = std::fs::read_to_string("/run/secrets/db-password")?;
    ///     Ok(Credentials::new("app", password.trim_end()))
    /// });
    /// # drop(options);
    /// ```
    pub fn with_credentials(
        mut self,
        provider: impl Fn() -> Result<Credentials, ProviderError> + Send + Sync + 'static,
    ) -> Self {
        self.credentials = Some(Provider::new(provider));
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

    /// Makes what makes the connections of a pool, for an application that builds the pool itself.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    ///
    /// # Examples
    /// ```no_run
    /// use std::time::Duration;
    /// use store_mysql::r2d2::Pool;
    /// use store_mysql::{Error, MysqlOptions};
    ///
    /// let options = MysqlOptions::new().with_idle_timeout(Duration::from_secs(30));
    /// let manager = options.manager("mysql://app:secret@db.example/app")?;
    /// let pool = Pool::builder().max_size(4).build(manager).map_err(Error::backend)?;
    /// let store = options.build(pool)?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn manager(&self, url: &str) -> Result<MysqlConnectionManager, Error> {
        self.manager_from_opts(address::servers(url)?)
    }

    /// Makes a store on the application's pool, and on a table that exists. Side tables that are
    /// missing are created, if the account has the right to.
    ///
    /// The pool keeps its size, and its connections are what its
    /// [manager](Self::manager) makes.
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
        let (pool_timeouts, timeout) = (self.pool_timeouts, self.operation_timeout);
        let shared =
            Shared::open(open, pool, &table, self.limits, pool_timeouts, timeout, batch_size)?;
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
        let mut connection = checkout(pool, self.pool_timeouts.checkout)?;
        ddl::create(&mut connection, &table)?;
        Ok(schema::inspect(&mut connection, &table, self.limits)?.variant)
    }

    fn manager_from_opts(&self, servers: Vec<Opts>) -> Result<MysqlConnectionManager, Error> {
        self.checked_table()?;
        MysqlConnectionManager::with_settings(servers, self.times, self.credentials.clone())
    }

    fn pool_from_opts(&self, servers: Vec<Opts>) -> Result<Pool<MysqlConnectionManager>, Error> {
        let manager = self.manager_from_opts(servers)?;
        // The first connection is made here, because the pool would only return the text of its
        // error, and only after the checkout timeout.
        let first =
            manager.connect().map_err(|error| Error::Unreachable { source: error.into() })?;
        drop(first);
        // r2d2's own would stay for up to 30 seconds after the pool, for the next look at idle
        // connections.
        let threads = ScheduledThreadPool::builder()
            .num_threads(POOL_THREADS)
            .thread_name_pattern("mysql-pool-{}")
            .on_drop_behavior(OnPoolDropBehavior::DiscardPendingScheduled)
            .build();
        Ok(Pool::builder()
            .thread_pool(Arc::new(threads))
            .max_size(self.max_connections.get())
            .min_idle(Some(0))
            .connection_timeout(self.pool_timeouts.checkout.min(MAX_POOL_WAIT))
            .idle_timeout(Some(self.times.idle))
            .max_lifetime(Some(self.times.lifetime))
            .error_handler(Box::new(LogFailures))
            .build_unchecked(manager))
    }

    /// Checks all options, and returns the table's name.
    pub(crate) fn checked_table(&self) -> Result<TableName, Error> {
        let table = TableName::new(self.table.as_str())?;
        let invalid = |option, problem: &str| {
            Err(Error::InvalidOption { option, problem: problem.to_owned() })
        };
        if self.limits.max_token_len == 0 {
            return invalid("limits", "no token has at most 0 bytes");
        }
        for (option, timeout) in [
            ("checkout timeout", self.pool_timeouts.checkout),
            ("connect timeout", self.times.connect),
            ("network timeout", self.times.network),
        ] {
            if timeout.is_zero() || timeout > MAX_TIMEOUT {
                return invalid(option, "it must be longer than zero and at most a day");
            }
        }
        for (option, time) in [
            ("keep-alive", self.times.keep_alive),
            ("idle timeout", self.times.idle),
            ("maximal lifetime", self.times.lifetime),
        ] {
            if time < Duration::from_secs(1) || time > MAX_TIMEOUT {
                return invalid(option, "it must be at least a second and at most a day");
            }
        }
        for (option, timeout) in [
            ("operation timeout", self.operation_timeout),
            ("outage timeout", self.pool_timeouts.outage),
        ] {
            if timeout > MAX_TIMEOUT {
                return invalid(option, "it must be at most a day");
            }
        }
        Ok(table)
    }
}

impl Default for MysqlOptions {
    fn default() -> Self {
        Self::new()
    }
}

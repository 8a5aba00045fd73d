//! Makes connections: to the first server of a list that takes them, each set up as the store needs it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mysql::consts::CapabilityFlags;
use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder, Value};
use r2d2::{HandleError, ManageConnection};
use store_core::Error;

use crate::connection::Connection;
use crate::{address, error, galera};

/// How long making a TCP connection may take, unless the options say otherwise.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long one read or write of the network may take, unless the options say otherwise: longer than
/// a Galera cluster stalls by default when it loses a node.
pub(crate) const NETWORK_TIMEOUT: Duration = Duration::from_secs(8);

/// A server that couldn't be reached is passed over for this long at first, and for longer each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often all connections are distrusted because one was lost, at the most.
const INVALIDATION_INTERVAL: Duration = Duration::from_secs(1);

/// Results larger than any that a server sends: what may be written is checked against the server's
/// own limit.
const MAX_PACKET: usize = 1024 * 1024 * 1024;

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

/// The servers, in order of preference.
pub(crate) struct Servers {
    list: Vec<Arc<Server>>,
    last_failure: Mutex<Option<(Instant, String)>>,
}

/// One server, as all connections to it see it.
pub(crate) struct Server {
    opts: Opts,
    /// Host and port, or the socket.
    name: String,
    /// Grows each time a connection turns out to be lost: those made before are then not trusted either.
    generation: AtomicU64,
    invalidated_at: Mutex<Option<Instant>>,
    pause: Mutex<Pause>,
}

/// How long a server is passed over.
#[derive(Default)]
struct Pause {
    until: Option<Instant>,
    length: Duration,
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
        let list = servers
            .into_iter()
            .map(|opts| Server::new(opts.into()).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() {
            return Err(address::invalid("it names no server"));
        }
        #[cfg(feature = "rustls")]
        crate::tls::install_default_provider();
        Ok(Self { servers: Arc::new(Servers { list, last_failure: Mutex::default() }) })
    }
}

impl fmt::Debug for MysqlConnectionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.list.iter().map(|server| &server.name).collect();
        f.debug_struct("MysqlConnectionManager").field("servers", &servers).finish()
    }
}

impl ManageConnection for MysqlConnectionManager {
    type Connection = Connection;
    type Error = ConnectError;

    fn connect(&self) -> Result<Connection, ConnectError> {
        self.servers.connect()
    }

    /// Asks the server nothing: a lost connection is found out by using it.
    fn is_valid(&self, connection: &mut Connection) -> Result<(), ConnectError> {
        if connection.is_usable() {
            Ok(())
        } else {
            Err(ConnectError(
                "the server has dropped connections since this one was made".to_owned(),
            ))
        }
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        !connection.is_usable()
    }
}

/// Why a connection could not be made. It names the server, and never shows a password.
#[derive(Clone, Debug)]
pub struct ConnectError(String);

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for ConnectError {}

/// Reports what r2d2 would only keep to itself or call an error: a connection that the pool tries to
/// make again.
#[derive(Debug)]
pub(crate) struct LogFailures;

impl HandleError<ConnectError> for LogFailures {
    fn handle_error(&self, error: ConnectError) {
        log::warn!("no connection for sessions: {error}");
    }
}

impl Servers {
    /// Tries the servers that are not being passed over, then the others; more than once only if asked again.
    pub(crate) fn connect(self: &Arc<Self>) -> Result<Connection, ConnectError> {
        let now = Instant::now();
        let (passed_over, first): (Vec<_>, Vec<_>) =
            self.list.iter().partition(|server| server.is_backing_off(now));
        let mut failures = Vec::new();
        for server in first.into_iter().chain(passed_over) {
            match server.connect(self.has_alternatives()) {
                Ok((driver, is_galera)) => {
                    server.record_success();
                    *lock(&self.last_failure) = None;
                    return Ok(Connection::new(
                        driver,
                        is_galera,
                        Arc::clone(server),
                        Arc::clone(self),
                    ));
                }
                Err(failure) => {
                    server.record_failure();
                    failures.push(format!("{}: {failure}", server.name));
                }
            }
        }
        let failure = failures.join("; ");
        *lock(&self.last_failure) = Some((Instant::now(), failure.clone()));
        Err(ConnectError(failure))
    }

    /// Whether there is more than one.
    pub(crate) fn has_alternatives(&self) -> bool {
        self.list.len() > 1
    }

    /// Why the latest attempt to connect failed, if none has succeeded since, and it was after the
    /// given moment.
    pub(crate) fn failure_since(&self, moment: Option<Instant>) -> Option<String> {
        lock(&self.last_failure)
            .as_ref()
            .filter(|(when, _)| moment.is_none_or(|moment| *when >= moment))
            .map(|(_, failure)| failure.clone())
    }
}

impl Server {
    fn new(opts: Opts) -> Result<Self, Error> {
        if opts.get_db_name().is_none_or(str::is_empty) {
            return Err(address::invalid("it names no database"));
        }
        if opts.get_ssl_opts().is_some() && !cfg!(feature = "rustls") {
            return Err(address::invalid(
                "it asks for TLS, for which store-mysql needs its feature rustls",
            ));
        }
        let name = match opts.get_socket() {
            Some(socket) => socket.to_owned(),
            None => format!("{}:{}", opts.get_ip_or_hostname(), opts.get_tcp_port()),
        };
        Ok(Self {
            opts: set_up(opts),
            name,
            generation: AtomicU64::new(0),
            invalidated_at: Mutex::default(),
            pause: Mutex::default(),
        })
    }

    /// A connection, and whether it is to a node of a Galera cluster.
    fn connect(&self, has_alternatives: bool) -> Result<(Conn, bool), Failure> {
        let mut connection = Conn::new(self.opts.clone()).map_err(Failure::Driver)?;
        // A variable that MySQL doesn't have; MariaDB has it, with Galera or without.
        let is_galera = match connection.query_first::<Option<u8>, _>("SELECT @@wsrep_on") {
            Ok(Some(Some(1))) => true,
            Ok(_) | Err(mysql::Error::MySqlError(_)) => false,
            Err(error) => return Err(Failure::Driver(error)),
        };
        if is_galera {
            if !galera::is_ready(&mut connection).map_err(Failure::Driver)? {
                return Err(Failure::NoMajority);
            }
            galera::enable_causal_reads(&mut connection).map_err(Failure::Driver)?;
        }
        if has_alternatives {
            // A replica would be read from, out of date, for as long as the primary is away.
            let read_only: Option<Value> =
                connection.query_first("SELECT @@global.read_only").map_err(Failure::Driver)?;
            // A number, or a word where there are more than two possibilities.
            let is_writable = |value: &[u8]| value == b"0" || value.eq_ignore_ascii_case(b"OFF");
            if let Some(Value::Bytes(value)) = read_only
                && !is_writable(&value)
            {
                return Err(Failure::ReadOnly);
            }
        }
        Ok((connection, is_galera))
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Distrusts the connections that were made before or at the same time as the one that was lost:
    /// usually the server has restarted. Where it hasn't, and connections are lost one by one, making
    /// all of them anew each time would be too much.
    pub(crate) fn invalidate_connections(&self, generation: u64) {
        let mut invalidated_at = lock(&self.invalidated_at);
        let is_recent = invalidated_at.is_some_and(|at| at.elapsed() < INVALIDATION_INTERVAL);
        if generation == self.generation() && !is_recent {
            self.generation.store(generation + 1, Ordering::Release);
            *invalidated_at = Some(Instant::now());
        }
    }

    /// Passes the server over for a while, and for longer each time.
    pub(crate) fn record_failure(&self) {
        let mut pause = lock(&self.pause);
        pause.length = (pause.length * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        pause.until = Some(Instant::now() + pause.length);
    }

    fn record_success(&self) {
        *lock(&self.pause) = Pause::default();
    }

    fn is_backing_off(&self, now: Instant) -> bool {
        lock(&self.pause).until.is_some_and(|until| now < until)
    }
}

enum Failure {
    Driver(mysql::Error),
    ReadOnly,
    NoMajority,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => fmt::Display::fmt(&error::redacted(error), f),
            Self::ReadOnly => f.write_str("it is read-only"),
            Self::NoMajority => f.write_str("it isn't in the majority of its cluster"),
        }
    }
}

/// The options with all that a session store needs.
fn set_up(opts: Opts) -> Opts {
    let network = |timeout: Option<&Duration>| timeout.copied().unwrap_or(NETWORK_TIMEOUT);
    let read_timeout = network(opts.get_read_timeout());
    // Before this side gives up and leaves a statement behind that may still be done.
    let lock_timeout = (read_timeout / 2).as_secs().max(1);
    // What the server's configuration or its `init_connect` may have set otherwise: in another
    // character set it would convert data, with another completion type a transaction wouldn't end
    // with its COMMIT, at another time all would have expired.
    let init = opts.get_init().into_iter().chain([
        format!(
            "SET NAMES utf8mb4, time_zone = '+00:00', timestamp = DEFAULT, \
             sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, completion_type = 0, \
             sql_safe_updates = 0, sql_big_selects = 1, sql_select_limit = 18446744073709551615, \
             innodb_lock_wait_timeout = {lock_timeout}, lock_wait_timeout = {lock_timeout}"
        ),
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ".to_owned(),
    ]);
    let init: Vec<_> = init.collect();
    // Rows that are matched count, changed or not.
    let capabilities = opts.get_additional_capabilities() | CapabilityFlags::CLIENT_FOUND_ROWS;
    let write_timeout = network(opts.get_write_timeout());
    let connect_timeout = opts.get_tcp_connect_timeout().unwrap_or(CONNECT_TIMEOUT);
    OptsBuilder::from_opts(opts)
        .prefer_socket(false)
        .read_timeout(Some(read_timeout))
        .write_timeout(Some(write_timeout))
        .tcp_connect_timeout(Some(connect_timeout))
        // Each connection keeps its own: the driver would close what it thinks is too much.
        .stmt_cache_size(0_usize)
        .max_allowed_packet(Some(MAX_PACKET))
        .additional_capabilities(capabilities)
        .init(init)
        .into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that these locks guard can be left half-changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

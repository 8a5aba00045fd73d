//! Servers that hold the same data, in order of preference, and how one of them is connected to.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mysql::prelude::Queryable;
use mysql::{Conn, Opts, Value};
use store_core::Error;
use store_core::backend::OpenStore;

use crate::health::Health;
use crate::settings::with_session_settings;
use crate::{address, error, galera};

/// The servers, in order of preference.
pub(crate) struct Servers {
    /// It lives as long as the pool.
    _open: OpenStore,
    list: Vec<Server>,
    last_failure: Mutex<Option<(Instant, String)>>,
}

/// One server.
struct Server {
    opts: Opts,
    /// Host and port, or the socket.
    name: String,
    health: Arc<Health>,
}

/// A connection that has just been made.
pub(crate) struct NewConnection {
    pub(crate) driver: Conn,
    /// Whether its server is a node of a Galera cluster.
    pub(crate) is_galera: bool,
    /// The health of its server.
    pub(crate) health: Arc<Health>,
}

impl Servers {
    /// Takes the options of at least one server.
    pub(crate) fn new(servers: impl IntoIterator<Item = Opts>) -> Result<Self, Error> {
        let list = servers.into_iter().map(Server::new).collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() {
            return Err(address::invalid("it names no server"));
        }
        Ok(Self { _open: OpenStore::new()?, list, last_failure: Mutex::default() })
    }

    /// Tries each server once, those last that are backed off from.
    pub(crate) fn connect(&self) -> Result<NewConnection, ConnectError> {
        let now = Instant::now();
        let (last, first): (Vec<_>, Vec<_>) =
            self.list.iter().partition(|server| server.health.is_backing_off(now));
        let mut failures = Vec::new();
        for server in first.into_iter().chain(last) {
            match server.connect(self.has_alternatives()) {
                Ok(connection) => {
                    server.health.record_success();
                    *self.last_failure() = None;
                    return Ok(connection);
                }
                Err(failure) => {
                    server.health.record_failure();
                    failures.push(format!("{}: {failure}", server.name));
                }
            }
        }
        let failure = failures.join("; ");
        *self.last_failure() = Some((Instant::now(), failure.clone()));
        Err(ConnectError(failure))
    }

    /// Whether there is more than one.
    pub(crate) fn has_alternatives(&self) -> bool {
        self.list.len() > 1
    }

    /// Why the latest attempt to connect failed, if none has succeeded since, and it was after the
    /// given moment.
    pub(crate) fn failure_since(&self, moment: Option<Instant>) -> Option<String> {
        self.last_failure()
            .as_ref()
            .filter(|(when, _)| moment.is_none_or(|moment| *when >= moment))
            .map(|(_, failure)| failure.clone())
    }

    fn last_failure(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list.iter().map(|server| &server.name)).finish()
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
        Ok(Self { opts: with_session_settings(opts), name, health: Arc::default() })
    }

    fn connect(&self, has_alternatives: bool) -> Result<NewConnection, Failure> {
        let mut driver = Conn::new(self.opts.clone()).map_err(Failure::Driver)?;
        // A variable that MySQL doesn't have; MariaDB has it, with Galera or without.
        let is_galera = match driver.query_first::<Option<u8>, _>("SELECT @@wsrep_on") {
            Ok(Some(Some(1))) => true,
            Ok(_) | Err(mysql::Error::MySqlError(_)) => false,
            Err(error) => return Err(Failure::Driver(error)),
        };
        if is_galera {
            if !galera::is_ready(&mut driver).map_err(Failure::Driver)? {
                return Err(Failure::NoMajority);
            }
            galera::enable_causal_reads(&mut driver).map_err(Failure::Driver)?;
        }
        if has_alternatives {
            // While the primary is away a replica would serve outdated sessions.
            let read_only: Option<Value> =
                driver.query_first("SELECT @@global.read_only").map_err(Failure::Driver)?;
            // A number, or a word on servers that know more than two modes.
            let is_writable = |value: &[u8]| value == b"0" || value.eq_ignore_ascii_case(b"OFF");
            if let Some(Value::Bytes(value)) = read_only
                && !is_writable(&value)
            {
                return Err(Failure::ReadOnly);
            }
        }
        Ok(NewConnection { driver, is_galera, health: Arc::clone(&self.health) })
    }
}

/// Why a server wasn't connected to.
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

/// Why no server could be connected to.
///
/// It names each server and never shows a password.
///
/// # Examples
/// ```no_run
/// use store_mysql::MysqlConnectionManager;
/// use store_mysql::r2d2::ManageConnection;
///
/// let manager = MysqlConnectionManager::new("mysql://app:secret@one,two/app")?;
/// if let Err(error) = manager.connect() {
///     // For example "one:3306: …; two:3306: it is read-only".
///     eprintln!("{error}");
/// }
/// # Ok::<(), store_mysql::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConnectError(String);

impl ConnectError {
    pub(crate) fn new(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for ConnectError {}

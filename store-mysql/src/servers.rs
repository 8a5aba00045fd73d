//! Servers that hold the same data, in order of preference, and how one of them is connected to.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder, Params, Value};
use store_core::Error;
use store_core::backend::OpenStore;

use crate::clock_offset::{ClockOffset, Reading};
use crate::connect_error::ConnectError;
use crate::credentials::{Provider, ProviderError};
use crate::engine::Engine;
use crate::health::{Health, Orphan};
use crate::outage::Outage;
use crate::settings::{ConnectionTimes, SessionVariables};
use crate::{address, error, galera, settings, tidb};

/// The servers, in order of preference.
pub(crate) struct Servers {
    /// It lives as long as the pool.
    _open: OpenStore,
    list: Vec<Server>,
    times: ConnectionTimes,
    credentials: Option<Provider>,
    pub(crate) outage: Outage,
    pub(crate) clock_offset: ClockOffset,
}

/// One server.
struct Server {
    opts: Opts,
    variables: SessionVariables,
    /// Host and port, or the socket.
    name: String,
    health: Arc<Health>,
}

/// A connection that has just been made.
pub(crate) struct NewConnection {
    pub(crate) driver: Conn,
    pub(crate) engine: Engine,
    /// Whether its server is a node of a Galera cluster.
    pub(crate) is_galera: bool,
    /// This client's address, as the server sees it, if it tells.
    pub(crate) host: Option<String>,
    /// What the server's clock showed, if it could be read.
    pub(crate) clock: Option<Reading>,
    /// The health of its server.
    pub(crate) health: Arc<Health>,
}

impl Servers {
    /// Takes the options of at least one server.
    pub(crate) fn new(
        servers: impl IntoIterator<Item = Opts>,
        times: ConnectionTimes,
        credentials: Option<Provider>,
    ) -> Result<Self, Error> {
        let new = |opts| Server::new(opts, times);
        let list = servers.into_iter().map(new).collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() {
            return Err(address::invalid("it names no server"));
        }
        let (open, outage) = (OpenStore::new()?, Outage::default());
        let clock_offset = ClockOffset::default();
        Ok(Self { _open: open, list, times, credentials, outage, clock_offset })
    }

    /// Tries each server once, those last that are backed off from.
    pub(crate) fn connect(&self) -> Result<NewConnection, ConnectError> {
        let begun = Instant::now();
        let (last, first): (Vec<_>, Vec<_>) =
            self.list.iter().partition(|server| server.health.is_backing_off(begun));
        let mut failures = Vec::new();
        let mut is_denied = true;
        for server in first.into_iter().chain(last) {
            let begun = Instant::now();
            // A panic of the driver would take the connection's place in the pool forever.
            let connect = || server.connect(self.has_alternatives(), self.credentials.as_ref());
            let connected =
                catch_unwind(AssertUnwindSafe(connect)).unwrap_or(Err(Failure::Panicked));
            match connected {
                Ok(connection) => {
                    server.health.record_success();
                    self.outage.record_success();
                    if let Some(reading) = connection.clock {
                        self.clock_offset.record(reading);
                    }
                    return Ok(connection);
                }
                Err(failure) => {
                    server.health.record_failure(begun.elapsed());
                    is_denied &= failure.is_denied();
                    failures.push(format!("{}: {failure}", server.name));
                }
            }
        }
        let reason = failures.join("; ");
        let error =
            if is_denied { ConnectError::denied(reason) } else { ConnectError::refused(reason) };
        let is_news = self.outage.record_failure(begun, error.clone());
        Err(error.with_news(is_news))
    }

    /// Whether there is more than one.
    pub(crate) fn has_alternatives(&self) -> bool {
        self.list.len() > 1
    }

    /// How long connections are kept.
    pub(crate) fn times(&self) -> ConnectionTimes {
        self.times
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list.iter().map(|server| &server.name)).finish()
    }
}

impl Server {
    fn new(opts: Opts, times: ConnectionTimes) -> Result<Self, Error> {
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
        let opts = settings::with_session_options(opts, times);
        let variables = SessionVariables::new(&opts, times);
        Ok(Self { opts, variables, name, health: Arc::default() })
    }

    fn connect(
        &self,
        has_alternatives: bool,
        credentials: Option<&Provider>,
    ) -> Result<NewConnection, Failure> {
        let mut opts = self.opts.clone();
        if let Some(provider) = credentials {
            let credentials = provider.provide().map_err(Failure::NoCredentials)?;
            opts = OptsBuilder::from_opts(opts)
                .user(Some(credentials.user))
                .pass(Some(credentials.password))
                .into();
        }
        let mut driver = Conn::new(opts)?;
        let version: Option<String> = driver.query_first("SELECT VERSION()")?;
        let engine = Engine::from_version(&version.unwrap_or_default());
        self.variables.set(&mut driver, engine)?;
        let clock = Reading::take(&mut driver, engine)?;
        // The variable isn't there in a build without Galera.
        let is_galera = engine.may_be_galera()
            && match driver.query_first::<Option<u8>, _>("SELECT @@wsrep_on") {
                Ok(on) => on == Some(Some(1)),
                Err(mysql::Error::MySqlError(_)) => false,
                Err(error) => return Err(error.into()),
            };
        if is_galera {
            if !galera::is_ready(&mut driver)? {
                return Err(Failure::NoMajority);
            }
            galera::enable_causal_reads(&mut driver)?;
        }
        if has_alternatives {
            // While the primary is away a replica would serve outdated sessions.
            let read_only: Option<Value> = driver.query_first("SELECT @@global.read_only")?;
            // A number, or a word on servers that know more than two modes.
            let is_writable = |value: &[u8]| value == b"0" || value.eq_ignore_ascii_case(b"OFF");
            if let Some(Value::Bytes(value)) = read_only
                && !is_writable(&value)
            {
                return Err(Failure::ReadOnly);
            }
        }
        let host = if engine.finds_connections_by_number() { host(&mut driver)? } else { None };
        let orphans = self.health.take_orphans();
        if !orphans.is_empty() && kill_frees_locks(&mut driver, engine)? {
            for orphan in &orphans {
                end_orphan(&mut driver, orphan)?;
            }
        }
        Ok(NewConnection {
            driver,
            engine,
            is_galera,
            host,
            clock,
            health: Arc::clone(&self.health),
        })
    }
}

/// Returns this client's address as the server sees it. Together with the connection's number it
/// names the connection, also after a restart of the server.
fn host(driver: &mut Conn) -> mysql::Result<Option<String>> {
    let sql = "SELECT HOST FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()";
    match driver.query_first(sql) {
        Ok(host) => Ok(host),
        // An engine that doesn't list them, or not to everybody.
        Err(mysql::Error::MySqlError(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the locks of a transaction are free sooner if its connection is killed.
///
/// `TiDB` keeps them for up to 20 s then, because the signal also stops the rollback. It keeps none
/// of a transaction that it ends because its client is silent.
fn kill_frees_locks(driver: &mut Conn, engine: Engine) -> mysql::Result<bool> {
    Ok(engine != Engine::TiDb || !tidb::ends_silent_transactions(driver)?)
}

/// Ends a connection that this side has given up, with the locks of its transaction. An account may
/// end its own connections.
fn end_orphan(driver: &mut Conn, orphan: &Orphan) -> mysql::Result<()> {
    let sql = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ? AND HOST = ?";
    let params = Params::Positional(vec![orphan.id.into(), orphan.host.as_str().into()]);
    let is_there: Option<u64> = driver.exec_first(sql, params)?;
    if is_there == Some(0) {
        return Ok(());
    }
    match driver.query_drop(format!("KILL {}", orphan.id)) {
        // It may have ended in between.
        Ok(()) | Err(mysql::Error::MySqlError(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Why a server wasn't connected to.
enum Failure {
    Driver(mysql::Error),
    NoCredentials(ProviderError),
    ReadOnly,
    NoMajority,
    Panicked,
}

impl Failure {
    /// Whether the server has denied access to the account or the database.
    fn is_denied(&self) -> bool {
        // Access to the database or at all, no such database, the client's host, plugins and
        // protocols of authentication, expired passwords, locked accounts, no encryption.
        const DENIED: [u16; 11] =
            [1044, 1045, 1049, 1130, 1251, 1524, 1698, 1820, 1862, 3118, 3159];
        match self {
            Self::Driver(mysql::Error::MySqlError(error)) => DENIED.contains(&error.code),
            // A method of authentication that the driver refuses or doesn't know: Oracle's servers
            // ask for one if there is no such account.
            Self::Driver(mysql::Error::DriverError(error)) => matches!(
                error,
                mysql::DriverError::UnknownAuthPlugin(_)
                    | mysql::DriverError::OldMysqlPasswordDisabled
                    | mysql::DriverError::CleartextPluginDisabled
            ),
            _ => false,
        }
    }
}

impl From<mysql::Error> for Failure {
    fn from(error: mysql::Error) -> Self {
        Self::Driver(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => fmt::Display::fmt(&error::redacted(error), f),
            Self::NoCredentials(error) => write!(f, "there are no credentials: {error}"),
            Self::ReadOnly => f.write_str("it is read-only"),
            Self::NoMajority => f.write_str("it isn't in the majority of its cluster"),
            Self::Panicked => f.write_str("the driver panicked"),
        }
    }
}

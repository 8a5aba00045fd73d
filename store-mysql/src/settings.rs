//! What every connection is set to, whatever the server's defaults.

use std::time::Duration;

use mysql::consts::CapabilityFlags;
use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder, Result as DriverResult};

use crate::engine::Engine;
use crate::tidb;

/// How much longer than this side the server keeps a connection that is silent, so that this side
/// comes first.
const IDLE_MARGIN: Duration = Duration::from_secs(60);

/// Larger than any result of a server. What is written is checked against the server's own limit.
const MAX_PACKET: usize = 1024 * 1024 * 1024;

/// Of all transactions but those that say otherwise.
pub(crate) const SET_ISOLATION_LEVEL: &str =
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";

/// How long connecting and replies may take, and how long connections are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionTimes {
    /// How long making a TCP connection may take, unless the driver's options say otherwise.
    pub(crate) connect: Duration,
    /// How long one read from or write to the network may take, unless the driver's options say
    /// otherwise.
    pub(crate) network: Duration,
    /// After how much silence the system asks whether the server is there, unless the driver's
    /// options say otherwise.
    pub(crate) keep_alive: Duration,
    /// How long a connection may be unused.
    pub(crate) idle: Duration,
    /// How long a connection is used.
    pub(crate) lifetime: Duration,
}

impl Default for ConnectionTimes {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            // Longer than a Galera cluster with default settings stalls when it loses a node.
            network: Duration::from_secs(8),
            // Networks forget silent connections after some minutes, and then swallow what is sent
            // on them.
            keep_alive: Duration::from_secs(60),
            // Less than the four minutes after which the first of the large clouds forgets it.
            idle: Duration::from_secs(3 * 60),
            // Within it readers notice that the server's name leads to another one.
            lifetime: Duration::from_secs(5 * 60),
        }
    }
}

/// Adds to the driver's options what a session store needs.
pub(crate) fn with_session_options(opts: Opts, times: ConnectionTimes) -> Opts {
    let network = |timeout: Option<&Duration>| timeout.copied().unwrap_or(times.network);
    let (read_timeout, write_timeout) =
        (network(opts.get_read_timeout()), network(opts.get_write_timeout()));
    // Affected rows are those that match, changed or not.
    let capabilities = opts.get_additional_capabilities() | CapabilityFlags::CLIENT_FOUND_ROWS;
    let connect_timeout = opts.get_tcp_connect_timeout().unwrap_or(times.connect);
    let keep_alive = opts.get_tcp_keepalive_time_ms().unwrap_or_else(|| millis(times.keep_alive));
    let builder = OptsBuilder::from_opts(opts);
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    let builder = {
        // How often the system asks without a reply, and how far apart, before the connection is
        // lost.
        const PROBES: u32 = 3;
        const INTERVAL: Duration = Duration::from_secs(10);

        builder
            .tcp_keepalive_probe_count(Some(PROBES))
            .tcp_keepalive_probe_interval_secs(Some(seconds(INTERVAL)))
    };
    builder
        .prefer_socket(false)
        .read_timeout(Some(read_timeout))
        .write_timeout(Some(write_timeout))
        .tcp_connect_timeout(Some(connect_timeout))
        .tcp_keepalive_time_ms(Some(keep_alive))
        // Each connection keeps its statements itself; see `Connection`.
        .stmt_cache_size(0_usize)
        .max_allowed_packet(Some(MAX_PACKET))
        .additional_capabilities(capabilities)
        .into()
}

/// The variables of a session on the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionVariables {
    /// How long a statement waits for a lock, in seconds.
    lock_wait: u32,
    /// How long the server keeps a silent connection, in seconds.
    silence: u32,
    /// How long it keeps a transaction whose client is silent, in seconds, if it can tell.
    silent_transaction: u32,
}

impl SessionVariables {
    /// What goes with the timeouts of this side.
    pub(crate) fn new(opts: &Opts, times: ConnectionTimes) -> Self {
        let read_timeout = opts.get_read_timeout().copied().unwrap_or(times.network);
        Self {
            // The server's limit comes first, so that no statement goes on after this side has
            // timed out.
            lock_wait: seconds(read_timeout / 2),
            silence: seconds(times.idle.saturating_add(IDLE_MARGIN)),
            // This side has given up by then.
            silent_transaction: seconds(read_timeout.saturating_mul(2)),
        }
    }

    /// Sets them on a new connection.
    ///
    /// The server's configuration or its `init_connect` may have set these otherwise. With another
    /// character set it would convert data, with another completion type COMMIT wouldn't end a
    /// transaction, and with another timestamp the server's clock would be wrong. A transaction
    /// whose client has vanished keeps its locks for as long as `wait_timeout`, which is eight
    /// hours by default.
    pub(crate) fn set(self, driver: &mut Conn, engine: Engine) -> DriverResult<()> {
        let Self { lock_wait, silence, silent_transaction } = self;
        let mut set = format!(
            "SET NAMES utf8mb4, time_zone = '+00:00', \
             sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, \
             completion_type = 0, sql_safe_updates = 0, sql_big_selects = 1, \
             innodb_lock_wait_timeout = {lock_wait}, lock_wait_timeout = {lock_wait}, \
             wait_timeout = {silence}"
        );
        if engine.inherits_timestamp_and_limit() {
            set.push_str(", timestamp = DEFAULT, sql_select_limit = 18446744073709551615");
        }
        if engine.has_idle_transaction_timeout() {
            set.push_str(", idle_transaction_timeout = ");
            set.push_str(&silent_transaction.to_string());
        }
        driver.query_drop(set)?;
        driver.query_drop(SET_ISOLATION_LEVEL)?;
        if engine == Engine::TiDb {
            // Before those who wait for its locks give up: a KILL doesn't free them.
            tidb::set_variables(driver, lock_wait)?;
        }
        Ok(())
    }
}

/// Whole seconds, at least one.
fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).max(1)
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

//! What every connection is set to, whatever the server's defaults.

use std::time::Duration;

use mysql::consts::CapabilityFlags;
use mysql::{Opts, OptsBuilder};

/// How long making a TCP connection may take, unless the options say otherwise.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long one read from or write to the network may take, unless the options say otherwise:
/// longer than a Galera cluster with default settings stalls when it loses a node.
pub(crate) const NETWORK_TIMEOUT: Duration = Duration::from_secs(8);

/// Larger than any result of a server. What is written is checked against the server's own limit.
const MAX_PACKET: usize = 1024 * 1024 * 1024;

/// Adds to the options what a session store needs.
pub(crate) fn with_session_settings(opts: Opts) -> Opts {
    let network = |timeout: Option<&Duration>| timeout.copied().unwrap_or(NETWORK_TIMEOUT);
    let read_timeout = network(opts.get_read_timeout());
    // The server's limit comes first, so that no statement goes on after this side has timed out.
    let lock_timeout = (read_timeout / 2).as_secs().max(1);
    // The server's configuration or its `init_connect` may have set these otherwise. With another
    // character set it would convert data, with another completion type COMMIT wouldn't end a
    // transaction, and with another timestamp the server's clock would be wrong.
    let init = opts.get_init().into_iter().chain([
        format!(
            "SET NAMES utf8mb4, time_zone = '+00:00', timestamp = DEFAULT, \
             sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, \
             completion_type = 0, sql_safe_updates = 0, sql_big_selects = 1, sql_select_limit = 18446744073709551615, \
             innodb_lock_wait_timeout = {lock_timeout}, lock_wait_timeout = {lock_timeout}"
        ),
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ".to_owned(),
    ]);
    let init: Vec<_> = init.collect();
    // Affected rows are those that match, changed or not.
    let capabilities = opts.get_additional_capabilities() | CapabilityFlags::CLIENT_FOUND_ROWS;
    let write_timeout = network(opts.get_write_timeout());
    let connect_timeout = opts.get_tcp_connect_timeout().unwrap_or(CONNECT_TIMEOUT);
    OptsBuilder::from_opts(opts)
        .prefer_socket(false)
        .read_timeout(Some(read_timeout))
        .write_timeout(Some(write_timeout))
        .tcp_connect_timeout(Some(connect_timeout))
        // Each connection keeps its statements itself; see `Connection`.
        .stmt_cache_size(0_usize)
        .max_allowed_packet(Some(MAX_PACKET))
        .additional_capabilities(capabilities)
        .init(init)
        .into()
}

//! What every connection is set to, whatever the server's defaults.

use std::time::Duration;

use mysql::consts::CapabilityFlags;
use mysql::{Opts, OptsBuilder};

/// How long making a TCP connection may take, unless the options say otherwise.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long one read or write of the network may take, unless the options say otherwise: longer than
/// a Galera cluster stalls by default when it loses a node.
pub(crate) const NETWORK_TIMEOUT: Duration = Duration::from_secs(8);

/// Results larger than any that a server sends: what may be written is checked against the server's
/// own limit.
const MAX_PACKET: usize = 1024 * 1024 * 1024;

/// The options with all that a session store needs.
pub(crate) fn with_session_settings(opts: Opts) -> Opts {
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

//! What the nodes of a Galera cluster need.

use mysql::prelude::Queryable;
use mysql::{Conn, MySqlError, Result as DriverResult};

/// Whether a node takes part in its cluster. A node without the majority answers, but refuses
/// queries.
pub(crate) fn is_ready(connection: &mut Conn) -> DriverResult<bool> {
    let status: Option<(String, String)> =
        connection.query_first("SHOW GLOBAL STATUS LIKE 'wsrep_ready'")?;
    Ok(status.is_none_or(|(_, value)| value == "ON"))
}

/// Makes each statement wait for what other nodes have acknowledged: bit 1 for reads, 2 for UPDATE
/// and DELETE, which otherwise might not find a session, and 4 for INSERT.
pub(crate) fn enable_causal_reads(connection: &mut Conn) -> DriverResult<()> {
    connection.query_drop("SET SESSION wsrep_sync_wait = 7")
}

/// What a lock wait timeout means on a node. Without the majority, the wait of
/// [`enable_causal_reads`] ends in the same error, although other nodes may serve.
pub(crate) fn explain_timeout(connection: &mut Conn, timeout: MySqlError) -> mysql::Error {
    let is_ready = connection
        .query_drop("SET SESSION wsrep_sync_wait = 0")
        .and_then(|()| is_ready(connection))
        .and_then(|is_ready| enable_causal_reads(connection).map(|()| is_ready));
    match is_ready {
        Ok(true) => mysql::Error::MySqlError(timeout),
        // What the node says if a statement doesn't wait.
        Ok(false) => mysql::Error::MySqlError(MySqlError {
            code: 1047,
            state: "08S01".to_owned(),
            message: "WSREP has not yet prepared node for application use".to_owned(),
        }),
        Err(error) => error,
    }
}

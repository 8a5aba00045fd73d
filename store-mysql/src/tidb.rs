//! What TiDB needs.

use mysql::prelude::Queryable;
use mysql::{Conn, MySqlError, Result as DriverResult};

/// How long the server keeps a transaction whose client is silent, in seconds; zero is forever.
pub(crate) const IDLE_TRANSACTION_TIMEOUT: &str = "tidb_idle_transaction_timeout";

/// Clusters that began with an old version, and administrators, have other defaults.
const VARIABLES: [(&str, &str); 5] = [
    // A transaction locks what it writes, and its statements see what others have committed.
    ("tidb_txn_mode", "'pessimistic'"),
    // A token that is taken is the INSERT's error, and not that of the COMMIT.
    ("tidb_constraint_check_in_place_pessimistic", "ON"),
    // The server doesn't make again what has met with another writer, and then answers with the
    // numbers of both attempts.
    ("tidb_retry_limit", "0"),
    // A read sees all that was committed before it, and not what was there two seconds ago.
    ("tidb_low_resolution_tso", "OFF"),
    ("tidb_guarantee_linearizability", "ON"),
];

/// The largest row unless a variable says otherwise: `txn-entry-size-limit` of the configuration.
const DEFAULT_ENTRY: usize = 6 * 1024 * 1024;

/// For a row's token and expiry, and what TiDB puts around them.
const REST: usize = 4 * 1024;

/// Sets the variables of a new connection.
///
/// The server ends a transaction whose client is silent for `silent_transaction` seconds.
pub(crate) fn set_variables(driver: &mut Conn, silent_transaction: u32) -> DriverResult<()> {
    for (variable, value) in VARIABLES {
        set(driver, variable, value)?;
    }
    set(driver, IDLE_TRANSACTION_TIMEOUT, &silent_transaction.to_string())
}

/// Whether the server itself ends transactions whose clients are silent, as from 7.6 on.
pub(crate) fn ends_silent_transactions(driver: &mut Conn) -> DriverResult<bool> {
    let sql = format!("SELECT @@{IDLE_TRANSACTION_TIMEOUT}");
    Ok(known(driver.query_first::<u64, _>(sql))?.is_some())
}

/// Sets a variable, if this version has it.
pub(crate) fn set(driver: &mut Conn, variable: &str, value: &str) -> DriverResult<()> {
    known(driver.query_drop(format!("SET SESSION {variable} = {value}"))).map(drop)
}

/// Reads the largest value that a row can carry.
pub(crate) fn largest_value(driver: &mut Conn) -> DriverResult<usize> {
    let limit = known(driver.query_first::<usize, _>("SELECT @@tidb_txn_entry_size_limit"))?;
    // Zero stands for the configuration.
    let limit = limit.flatten().filter(|limit| *limit > 0).unwrap_or(DEFAULT_ENTRY);
    Ok(limit.saturating_sub(REST))
}

/// The largest row, and the one that was too large, as the message of error 8025 tells them.
pub(crate) fn entry_sizes(message: &str) -> Option<(usize, usize)> {
    let mut numbers = message
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse::<usize>().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// Whether a statement has waited too long for locks, and this is told without error 1205: as when
/// others have changed the row again and again while it waited.
pub(crate) fn is_lock_wait_timeout(error: &MySqlError) -> bool {
    const UNKNOWN_ERROR: u16 = 1105;
    error.code == UNKNOWN_ERROR && error.message == "lock wait timeout"
}

/// Tells an unknown variable from other errors.
fn known<T>(result: DriverResult<T>) -> DriverResult<Option<T>> {
    const UNKNOWN_VARIABLE: u16 = 1193;
    match result {
        Ok(value) => Ok(Some(value)),
        Err(mysql::Error::MySqlError(error)) if error.code == UNKNOWN_VARIABLE => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_sizes_are_read_from_the_message() {
        let message = "entry too large, the max entry size is 6291456, the size of data is 7000064";
        assert_eq!(entry_sizes(message), Some((6_291_456, 7_000_064)));
        assert_eq!(entry_sizes("entry too large"), None);
    }
}

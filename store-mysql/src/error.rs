//! What the driver's errors mean, and their texts without tokens and data.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use mysql::Error as DriverError;
use store_core::{Error, ErrorSource};

use crate::{tidb, vitess};

/// What an error says about the attempt that failed, which decides whether it may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// The attempt conflicted with another transaction, and the server rolled it back.
    Contention,
    /// The server has ended this connection or its statements. The attempt had no effect.
    Transient,
    /// The server serves no client at the moment. The attempt had no effect.
    ServerUnavailable,
    /// The server takes no writes. Another one may, or this one after a failover. The attempt had
    /// no effect.
    ReadOnly,
    /// The connection was lost. Whether the attempt had an effect is unknown.
    ConnectionLost,
    /// No reply came in time. The attempt may still take effect, so that a second one could undo
    /// what others write in between.
    TimedOut,
    /// The attempt had no effect, and a second one would fail in the same way.
    Permanent,
}

impl ErrorClass {
    /// Whether the connection can be used again, because everything that was sent was answered.
    pub(crate) fn keeps_connection(self) -> bool {
        matches!(self, Self::Contention | Self::Permanent)
    }
}

/// Returns the class of an error, by the [server's codes][1]. MariaDB and Galera have some more.
///
/// [1]: https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
pub(crate) fn classify(error: &DriverError) -> ErrorClass {
    match error {
        DriverError::MySqlError(error)
            if vitess::is_outcome_unknown(error.code, &error.message) =>
        {
            ErrorClass::ConnectionLost
        }
        DriverError::MySqlError(error) => match error.code {
            // Lock wait timeout, deadlock (or a failed certification in Galera), row or table
            // changed since the snapshot (MariaDB), failed at COMMIT (Galera), KILL QUERY, and the
            // server's time limits for a statement.
            1205 | 1213 | 1020 | 1412 | 1180 | 1317 | 1969 | 3024
            // Galera: an earlier failed certification has ended the transaction.
            | 1689
            // TiDB: conflicts with another writer or a change of a table that were found before the
            // commit, and reads that took longer than old versions are kept. If it doesn't know
            // whether a transaction was committed it ends the connection.
            | 8002 | 8005 | 8022 | 8028 | 9004 | 9006 | 9007 => ErrorClass::Contention,
            _ if tidb::is_lock_wait_timeout(error) => ErrorClass::Contention,
            // Killed, network errors of the server, statements that it has closed, disconnected for
            // being idle.
            1927 | 1158..=1161 | 1243 | 1615 | 4031
            // TiDB: its storage is busy or away.
            | 9001..=9003 | 9005 => ErrorClass::Transient,
            // Not ready for queries (Galera), shutting down, too many connections; without a recent
            // version of the schema (TiDB).
            1047 | 1053 | 1040 | 1203 | 8027 => ErrorClass::ServerUnavailable,
            1290 | 1792 | 1836 | 3100 => ErrorClass::ReadOnly,
            _ => ErrorClass::Permanent,
        },
        DriverError::IoError(error) => from_io(error),
        DriverError::CodecError(error) => error
            .source()
            .and_then(|cause| cause.downcast_ref())
            .map_or(ErrorClass::ConnectionLost, from_io),
        _ => ErrorClass::ConnectionLost,
    }
}

fn from_io(error: &io::Error) -> ErrorClass {
    match error.kind() {
        // Operating systems differ in the error of a read that has timed out.
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ErrorClass::TimedOut,
        _ => ErrorClass::ConnectionLost,
    }
}

/// The error of an operation whose last attempt failed.
pub(crate) fn from_driver(error: &DriverError, table: &str) -> Error {
    let class = classify(error);
    let code = match error {
        DriverError::MySqlError(error) => error.code,
        _ => 0,
    };
    if let DriverError::MySqlError(error) = error
        && error.code == 8025
        && let Some((max, len)) = tidb::entry_sizes(&error.message)
    {
        return Error::DataTooLarge { len, max };
    }
    let source = redacted(error);
    match (code, class) {
        (1021 | 1030 | 1114, _) => Error::StorageFull { source },
        (126 | 127 | 145 | 1034 | 1194 | 1195 | 1712 | 1877, _) => Error::Corrupt { source },
        (1146 | 1051 | 1932, _) => Error::TableMissing { table: table.to_owned() },
        (_, ErrorClass::ReadOnly) => Error::ReadOnly { source },
        (_, ErrorClass::Contention) => Error::Contended { source },
        (
            _,
            ErrorClass::Transient
            | ErrorClass::ServerUnavailable
            | ErrorClass::ConnectionLost
            | ErrorClass::TimedOut,
        ) => Error::Unreachable { source },
        (_, ErrorClass::Permanent) => Error::Backend { source },
    }
}

/// Whether the error suggests that the table has changed since the store was made: an unknown
/// column or index, another number of columns, values that don't fit any more, a missing default.
pub(crate) fn indicates_table_change(error: &DriverError) -> bool {
    // TiDB has a code of its own for statements that were prepared before.
    const CODES: [u16; 12] =
        [1048, 1054, 1136, 1146, 1176, 1264, 1265, 1292, 1364, 1366, 1406, 8113];
    matches!(error, DriverError::MySqlError(error) if CODES.contains(&error.code))
}

/// Whether a row with the same key exists.
pub(crate) fn is_duplicate(error: &DriverError) -> bool {
    matches!(error, DriverError::MySqlError(error) if error.code == 1062)
}

/// Whether a number was too large for its type.
pub(crate) fn is_out_of_range(error: &DriverError) -> bool {
    matches!(error, DriverError::MySqlError(error) if error.code == 1690)
}

/// The driver's error, without what could be a token or data.
pub(crate) fn redacted(error: &DriverError) -> ErrorSource {
    match error {
        DriverError::MySqlError(error) => ServerError::new(error).into(),
        error if classify(error) == ErrorClass::TimedOut => {
            "the server didn't reply within the network timeout; the outcome is unknown".into()
        }
        // Errors of conversion don't quote the value either.
        error => error.to_string().into(),
    }
}

/// The server's own error: its code, its state and, if it is known not to tell what applications
/// store, its message.
#[derive(Debug)]
struct ServerError {
    code: u16,
    state: String,
    message: Option<String>,
}

impl ServerError {
    fn new(error: &mysql::MySqlError) -> Self {
        // They quote hosts, accounts, databases, tables, columns, options, privileges, plugins and
        // system variables, or nothing: access, connections, threads, statements, packets, locks,
        // tables, disks, read-only servers.
        const QUOTE_NAMES: [u16; 61] = [
            1020, 1021, 1030, 1040, 1044, 1045, 1046, 1047, 1048, 1049, 1050, 1051, 1053, 1054,
            1114, 1129, 1130, 1135, 1136, 1142, 1143, 1146, 1153, 1158, 1159, 1160, 1161, 1180,
            1193, 1194, 1195, 1203, 1205, 1213, 1226, 1227, 1243, 1251, 1290, 1317, 1364, 1370,
            1406, 1412, 1461, 1524, 1615, 1689, 1698, 1708, 1792, 1820, 1836, 1862, 1927, 1969,
            3024, 3100, 3118, 3159, 4031,
        ];
        // They quote values as well: duplicates, conversions, ranges, and foreign keys.
        const QUOTE_VALUES: [u16; 7] = [1062, 1264, 1265, 1292, 1366, 1451, 1452];
        let message = if QUOTE_NAMES.contains(&error.code) {
            Some(error.message.clone())
        } else if QUOTE_VALUES.contains(&error.code) {
            Some(without_quoted(&error.message))
        } else {
            // What an unknown message tells isn't known either.
            None
        };
        Self { code: error.code, state: error.state.clone(), message }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server error {} ({})", self.code, self.state)?;
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl StdError for ServerError {}

/// Cuts from the first quote to the last: a value may itself contain quotes. An apostrophe in a
/// word is none.
fn without_quoted(message: &str) -> String {
    let is_quote = |c: char| matches!(c, '\'' | '"' | '`');
    let is_in_word = |at: usize| {
        message[..at].ends_with(char::is_alphabetic)
            && message[at + 1..].starts_with(char::is_alphabetic)
    };
    let first = message.match_indices(is_quote).find(|(at, _)| !is_in_word(*at));
    match (first, message.rfind(is_quote)) {
        (Some((first, _)), Some(last)) if first < last => {
            format!("{}'…'{}", &message[..first], &message[last + 1..])
        }
        (Some((first, _)), _) => format!("{}'…", &message[..first]),
        (None, _) => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use mysql::MySqlError;

    use super::*;

    fn server_error(code: u16, message: &str) -> DriverError {
        let state = "HY000".to_owned();
        DriverError::MySqlError(MySqlError { state, message: message.to_owned(), code })
    }

    #[test]
    fn values_that_servers_quote_are_left_out() {
        for (code, message, shown) in [
            (1062, "Duplicate entry 'secret' for key 'PRIMARY'", "Duplicate entry '…'"),
            (1062, "Duplicate entry 'it's' for key", "Duplicate entry '…' for key"),
            (1062, "Can't be, 'it's secret' is there", "Can't be, '…' is there"),
            (1292, "Incorrect value: 'secret", "Incorrect value: '…"),
            (
                1366,
                "Incorrect string value: '\\xF0' for column `a`.`b`.`c`",
                "Incorrect string value: '…'",
            ),
        ] {
            let shown = format!("server error {code} (HY000): {shown}");
            assert_eq!(redacted(&server_error(code, message)).to_string(), shown);
        }
    }

    #[test]
    fn words_that_help_are_shown() {
        for (code, message) in [
            (
                1129,
                "Host '10.0.0.7' is blocked because of many connection errors; unblock with 'flush-hosts'",
            ),
            (1135, "Can't create a new thread (errno 11); if you are not out of available memory"),
            (1146, "Table 'app.sessions' doesn't exist"),
            (1461, "Can't create more than max_prepared_stmt_count statements (current value: 9)"),
        ] {
            let shown = format!("server error {code} (HY000): {message}");
            assert_eq!(redacted(&server_error(code, message)).to_string(), shown);
        }
    }

    #[test]
    fn unknown_messages_are_not_shown() {
        for (code, message) in [
            (9007, "Write conflict, key={tableID=1, handle=secret}, reason=Optimistic"),
            (1644, "a trigger of the application says secret"),
            (1064, "near 'secret"),
        ] {
            let shown = format!("server error {code} (HY000)");
            assert_eq!(redacted(&server_error(code, message)).to_string(), shown);
        }
    }

    #[test]
    fn what_vitess_has_lost_has_an_unknown_outcome() {
        const LOST: &str = "target: app.0.primary: vttablet: rpc error: code = ";
        for (code, reason) in [
            (2013, "Unknown desc = Lost connection to MySQL server during query (errno 2013)"),
            (1105, "Code(17) desc = operation not allowed in state NOT_SERVING"),
            (1105, "Unavailable desc = error reading from server: EOF"),
            (1317, "DeadlineExceeded desc = context deadline exceeded"),
        ] {
            let error = server_error(code, &format!("{LOST}{reason}"));
            assert_eq!(classify(&error), ErrorClass::ConnectionLost, "{reason}");
        }
        let syntax = server_error(1105, "syntax error at position 5");
        assert_eq!(classify(&syntax), ErrorClass::Permanent);
        let killed = server_error(1317, "Query execution was interrupted");
        assert_eq!(classify(&killed), ErrorClass::Contention);
    }

    #[test]
    fn only_what_had_no_effect_counts_as_contention_or_not_served() {
        for (code, expected) in [
            (1213, ErrorClass::Contention),
            (1205, ErrorClass::Contention),
            (1047, ErrorClass::ServerUnavailable),
            (1927, ErrorClass::Transient),
            (9007, ErrorClass::Contention),
            (1105, ErrorClass::Permanent),
            (9002, ErrorClass::Transient),
            (8027, ErrorClass::ServerUnavailable),
            (8025, ErrorClass::Permanent),
            (1062, ErrorClass::Permanent),
        ] {
            assert_eq!(classify(&server_error(code, "")), expected, "{code}");
        }
        let without_code = server_error(1105, "lock wait timeout");
        assert_eq!(classify(&without_code), ErrorClass::Contention);
        let io = |kind: io::ErrorKind| classify(&DriverError::IoError(kind.into()));
        assert_eq!(io(io::ErrorKind::WouldBlock), ErrorClass::TimedOut);
        assert_eq!(io(io::ErrorKind::ConnectionReset), ErrorClass::ConnectionLost);
        let codec =
            |kind: io::ErrorKind| classify(&DriverError::CodecError(io::Error::from(kind).into()));
        assert_eq!(codec(io::ErrorKind::WouldBlock), ErrorClass::TimedOut);
        assert_eq!(codec(io::ErrorKind::BrokenPipe), ErrorClass::ConnectionLost);
        assert!(
            !classify(&DriverError::DriverError(mysql::DriverError::PacketOutOfSync))
                .keeps_connection()
        );
    }
}

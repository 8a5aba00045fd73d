//! What the driver's errors mean, and their texts without tokens and data.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use mysql::Error as DriverError;
use store_core::{Error, ErrorSource};

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
        DriverError::MySqlError(error) => match error.code {
            // Lock wait timeout, deadlock (or a failed certification in Galera), row or table
            // changed since the snapshot (MariaDB), failed at COMMIT (Galera), KILL QUERY, and the
            // server's time limits for a statement.
            1205 | 1213 | 1020 | 1412 | 1180 | 1317 | 1969 | 3024
            // Galera: an earlier failed certification has ended the transaction.
            | 1689 => ErrorClass::Contention,
            // Killed, network errors of the server, statements that it has closed, disconnected for
            // being idle.
            1927 | 1158..=1161 | 1243 | 1615 | 4031 => ErrorClass::Transient,
            // Not ready for queries (Galera), shutting down, too many connections.
            1047 | 1053 | 1040 | 1203 => ErrorClass::ServerUnavailable,
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
    const CODES: [u16; 11] = [1048, 1054, 1136, 1146, 1176, 1264, 1265, 1292, 1364, 1366, 1406];
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

/// The server's own error: its code, its state and its message.
///
/// Servers quote values, `Duplicate entry 'token' for key`, so what is quoted is left out, but in
/// the messages that quote only names.
#[derive(Debug)]
struct ServerError {
    code: u16,
    state: String,
    message: String,
}

impl ServerError {
    fn new(error: &mysql::MySqlError) -> Self {
        // Access, databases, tables, columns, options, privileges, plugins, TLS and system
        // variables.
        const NAMES_ONLY: [u16; 22] = [
            1044, 1045, 1046, 1049, 1050, 1051, 1054, 1142, 1143, 1146, 1193, 1227, 1251, 1290,
            1370, 1524, 1698, 1792, 1820, 1836, 3118, 3159,
        ];
        let message = if NAMES_ONLY.contains(&error.code) {
            error.message.clone()
        } else {
            without_quoted(&error.message)
        };
        Self { code: error.code, state: error.state.clone(), message }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server error {} ({}): {}", self.code, self.state, self.message)
    }
}

impl StdError for ServerError {}

/// Cuts from the first quote to the last: a value may itself contain quotes.
fn without_quoted(message: &str) -> String {
    let is_quote = |c: char| matches!(c, '\'' | '"' | '`');
    match (message.find(is_quote), message.rfind(is_quote)) {
        (Some(first), Some(last)) if first < last => {
            format!("{}'…'{}", &message[..first], &message[last + 1..])
        }
        (Some(first), _) => format!("{}'…", &message[..first]),
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
            (1064, "near 'secret", "near '…"),
            (
                1366,
                "Incorrect string value: '\\xF0' for column `a`.`b`.`c`",
                "Incorrect string value: '…'",
            ),
            (1146, "Table 'app.sessions' doesn't exist", "Table 'app.sessions' doesn't exist"),
        ] {
            let shown = format!("server error {code} (HY000): {shown}");
            assert_eq!(redacted(&server_error(code, message)).to_string(), shown);
        }
    }

    #[test]
    fn only_what_had_no_effect_counts_as_contention_or_not_served() {
        for (code, expected) in [
            (1213, ErrorClass::Contention),
            (1205, ErrorClass::Contention),
            (1047, ErrorClass::ServerUnavailable),
            (1927, ErrorClass::Transient),
            (1062, ErrorClass::Permanent),
        ] {
            assert_eq!(classify(&server_error(code, "")), expected, "{code}");
        }
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

//! What a failure of the driver, the server or the pool means, in the terms that all stores share.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use mysql::Error as DriverError;
use store_core::{Error, ErrorSource};

/// What has become of an attempt that failed, which decides whether it may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// Others were in the way and the server rolled it back.
    Contention,
    /// It isn't served on this connection any more, and had no effect.
    Transient,
    /// The server doesn't serve anybody at the moment; it had no effect.
    ServerUnavailable,
    /// The server takes no changes. Another one may, or this one after a fail-over.
    ReadOnly,
    /// The connection was lost. Whether it had an effect is unknown.
    ConnectionLost,
    /// No reply came in time. It may have its effect even later, so that making it again could undo
    /// what others do meanwhile.
    TimedOut,
    /// Making it again would give the same.
    Permanent,
}

impl ErrorClass {
    /// Whether the connection can be used again: all that was sent was answered, and it is served here.
    pub(crate) fn keeps_connection(self) -> bool {
        matches!(self, Self::Contention | Self::Permanent)
    }
}

/// Reads the codes of the [server][1]; MariaDB and Galera have some of their own.
///
/// [1]: https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
pub(crate) fn classify(error: &DriverError) -> ErrorClass {
    match error {
        DriverError::MySqlError(error) => match error.code {
            // Lock wait timeout, deadlock (which is also what a failed certification in Galera is
            // called), changed since the snapshot (MariaDB), the table itself changed since, failed
            // at COMMIT (Galera), interrupted by KILL QUERY, and the server's own limit of time for a
            // statement.
            1205 | 1213 | 1020 | 1412 | 1180 | 1317 | 1969 | 3024
            // Galera: an earlier failed certification has ended the transaction.
            | 1689 => ErrorClass::Contention,
            // Killed, network trouble that the server saw, statements that it has forgotten,
            // disconnected for being idle.
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
        // What the operating system calls a timeout of a read differs.
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ErrorClass::TimedOut,
        _ => ErrorClass::ConnectionLost,
    }
}

/// The error of an operation that isn't tried any further.
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

/// Whether the server found something else in the table than when the store was made: an unknown
/// column or index, too many or too few of them, values that don't fit any more, a missing default.
pub(crate) fn indicates_table_change(error: &DriverError) -> bool {
    matches!(error, DriverError::MySqlError(error)
        if matches!(error.code, 1054 | 1136 | 1146 | 1176 | 1264 | 1265 | 1292 | 1364 | 1366 | 1406 | 1048))
}

/// Whether a row with the same key exists.
pub(crate) fn is_duplicate(error: &DriverError) -> bool {
    matches!(error, DriverError::MySqlError(error) if error.code == 1062)
}

/// Whether a number was too large for its type.
pub(crate) fn is_out_of_range(error: &DriverError) -> bool {
    matches!(error, DriverError::MySqlError(error) if error.code == 1690)
}

/// What the driver said, without what could be a token or data.
pub(crate) fn redacted(error: &DriverError) -> ErrorSource {
    match error {
        DriverError::MySqlError(error) => ServerError::new(error).into(),
        error if classify(error) == ErrorClass::TimedOut => {
            "the server didn't reply within the network timeout; whether it did what was asked is unknown".into()
        }
        // Values of another type than expected, too, come without their contents.
        error => error.to_string().into(),
    }
}

/// An error of the server's own: its code, its state and its message.
///
/// Servers quote values, `Duplicate entry 'token' for key`, so what is quoted is left out, but in the
/// messages that quote only names.
#[derive(Debug)]
struct ServerError {
    code: u16,
    state: String,
    message: String,
}

impl ServerError {
    fn new(error: &mysql::MySqlError) -> Self {
        // Access, databases, tables, columns, options, privileges, plugins, TLS and system variables.
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

//! Why there is no connection.

use std::error::Error as StdError;
use std::fmt;

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
pub struct ConnectError {
    reason: String,
    kind: Kind,
    is_news: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No server could be reached, or serves clients at the moment.
    Refused,
    /// All servers have denied access, which the next attempt won't change.
    Denied,
    /// There was a connection, which is replaced because of its age or of what became of others.
    Recycled,
}

impl ConnectError {
    pub(crate) fn refused(reason: String) -> Self {
        Self { reason, kind: Kind::Refused, is_news: false }
    }

    pub(crate) fn denied(reason: String) -> Self {
        Self { reason, kind: Kind::Denied, is_news: false }
    }

    pub(crate) fn recycled() -> Self {
        let reason = "the connection was due to be replaced".to_owned();
        Self { reason, kind: Kind::Recycled, is_news: false }
    }

    /// Marks what a person wants to know, and wasn't told a moment ago.
    pub(crate) fn with_news(mut self, is_news: bool) -> Self {
        self.is_news = is_news;
        self
    }

    pub(crate) fn is_denied(&self) -> bool {
        self.kind == Kind::Denied
    }

    pub(crate) fn is_recycled(&self) -> bool {
        self.kind == Kind::Recycled
    }

    pub(crate) fn is_news(&self) -> bool {
        self.is_news
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl StdError for ConnectError {}

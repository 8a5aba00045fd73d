//! Why a command failed, and what can be done.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use store_core::{Error, ErrorChain};

use crate::store_url::StoreUrl;

/// Why a command failed: what is wrong, and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    next: Option<String>,
    code: u8,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), next: None, code: 1 }
    }

    /// The arguments are wrong, in a way that they don't show one by one.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, ..Self::new(message) }.with_next("`sessions --help` has examples")
    }

    pub(crate) fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// A store that can't be opened or used.
    pub(crate) fn of_store(error: &Error, url: &StoreUrl) -> Self {
        let failure = Self::new(format!("{url}: {}", ErrorChain(error)));
        match next(error, url) {
            Some(next) => failure.with_next(next),
            None => failure,
        }
    }

    /// A store whose feature was left out when the program was built.
    #[cfg(not(all(feature = "sqlite", feature = "mysql", feature = "ql")))]
    pub(crate) fn not_built(url: &StoreUrl) -> Self {
        let feature = match url {
            StoreUrl::Sqlite(_) => "sqlite",
            StoreUrl::Mysql(_) => "mysql",
            StoreUrl::Ql(_) => "ql",
        };
        Self::new(format!("this program was built without the feature {feature:?}"))
            .with_next("`cargo install sync-session-cli` builds it with all of them")
    }

    /// Writes it to standard error, and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let mut err = io::stderr().lock();
        // Without standard error there is nobody to tell.
        let _ = match &self.next {
            _ if self.message.is_empty() => Ok(()),
            Some(next) => writeln!(err, "sessions: {}\n  {next}", self.message),
            None => writeln!(err, "sessions: {}", self.message),
        };
        ExitCode::from(self.code)
    }
}

/// Nothing more can be written. If that is because the reader wants no more, it needs no telling.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::new(""),
            _ => Self::new(format!("can't write: {error}")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What to do next.
fn next(error: &Error, url: &StoreUrl) -> Option<String> {
    Some(match (error, url) {
        (Error::TableMissing { .. }, _) => {
            "`sessions create-table` creates it; --table names another one".to_owned()
        }
        (Error::TableMismatch { .. }, _) => {
            "--table names another one; `sessions create-table --dry-run` shows what is expected"
                .to_owned()
        }
        (Error::InUse { .. }, StoreUrl::Ql(_)) => "\
redb lets one process in, and the application has the file. Stop it first; or have it call
  SessionManager::destroy_all_of, destroy_all and for_each, store_core::copy, and
  QlStore::statistics, delete_expired, backup and compact, which do the same from within"
            .to_owned(),
        (Error::Unreachable { .. }, StoreUrl::Sqlite(_) | StoreUrl::Ql(_)) => {
            "`sessions create-table` alone creates a file; is the path right?".to_owned()
        }
        (Error::Unreachable { .. }, StoreUrl::Mysql(_)) => {
            "check the host, the account and its password: in the URL, or in MYSQL_PWD".to_owned()
        }
        (Error::Contended { .. }, StoreUrl::Sqlite(_)) => "\
try again later; an application that keeps the file for itself (with_exclusive_process) has to be
  stopped first"
            .to_owned(),
        (error, _) if error.is_retryable() => "try again later".to_owned(),
        _ => return None,
    })
}

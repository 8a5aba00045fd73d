//! Why an import failed.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a ql database could not be imported.
///
/// The message says where and what; the error of the operating system or the store is the
/// [`source`](StdError::source). Descriptions of damage are fixed texts, so no message contains a
/// token or data of a session.
///
/// Sessions that were committed before the error stay in the store. Until the application has
/// started, it is safe to import again once the cause is removed:
/// [`ExistingSessions`](crate::ExistingSessions) says what happens to those sessions then.
///
/// # Examples
/// ```
/// use store_core::MemoryStore;
/// use store_ql_compat::{ImportError, ImportOptions, import_ql};
///
/// let store = MemoryStore::new()?;
/// let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
/// match import_ql(manifest, &store, &ImportOptions::new()) {
///     Err(ImportError::NotQl { looks_like }) => println!("that was {looks_like}"),
///     other => panic!("a manifest is no database: {other:?}"),
/// }
/// # Ok::<(), store_core::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ImportError {
    /// A file could not be opened or read.
    Io {
        /// The database, its log or its lock file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file isn't a ql database.
    NotQl {
        /// What it looks like instead.
        looks_like: &'static str,
    },
    /// A process has the database open, so what is read could be half written.
    InUse {
        /// The id of the process, if it is known.
        pid: Option<u32>,
        /// The lock file that the process holds.
        lock: PathBuf,
    },
    /// The database was written to while it was read: what was imported may be incomplete.
    Changed,
    /// The database is damaged.
    Damaged {
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The database can't be read as it is, and its write-ahead log isn't next to it. A process
    /// that died in the middle of a commit leaves both, and neither is complete without the other.
    WalMissing {
        /// Where the log was looked for. Its name comes from the database's: a database that was
        /// renamed or copied alone has lost it.
        wal: PathBuf,
        /// Where in the database the reading failed, in bytes.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The write-ahead log is damaged, so it is unknown whether the database is complete without
    /// it.
    WalDamaged {
        /// The log.
        wal: PathBuf,
        /// Where in the log, in bytes.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The database, or a file next to it, is of a kind that can't be imported.
    Unsupported {
        /// What kind, and what to do.
        what: &'static str,
    },
    /// The database has no such table.
    NoTable {
        /// The table that was looked for.
        table: String,
        /// The tables that exist; of very many, the first.
        present: Vec<String>,
    },
    /// The table isn't one of sessions: it needs `token string`, `data blob` and `expiry time`, in
    /// any order and among others.
    WrongColumns {
        /// The table.
        table: String,
        /// The column that is missing or of another type.
        expected: &'static str,
        /// The columns that exist, with their types.
        present: Vec<String>,
    },
    /// A row is larger than
    /// [`ImportOptions::with_max_row_len`](crate::ImportOptions::with_max_row_len) allows.
    RowTooLarge {
        /// Where the row is in the file, in bytes.
        offset: u64,
        /// The limit, in bytes.
        max: usize,
    },
    /// The store failed.
    Store(store_core::Error),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, .. } => write!(f, "{} can't be read", path.display()),
            Self::NotQl { looks_like } => {
                write!(f, "the file is not a ql database; it looks like {looks_like}")
            }
            Self::InUse { pid: Some(pid), lock } => write!(
                f,
                "process {pid} has the database open, says its lock file {}: stop it first",
                lock.display()
            ),
            Self::InUse { pid: None, lock } => write!(
                f,
                "a process has the database open, says its lock file {}: stop it first",
                lock.display()
            ),
            Self::Changed => f.write_str(
                "the database was written to while it was read: stop what uses it, and import \
                 again",
            ),
            Self::Damaged { offset, what } => {
                write!(f, "the database is damaged at offset {offset}: {what}")
            }
            Self::WalMissing { wal, offset, what } => write!(
                f,
                "the database is damaged at offset {offset} ({what}), or half of a commit: its \
                 write-ahead log would be {}, which doesn't exist; a database must not be renamed \
                 or copied without its log",
                wal.display()
            ),
            Self::WalDamaged { wal, offset, what } => write!(
                f,
                "the write-ahead log {} is damaged at offset {offset}: {what}",
                wal.display()
            ),
            Self::Unsupported { what } => f.write_str(what),
            Self::NoTable { table, present } if present.is_empty() => {
                write!(f, "there is no table {table:?}, nor any other")
            }
            Self::NoTable { table, present } => {
                write!(f, "there is no table {table:?}; there are {present:?}")
            }
            Self::WrongColumns { table, expected, present } => {
                write!(f, "table {table:?} has no column \"{expected}\"; it has {present:?}")
            }
            Self::RowTooLarge { offset, max } => {
                write!(f, "the row at offset {offset} is over the limit of {max} bytes: raise it")
            }
            Self::Store(_) => f.write_str("the store failed"),
        }
    }
}

impl StdError for ImportError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Store(source) => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_where_and_what() {
        let damaged = ImportError::Damaged { offset: 304, what: "the record is free" };
        assert_eq!(
            damaged.to_string(),
            "the database is damaged at offset 304: the record is free"
        );

        let missing =
            ImportError::NoTable { table: "sessions".to_owned(), present: vec!["t".to_owned()] };
        assert_eq!(missing.to_string(), "there is no table \"sessions\"; there are [\"t\"]");

        let store = ImportError::Store(store_core::Error::backend("the driver's words"));
        assert!(!store.to_string().contains("driver"));
        assert!(store.source().is_some());
    }
}

//! What an import did, with every row accounted for.

use std::sync::Arc;

use crate::ql_format::QlFormat;

/// The state of the write-ahead log next to the database. The log itself is never changed.
///
/// # Examples
/// ```
/// use store_ql_compat::{ImportOptions, WalStatus, import_ql_dry_run};
///
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1-small.db");
/// let report = import_ql_dry_run(path, &ImportOptions::new())?;
/// match report.wal {
///     WalStatus::Absent => println!("was the database copied without its log?"),
///     WalStatus::Replayed => println!("the last commit is in the log, and was read from there"),
///     _ => println!("the database was closed properly, or a commit was never finished"),
/// }
/// # Ok::<(), store_ql_compat::ImportError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalStatus {
    /// There is none. ql leaves an empty one, unless told to remove it, so this can also mean that
    /// the database was copied or renamed without it.
    Absent,
    /// It is empty: the database was closed properly.
    Empty,
    /// It has a commit that was never finished, of which nothing is in the database.
    Unfinished,
    /// It has a finished commit, and the sessions were read as they are after it.
    Replayed,
}

/// What became of the rows of a ql table. Each row is counted exactly once:
/// `rows = imported + expired + null + wrong_type + duplicates + already_present + rejected`.
///
/// # Examples
/// ```
/// use store_core::MemoryStore;
/// use store_ql_compat::{ImportOptions, import_ql};
///
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1-altered.db");
/// let store = MemoryStore::new()?;
/// let report = import_ql(path, &store, &ImportOptions::new())?;
/// if report.imported < report.rows {
///     println!(
///         "skipped: {} expired, {} with NULLs, {} older rows of the same token, {} rejected",
///         report.expired, report.null, report.duplicates, report.rejected,
///     );
/// }
/// # assert_eq!(report.null, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportReport {
    /// The format of the database.
    pub format: QlFormat,
    /// The state of its write-ahead log.
    pub wal: WalStatus,
    /// Rows of the table.
    pub rows: u64,
    /// Sessions committed to the store; in a [dry run](crate::import_ql_dry_run), those that would
    /// be.
    pub imported: u64,
    /// Rows skipped because they had expired when the import began.
    pub expired: u64,
    /// Rows skipped because token, data or expiry is NULL.
    pub null: u64,
    /// Rows skipped because the value of token, data or expiry isn't of the column's type.
    pub wrong_type: u64,
    /// Live rows skipped because a live row of the same token has a higher id. The Go store saved
    /// over an expired session by inserting another row, and the next save made both equal; only
    /// the rows of concurrent first saves can differ.
    pub duplicates: u64,
    /// Sessions skipped because the store has a live one under their token. See
    /// [`ExistingSessions`](crate::ExistingSessions).
    pub already_present: u64,
    /// Live sessions skipped because the store rejected their token, data or expiry.
    pub rejected: u64,
    /// The first of the rejected sessions.
    pub first_rejection: Option<Rejection>,
}

impl ImportReport {
    pub(super) fn new(format: QlFormat, wal: WalStatus) -> Self {
        Self {
            format,
            wal,
            rows: 0,
            imported: 0,
            expired: 0,
            null: 0,
            wrong_type: 0,
            duplicates: 0,
            already_present: 0,
            rejected: 0,
            first_rejection: None,
        }
    }
}

/// A live session that the store rejected, because its token, data or expiry is out of the store's
/// limits.
///
/// # Examples
/// ```
/// use store_core::{Limits, MemoryOptions};
/// use store_ql_compat::{Error, ImportOptions, import_ql};
///
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1-small.db");
/// let limits = Limits { max_data_len: 5, ..Limits::DEFAULT };
/// let store = MemoryOptions::new().with_limits(limits).build()?;
/// let report = import_ql(path, &store, &ImportOptions::new())?;
/// let first = report.first_rejection.expect("there are larger sessions");
/// println!("row {}: {}", first.id, first.error);
/// assert!(matches!(*first.error, Error::DataTooLarge { max: 5, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rejection {
    /// The row's id in ql: `SELECT * FROM sessions WHERE id() == …`.
    pub id: i64,
    /// The store's error, which contains neither token nor data, as no error of a store does.
    pub error: Arc<store_core::Error>,
}

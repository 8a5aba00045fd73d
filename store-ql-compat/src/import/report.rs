//! What an import did, row by row accounted for.

use std::fmt;
use std::sync::Arc;

/// Which of ql's two file formats a database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QlFormat {
    /// What `sql.Open("ql", …)` made.
    V1,
    /// What came with `sql.Open("ql2", …)`.
    V2,
}

impl fmt::Display for QlFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "ql format 1",
            Self::V2 => "ql format 2",
        })
    }
}

/// What was made of the write-ahead log beside the database. The log itself is never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalUse {
    /// There is none. ql leaves an empty one behind, unless told to remove it, so this can also mean that
    /// the database was copied or renamed without it.
    Absent,
    /// It is empty: the database was closed in order.
    Empty,
    /// It holds a commit that was never finished, and that the database knows nothing of.
    Unfinished,
    /// It holds a finished commit, and the sessions were read as they are after it.
    Replayed,
}

/// What became of the rows of a ql table. Each row is counted once:
/// `rows = imported + expired + null + wrong_type + superseded + kept + refused`.
///
/// # Examples
/// ```
/// use store_core::MemoryStore;
/// use store_ql_compat::{ImportOptions, import_ql};
///
/// # let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1-altered.db");
/// let store = MemoryStore::new()?;
/// let report = import_ql(path, &store, &ImportOptions::new())?;
/// if report.imported < report.rows {
///     println!(
///         "left behind: {} expired, {} with NULLs, {} older rows of the same token, {} refused",
///         report.expired, report.null, report.superseded, report.refused,
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
    /// What was made of its write-ahead log.
    pub wal: WalUse,
    /// Rows of the table.
    pub rows: u64,
    /// Sessions committed to the target; by [`check_ql`](crate::check_ql), those that would be.
    pub imported: u64,
    /// Rows left behind because they had expired when the import began.
    pub expired: u64,
    /// Rows left behind because token, data or expiry is NULL.
    pub null: u64,
    /// Rows left behind because the value of token, data or expiry isn't of the column's type.
    pub wrong_type: u64,
    /// Live rows left behind because a live row of the same token has a higher id. The Go store saved over
    /// an expired session by inserting another row, and the next save made both the same; only the rows of
    /// first saves that raced can differ.
    pub superseded: u64,
    /// Sessions left behind because the target has a live one under their token. See
    /// [`ExistingSessions`](crate::ExistingSessions).
    pub kept: u64,
    /// Live sessions left behind because the target can't hold their token, data or expiry.
    pub refused: u64,
    /// The first of these.
    pub first_refusal: Option<Refusal>,
}

impl ImportReport {
    pub(super) fn new(format: QlFormat, wal: WalUse) -> Self {
        Self {
            format,
            wal,
            rows: 0,
            imported: 0,
            expired: 0,
            null: 0,
            wrong_type: 0,
            superseded: 0,
            kept: 0,
            refused: 0,
            first_refusal: None,
        }
    }
}

/// A live session that the target can't hold.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The row's id, by which ql finds it: `SELECT * FROM sessions WHERE id() == …`.
    pub id: i64,
    /// What the target said; as every error of a store, without token and data.
    pub error: Arc<store_core::Error>,
}

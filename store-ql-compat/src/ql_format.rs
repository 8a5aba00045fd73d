//! How a file of ql is recognised: the only thing that the store and the importer share.

use std::fmt;

/// Which of ql's two file formats a database has.
///
/// # Examples
/// ```
/// use store_ql_compat::{ImportOptions, QlFormat, import_ql_dry_run};
///
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1-small.db");
/// let report = import_ql_dry_run(path, &ImportOptions::new())?;
/// assert_eq!(report.format, QlFormat::V1);
/// assert_eq!(report.format.to_string(), "ql format 1");
/// # Ok::<(), store_ql_compat::ImportError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QlFormat {
    /// What `sql.Open("ql", …)` made.
    V1,
    /// What `sql.Open("ql2", …)` made.
    V2,
}

impl QlFormat {
    /// Returns the format of a file that begins with these bytes, if the file is ql's. Four bytes
    /// suffice.
    pub(crate) fn from_first_bytes(first_bytes: &[u8]) -> Option<Self> {
        match first_bytes {
            [0x60, 0xDB, b'q', b'l', ..] => Some(Self::V1),
            [0x61, 0xDB, b'q', b'l', ..] => Some(Self::V2),
            _ => None,
        }
    }
}

impl fmt::Display for QlFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "ql format 1",
            Self::V2 => "ql format 2",
        })
    }
}

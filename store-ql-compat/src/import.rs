//! Imports the sessions of a genuine ql database into a store.
//!
//! `transfer.rs` is an import in progress. `database.rs` opens the file and overlays the commit of
//! a crashed process (`sidecar.rs`, `wal.rs`, `overlay.rs`, `file.rs`). `v1.rs` and `v2.rs` read
//! its records, `values.rs`, `scalars.rs` and `time.rs` the values in them, `table.rs` walks the
//! rows, and `dedup.rs` decides between rows of one token.

mod options;

mod report;

mod error;

mod transfer;

mod dedup;

mod table;

mod database;

mod sidecar;

mod wal;

mod overlay;

mod file;

mod v1;

mod v2;

mod values;

mod scalars;

mod time;

use std::path::Path;

use store_core::Store;

pub use self::error::ImportError;
pub use self::options::{ExistingSessions, ImportOptions};
pub use self::report::{ImportReport, Rejection, WalStatus};

/// Commits the live sessions of a genuine ql database to a store, with their expiries.
///
/// Both of ql's formats are read. The database is never changed, nothing is created next to it, and
/// it is an error if a process has it open: stop the Go program first. Run the import before the
/// new application starts; see [`ExistingSessions`] for sessions that the store already has.
///
/// A process that died in the middle of a commit leaves a write-ahead log next to the database, in
/// a hidden file that is named after it. If the commit was finished, it is replayed in memory; if
/// not, it is ignored. A database must therefore not be renamed or copied without that file.
///
/// # What is imported
/// The table needs the columns `token string`, `data blob` and `expiry time`, in any order and
/// among others. Rows with a NULL in one of them and expired rows are skipped. Of several live rows
/// of one token, which the Go store could leave, the one with the highest id is imported: the one
/// that was inserted last. Sessions that the store rejects, because they exceed its limits, are
/// skipped too. The [`ImportReport`] accounts for every row.
///
/// # Limits
/// Rows are streamed. Memory is needed for the largest row twice (see
/// [`ImportOptions::with_max_row_len`]), for some 20 MiB of fingerprints of tokens, and for the
/// ranges that a crashed process's log writes to: some 1 % of a log's size, and at most 4 million
/// ranges. Beyond 260,000 live rows the table is read more than twice, instead of remembering more.
///
/// On systems other than Unix a running ql process is recognized by the content of its lock file
/// alone, and a lock file that a crash left has to be removed by hand.
///
/// # Errors
/// [`ImportError`]. Everything but [`ImportError::Store`] and a read error is noticed before the
/// first session is committed, except for damage in large data of format 1, and a database that is
/// written to concurrently.
///
/// # Examples
/// ```
/// use store_core::{MemoryStore, Store};
/// use store_ql_compat::{ImportOptions, import_ql};
///
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1-small.db");
/// let store = MemoryStore::new()?;
/// let report = import_ql(path, &store, &ImportOptions::new())?;
/// println!("{} of {} rows imported from {}", report.imported, report.rows, report.format);
/// assert_eq!(store.find("tok-ascii-1")?.as_deref(), Some(&b"hello session"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import_ql(
    path: impl AsRef<Path>,
    store: &dyn Store,
    options: &ImportOptions,
) -> Result<ImportReport, ImportError> {
    transfer::run(path.as_ref(), Some(store), options)
}

/// Reads everything that [`import_ql`] would read, and commits nothing.
///
/// The report says what would be imported. It doesn't know what a store would reject, or already
/// has.
///
/// # Errors
/// As for [`import_ql`].
///
/// # Examples
/// ```
/// use store_ql_compat::{ImportOptions, import_ql_dry_run};
///
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1-small.db");
/// let report = import_ql_dry_run(path, &ImportOptions::new())?;
/// assert_eq!((report.rows, report.imported, report.expired), (5, 4, 1));
/// # Ok::<(), store_ql_compat::ImportError>(())
/// ```
pub fn import_ql_dry_run(
    path: impl AsRef<Path>,
    options: &ImportOptions,
) -> Result<ImportReport, ImportError> {
    transfer::run(path.as_ref(), None, options)
}

#[cfg(test)]
mod tests;

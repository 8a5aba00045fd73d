//! Moving the sessions of a genuine ql database into a store.
//!
//! `database.rs` opens the file and lays the commit of a crashed process over it (`sidecar.rs`, `wal.rs`,
//! `overlay.rs`, `file.rs`). `v1.rs` and `v2.rs` read its records, `scalars.rs` and `time.rs` what is in
//! them, `table.rs` walks the rows, and `dedup.rs` decides between rows of one token.

mod database;

mod error;

mod file;

mod options;

mod overlay;

mod report;

mod scalars;

mod sidecar;

mod table;

mod time;

mod v1;

mod v2;

mod wal;

mod dedup;

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use store_core::{Error, Store, TokenProblem};

use self::database::Database;
use self::dedup::{Shares, Winners};
use self::table::{Column, Payload, Row, Table};

pub use error::ImportError;
pub use options::{ExistingSessions, ImportOptions};
pub use report::{ImportReport, QlFormat, Refusal, WalUse};

/// Commits the live sessions of a genuine ql database to a store, with their expiries.
///
/// Both of ql's formats are read. The database is never changed, nothing is created beside it, and a process
/// that has it open is an error: stop the Go program first. Run the import before the new application
/// starts; see [`ExistingSessions`] for sessions that are there already.
///
/// A process that died in the middle of a commit leaves a write-ahead log beside the database, in a hidden
/// file that is named after it. If the commit was finished, it is replayed in memory; if not, it is ignored.
/// A database must therefore not be renamed or copied without that file.
///
/// # What is imported
/// The table needs the columns `token string`, `data blob` and `expiry time`, in any order and among others.
/// Rows with a NULL in one of them and rows that have expired are left behind. Of several live rows of one
/// token, which the Go store could leave, the one with the highest id is imported: the one that was inserted
/// last. What the target refuses to hold is left behind too. The [`ImportReport`] accounts for every row.
///
/// # Limits
/// Rows are streamed. Memory is needed for the largest row twice (see
/// [`ImportOptions::with_max_row_len`]), for some 20 MiB of tokens' fingerprints, and for the places that a
/// crashed process's log writes to: some 1 % of a log's size, and at most 4 million places. Beyond 260,000
/// live rows the rows are gone through more often, instead of remembering more.
///
/// On systems other than Unix a running ql process is recognized by the content of its lock file alone, and
/// a lock file that a crash left has to be removed by hand.
///
/// # Errors
/// [`ImportError`]; everything but [`ImportError::Store`] and a read error is noticed before the
/// first session is committed, except for damage in large data of format 1, and a database that is
/// written to meanwhile.
///
/// # Examples
/// ```
/// use store_core::{MemoryStore, Store};
/// use store_ql_compat::{ImportOptions, import_ql};
///
/// # let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1-small.db");
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
    run(path.as_ref(), Some(store), options)
}

/// Reads everything that [`import_ql`] would read, and commits nothing.
///
/// The report tells what would be imported, but not what a target would refuse or has already.
///
/// # Errors
/// As for [`import_ql`].
///
/// # Examples
/// ```
/// use store_ql_compat::{ImportOptions, check_ql};
///
/// # let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1-small.db");
/// let report = check_ql(path, &ImportOptions::new())?;
/// assert_eq!((report.rows, report.imported, report.expired), (5, 4, 1));
/// # Ok::<(), store_ql_compat::ImportError>(())
/// ```
pub fn check_ql(
    path: impl AsRef<Path>,
    options: &ImportOptions,
) -> Result<ImportReport, ImportError> {
    run(path.as_ref(), None, options)
}

/// Which format of ql a file with these first bytes has, if it is ql's: four of them tell.
pub(crate) fn looks_like_ql(first_bytes: &[u8]) -> Option<QlFormat> {
    match first_bytes {
        [0x60, 0xDB, b'q', b'l', ..] => Some(QlFormat::V1),
        [0x61, 0xDB, b'q', b'l', ..] => Some(QlFormat::V2),
        _ => None,
    }
}

fn run(
    path: &Path,
    store: Option<&dyn Store>,
    options: &ImportOptions,
) -> Result<ImportReport, ImportError> {
    let mut db = Database::open(path, options.max_row_len)?;
    let report = ImportReport::new(db.format, db.wal_use);
    let mut import = Import { options, store, now: options.clock.now(), report, met: 0 };
    match import.run(&mut db) {
        Err(ImportError::Store(error)) => Err(ImportError::Store(error)),
        // Whatever else went wrong may come of a process that writes.
        result => {
            db.verify_unchanged()?;
            result.map_err(|error| db.explain(error)).map(|()| import.report)
        }
    }
}

/// An import under way.
struct Import<'a> {
    options: &'a ImportOptions,
    store: Option<&'a dyn Store>,
    now: DateTime<Utc>,
    report: ImportReport,
    /// Rows that were met, in all passes.
    met: u64,
}

/// A row that is a live session, by what it says itself.
struct Live<'a> {
    token: &'a [u8],
    data: Payload<'a>,
    expiry: DateTime<Utc>,
}

impl Import<'_> {
    fn run(&mut self, db: &mut Database) -> Result<(), ImportError> {
        let table = Table::find(db, &self.options.table)?;
        let (shares, mut first_winners) = self.take_stock(db, &table)?;
        for share in 0..shares.count() {
            let winners = match first_winners.take() {
                Some(winners) => winners,
                None => self.winners(db, &table, &shares, share)?,
            };
            self.report.superseded += winners.superseded;
            self.copy(db, &table, &shares, share, winners)?;
        }
        Ok(())
    }

    /// Counts the rows, and finds the winners of all tokens, unless these are too many for one share.
    fn take_stock(
        &mut self,
        db: &mut Database,
        table: &Table,
    ) -> Result<(Shares, Option<Winners>), ImportError> {
        let shares = Shares::one();
        let mut winners = Some(Winners::default());
        let mut live_rows = 0;
        table.for_each_row(db, &mut |_, row| {
            self.report.rows += 1;
            if let Some(live) = self.classify(row) {
                live_rows += 1;
                if let Some((all, token)) = winners.as_mut().zip(shares.fingerprint(0, live.token))
                {
                    all.enter(token, row.id);
                    if all.len() > self.options.max_remembered {
                        winners = None;
                    }
                }
            }
            self.progress();
            Ok(())
        })?;
        match winners {
            Some(winners) => Ok((shares, Some(winners))),
            None => Ok((shares.for_rows(live_rows, self.options.max_remembered), None)),
        }
    }

    /// Says whether a row is a live session, and counts it if not.
    fn classify<'row>(&mut self, row: &Row<'row>) -> Option<Live<'row>> {
        let live = self.live(row);
        if live.is_none() {
            let has_null = matches!(row.token, Column::Null)
                || matches!(row.data, Column::Null)
                || matches!(row.expiry, Column::Null);
            let has_wrong_type = matches!(row.token, Column::WrongType)
                || matches!(row.data, Column::WrongType)
                || matches!(row.expiry, Column::WrongType);
            let count = if has_null {
                &mut self.report.null
            } else if has_wrong_type {
                &mut self.report.wrong_type
            } else {
                &mut self.report.expired
            };
            *count += 1;
        }
        live
    }

    fn live<'row>(&self, row: &Row<'row>) -> Option<Live<'row>> {
        match (row.token, row.data, row.expiry) {
            (Column::Of(token), Column::Of(data), Column::Of(expiry)) if self.now < expiry => {
                Some(Live { token, data, expiry })
            }
            _ => None,
        }
    }

    fn winners(
        &self,
        db: &mut Database,
        table: &Table,
        shares: &Shares,
        share: u64,
    ) -> Result<Winners, ImportError> {
        let mut winners = Winners::default();
        table.for_each_row(db, &mut |_, row| {
            if let Some(live) = self.live(row)
                && let Some(token) = shares.fingerprint(share, live.token)
            {
                winners.enter(token, row.id);
            }
            Ok(())
        })?;
        Ok(winners)
    }

    fn copy(
        &mut self,
        db: &mut Database,
        table: &Table,
        shares: &Shares,
        share: u64,
        mut winners: Winners,
    ) -> Result<(), ImportError> {
        table.for_each_row(db, &mut |db, row| {
            if let Some(live) = self.live(row)
                && let Some(token) = shares.fingerprint(share, live.token)
                && winners.take(token, row.id)
            {
                let data = row.read_data(db, &live.data)?;
                self.commit(row.id, &live, &data)?;
            }
            self.progress();
            Ok(())
        })
    }

    fn commit(&mut self, id: i64, live: &Live<'_>, data: &[u8]) -> Result<(), ImportError> {
        // A string of ql can have any bytes, a token of a store can't.
        let Ok(token) = str::from_utf8(live.token) else {
            self.refuse(id, Error::InvalidToken(TokenProblem::Unrepresentable));
            return Ok(());
        };
        if let Some(store) = self.store {
            if self.options.existing == ExistingSessions::Keep
                && store.find(token).map_err(ImportError::Store)?.is_some()
            {
                self.report.kept += 1;
                return Ok(());
            }
            match store.commit(token, data, live.expiry) {
                Ok(()) => {}
                Err(
                    error @ (Error::InvalidToken(_)
                    | Error::DataTooLarge { .. }
                    | Error::ExpiryOutOfRange { .. }),
                ) => {
                    self.refuse(id, error);
                    return Ok(());
                }
                Err(error) => return Err(ImportError::Store(error)),
            }
        }
        self.report.imported += 1;
        Ok(())
    }

    fn refuse(&mut self, id: i64, error: Error) {
        let refusal = Refusal { id, error: Arc::new(error) };
        if let Some(tell) = &self.options.on_refusal {
            tell(&refusal);
        }
        self.report.refused += 1;
        self.report.first_refusal.get_or_insert(refusal);
    }

    fn progress(&mut self) {
        self.met += 1;
        if let Some(tell) = &self.options.on_progress
            && self.met.is_multiple_of(self.options.progress_every)
        {
            tell(&self.report);
        }
    }
}

#[cfg(test)]
mod tests;

//! `sessions import-ql`: takes over the sessions of a genuine ql database.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use store_core::ErrorChain;
use store_ql_compat::{
    ExistingSessions, ImportError, ImportOptions, ImportReport, import_ql, import_ql_dry_run,
};

use crate::engine::Access;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::table;
use crate::place::Place;

/// Take over the live sessions of a ql database, which the Go store qlstore has written
///
/// The ql database isn't changed, and no process may have it open. Run this before the new
/// application starts: a session that it has ended since would come back.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sessions import-ql --dry-run old.db
  sessions --store sqlite:app.db import-ql old.db")]
pub(crate) struct ImportQl {
    /// The ql database, with its log next to it
    file: PathBuf,

    /// Read everything, and write nothing; needs no --store
    #[arg(long)]
    dry_run: bool,

    /// Overwrite sessions that the store has already, instead of keeping those
    #[arg(long)]
    replace: bool,

    /// The table of the sessions in the ql database
    #[arg(long, value_name = "NAME", default_value = "sessions")]
    ql_table: String,
}

impl ImportQl {
    pub(crate) fn run(&self, place: &Place, out: &mut dyn Write) -> Result<Exit, Failure> {
        let mut options = ImportOptions::new().with_table_name(&self.ql_table);
        if self.replace {
            options = options.with_existing(ExistingSessions::Replace);
        }
        let report = if self.dry_run {
            import_ql_dry_run(&self.file, &options).map_err(|error| self.failure(&error))?
        } else {
            let (opened, url) = place.open(Access::Write)?;
            import_ql(&self.file, opened.store(), &options).map_err(|error| match &error {
                ImportError::Store(error) => Failure::of_store(error, &url),
                error => self.failure(error),
            })?
        };
        let rows =
            lines(&report, self.dry_run).map(|(what, n)| vec![what.to_owned(), n.to_string()]);
        out.write_all(table(&[], rows, &[1]).as_bytes())?;
        let left_out = report.null + report.wrong_type + report.rejected;
        if left_out == 0 {
            return Ok(Exit::Done);
        }
        let first = report.first_rejection.map_or(String::new(), |rejection| {
            format!("; the first: row {}, {}", rejection.id, rejection.error)
        });
        writeln!(io::stderr(), "sessions: rows that can't be taken over: {left_out}{first}")?;
        Ok(Exit::Attention)
    }

    fn failure(&self, error: &ImportError) -> Failure {
        Failure::new(format!("{}: {}", self.file.display(), ErrorChain(error)))
    }
}

/// Every row of the ql table is in one of these but the first.
fn lines(report: &ImportReport, dry_run: bool) -> [(&'static str, u64); 8] {
    let imported = if dry_run { "would be imported" } else { "imported" };
    [
        ("rows", report.rows),
        (imported, report.imported),
        ("expired", report.expired),
        ("duplicates", report.duplicates),
        ("already present", report.already_present),
        ("with a NULL", report.null),
        ("of a wrong type", report.wrong_type),
        ("rejected", report.rejected),
    ]
}

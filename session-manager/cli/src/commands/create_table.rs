//! `sessions create-table`: creates what the store needs.

use std::io::Write;

use clap::Args;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::place::Place;
use crate::store_url::StoreUrl;

/// Create the tables that are missing, and for SQLite and redb the file
///
/// Those that are there are left as they are. A new SQLite file is in WAL mode; one that is there
/// keeps its journal mode.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sessions --store sqlite:app.db create-table
  sessions --store mysql://app@db.example/app create-table --dry-run > migration.sql")]
pub(crate) struct CreateTable {
    /// Print the DDL, and change nothing; the database isn't even looked at
    #[arg(long)]
    dry_run: bool,

    /// SQLite: with the index on expiry of the Go store, which costs each write as much as the
    /// table; for tables that a Go program cleans up
    #[arg(long)]
    expiry_index: bool,
}

impl CreateTable {
    pub(crate) fn run(&self, place: &Place, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (engine, url) = place.engine()?;
        let failed = |error| Failure::of_store(&error, &url);
        if self.expiry_index && !matches!(url, StoreUrl::Sqlite(_)) {
            return Err(Failure::usage(
                "--expiry-index is for SQLite: MySQL's table has the index, and redb needs none",
            ));
        }
        if self.dry_run {
            let ddl = engine.ddl(self.expiry_index).map_err(failed)?.ok_or_else(|| {
                Failure::new("redb has no DDL")
                    .with_next("`sessions create-table` without --dry-run creates its tables")
            })?;
            out.write_all(ddl.as_bytes())?;
        } else {
            engine.create(self.expiry_index).map_err(failed)?;
            writeln!(out, "{url}: table {:?} is there, with all that it needs", place.table)?;
        }
        Ok(Exit::Done)
    }
}

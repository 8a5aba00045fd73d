//! `sessions create-table`: creates what the store needs.

use std::io::Write;

use clap::Args;

use crate::Exit;
use crate::arguments::Place;
use crate::failure::Failure;
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
        let url = place.url()?;
        if self.expiry_index && !matches!(url, StoreUrl::Sqlite(_)) {
            return Err(Failure::usage(
                "--expiry-index is for SQLite: MySQL's table has the index, and redb needs none",
            ));
        }
        if self.dry_run {
            let ddl = self.ddl(place, &url)?;
            out.write_all(ddl.as_bytes())?;
        } else {
            self.create(place, &url)?;
            writeln!(out, "{url}: table {:?} is there, with all that it needs", place.table)?;
        }
        Ok(Exit::Done)
    }

    fn ddl(&self, place: &Place, url: &StoreUrl) -> Result<String, Failure> {
        let ddl = match url {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(_) => self.sqlite(place).ddl(),
            #[cfg(feature = "mysql")]
            StoreUrl::Mysql(_) => place.mysql().ddl(),
            #[cfg(feature = "ql")]
            StoreUrl::Ql(_) => {
                return Err(Failure::new("redb has no DDL")
                    .with_next("`sessions create-table` without --dry-run creates its tables"));
            }
            #[cfg(not(all(feature = "sqlite", feature = "mysql", feature = "ql")))]
            _ => return Err(Failure::not_built(url)),
        };
        ddl.map_err(|error| Failure::of_store(&error, url))
    }

    fn create(&self, place: &Place, url: &StoreUrl) -> Result<(), Failure> {
        let created = match url {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => self.sqlite(place).create_table_in(path),
            #[cfg(feature = "mysql")]
            StoreUrl::Mysql(url) => {
                let options = place.mysql();
                options.pool(url).and_then(|pool| options.create_table(&pool)).map(drop)
            }
            #[cfg(feature = "ql")]
            StoreUrl::Ql(path) => place.ql().open(path).map(drop),
            #[cfg(not(all(feature = "sqlite", feature = "mysql", feature = "ql")))]
            _ => return Err(Failure::not_built(url)),
        };
        created.map_err(|error| Failure::of_store(&error, url))
    }

    #[cfg(feature = "sqlite")]
    fn sqlite(&self, place: &Place) -> store_sqlite::SqliteOptions {
        let options = place.sqlite();
        if self.expiry_index { options.with_expiry_index() } else { options }
    }
}

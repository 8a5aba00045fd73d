//! `sessions backup`: a copy of the file of a store.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::engine::Access;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::place::Place;

/// Write a consistent copy of a store's file to a new file, while applications use it
///
/// Of SQLite the whole database, tables of the application included; nobody waits for it in WAL
/// mode. The file is there once it is complete, and its owner alone can read it. For MySQL there is
/// mysqldump --single-transaction.
#[derive(Args, Debug)]
#[command(after_help = "Example, in a crontab:
  0 4 * * *  sessions --store sqlite:/srv/app/app.db backup /srv/backup/app-$(date +\\%F).db")]
pub(crate) struct Backup {
    /// The new file; one that exists is left as it is
    file: PathBuf,
}

impl Backup {
    pub(crate) fn run(&self, place: &Place, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (opened, url) = place.open(Access::Read)?;
        let file = opened.file().ok_or_else(|| {
            Failure::new(format!("{url}: a server's tables are no file to copy"))
                .with_next("`mysqldump --single-transaction DATABASE sessions` writes them down")
        })?;
        file.backup(&self.file).map_err(|error| Failure::of_store(&error, &url))?;
        writeln!(out, "{url}: copied to {}", self.file.display())?;
        Ok(Exit::Done)
    }
}

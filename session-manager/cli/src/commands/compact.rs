//! `sessions compact`: gives back what is free in a store's file.

use std::io::Write;

use clap::Args;

use crate::engine::Access;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::bytes;
use crate::place::Place;

/// Give back to the file system what is free in a store's file
///
/// All writers wait while it runs, those of applications as well, and get an error if that is
/// longer than their timeouts: about a second for 300,000 sessions. It is seldom needed, since
/// pages of sessions that have ended are used again. For MySQL there is OPTIMIZE TABLE.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  sessions --store sqlite:app.db compact")]
pub(crate) struct Compact {}

impl Compact {
    #[expect(clippy::unused_self, reason = "as the other commands")]
    pub(crate) fn run(&self, place: &Place, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (opened, url) = place.open(Access::Write)?;
        let file = opened.file().ok_or_else(|| {
            Failure::new(format!("{url}: a server's tables are no file to compact"))
                .with_next("`OPTIMIZE TABLE sessions` does that in the server")
        })?;
        let given_back = file.compact().map_err(|error| Failure::of_store(&error, &url))?;
        writeln!(out, "{url}: {} given back", bytes(given_back))?;
        Ok(Exit::Done)
    }
}

//! `sessions sweep`: removes what has expired.

use std::io::Write;

use clap::Args;

use crate::engine::Access;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::place::Place;

/// Remove expired sessions now, for cron and timers
///
/// Applications do the same every five minutes, unless told otherwise. It works in small batches,
/// between which it gives way to requests, and any number of processes may sweep at once.
#[derive(Args, Debug)]
#[command(after_help = "Example, in a crontab:
  */10 * * * *  sessions --store sqlite:/srv/app/app.db sweep --quiet")]
pub(crate) struct Sweep {
    /// Don't say how many were removed
    #[arg(long)]
    quiet: bool,
}

impl Sweep {
    pub(crate) fn run(&self, place: &Place, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (opened, url) = place.open(Access::Write)?;
        let removed = opened.store().delete_expired();
        let removed = removed.map_err(|error| Failure::of_store(&error, &url))?;
        if !self.quiet {
            let sessions = if removed == 1 { "session" } else { "sessions" };
            writeln!(out, "{removed} expired {sessions} removed")?;
        }
        Ok(Exit::Done)
    }
}

//! `sessions copy`: takes the sessions of one store into another.

use std::io::{self, Write};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use store_core::{CopyError, CopyOptions, CopyReport, copy};

use crate::engine::Access;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::table;
use crate::place::Place;

/// Copy the sessions of one store to another, with their users and expiries
///
/// Sessions that the target has already are kept, so what was interrupted goes on where it was. The
/// application may use FROM meanwhile, and nothing may use TO: to take over a running application,
/// copy, stop the application, copy again with --mirror, and start it on TO. The tables of TO have
/// to be there: see `create-table`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sessions copy sqlite:app.db mysql://app@db.example/app
  sessions copy --mirror sqlite:app.db ql:sessions.redb")]
pub(crate) struct Copy {
    /// The store to read: a URL as for --store, which isn't looked at
    from: String,

    /// The store to write to
    to: String,

    /// Replace sessions of TO that differ, instead of keeping them
    #[arg(long)]
    replace: bool,

    /// Make TO the same as FROM: replace, and end what FROM doesn't have
    #[arg(long)]
    mirror: bool,

    /// Show no progress bar; without a terminal there is none
    #[arg(long)]
    quiet: bool,
}

impl Copy {
    pub(crate) fn run(&self, place: &Place, out: &mut dyn Write) -> Result<Exit, Failure> {
        let place_of =
            |url: &str| Place { store: Some(url.to_owned()), table: place.table.clone() };
        let (source, from) = place_of(&self.from).open(Access::Read)?;
        let (target, to) = place_of(&self.to).open(Access::Write)?;
        let mut options = CopyOptions::new();
        if self.replace {
            options = options.with_replacement();
        }
        if self.mirror {
            options = options.with_mirroring();
        }
        let bar = if self.quiet { ProgressBar::hidden() } else { bar()? };
        let options = options.with_progress_hook({
            let bar = bar.clone();
            move |report| {
                bar.set_length(report.total.max(report.visited()));
                bar.set_position(report.visited());
            }
        });
        let copied = copy(source.store(), target.store(), &options);
        bar.finish_and_clear();
        let report = copied.map_err(|error| match &error {
            CopyError::Source(error) => Failure::of_store(error, &from),
            CopyError::Target(error) => Failure::of_store(error, &to),
            error => Failure::new(error.to_string()),
        })?;
        let rows = lines(&report).map(|(what, n)| vec![what.to_owned(), n.to_string()]);
        out.write_all(table(&[], rows, &[1]).as_bytes())?;
        Ok(complain(&report)?)
    }
}

/// On a terminal, and else nothing.
fn bar() -> Result<ProgressBar, Failure> {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}, {eta} left");
    let style = style.map_err(|error| Failure::new(error.to_string()))?;
    Ok(ProgressBar::new(0).with_style(style))
}

fn complain(report: &CopyReport) -> io::Result<Exit> {
    let mut err = io::stderr();
    if report.differing > 0 {
        writeln!(
            err,
            "sessions: sessions that differ and were kept: {}; --replace replaces them",
            report.differing
        )?;
    }
    if let Some(first) = &report.first_rejection {
        writeln!(
            err,
            "sessions: sessions that the target can't hold: {}; the first: {first}",
            report.rejected
        )?;
    }
    Ok(if report.is_complete() { Exit::Done } else { Exit::Attention })
}

/// Every session of the source is in one of these but the last.
fn lines(report: &CopyReport) -> [(&'static str, u64); 7] {
    [
        ("copied", report.copied),
        ("unchanged", report.unchanged),
        ("replaced", report.replaced),
        ("differing", report.differing),
        ("ended meanwhile", report.gone),
        ("rejected", report.rejected),
        ("ended in the target", report.ended),
    ]
}

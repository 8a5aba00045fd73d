//! `sessions list`: which sessions there are.

use std::io::{self, Write};
use std::ops::ControlFlow;

use clap::Args;
use store_core::Record;

use crate::engine::{Access, OpenedStore};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::table;
use crate::place::Place;
use crate::store_url::StoreUrl;
use crate::subject::SubjectArguments;
use crate::summary::Summary;

/// How many rows of a table a person wants to look at.
const ROWS: u64 = 100;

/// List live sessions: id, subject, expiry and size, in no particular order
///
/// The id is the session's public name, which stays when its token changes: applications log it,
/// and `logout --id` takes it. What stands in the session's data is "unknown" if the application
/// has a codec of its own, or seals its sessions and --keys doesn't name the keys.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sessions --store sqlite:app.db list
  sessions --store sqlite:app.db list --subject 7
  sessions --store sqlite:app.db list --json | jq -r 'select(.bytes > 10000).id'")]
pub(crate) struct List {
    #[command(flatten)]
    subject: SubjectArguments,

    /// At most this many; otherwise a table has 100, and JSON all
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,

    /// One JSON object a line; what isn't known is null
    #[arg(long)]
    json: bool,
}

impl List {
    pub(crate) fn run(&self, place: &Place, out: &mut dyn Write) -> Result<Exit, Failure> {
        let limit = self.limit.unwrap_or(if self.json { u64::MAX } else { ROWS });
        let (subject, unsealer) = (self.subject.in_store()?, self.subject.unsealer()?);
        let (opened, url) = place.open(Access::Read)?;
        let mut rows = Vec::new();
        let (mut shown, mut is_cut) = (0, false);
        let mut outcome = Ok(());
        visit(&*opened, &url, subject.as_deref(), &mut |record| {
            is_cut = shown == limit;
            if is_cut {
                return ControlFlow::Break(());
            }
            shown += 1;
            let summary = Summary::read(record, &unsealer);
            if self.json {
                outcome = writeln!(out, "{}", summary.as_json());
            } else {
                rows.push(summary.as_row());
            }
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome?;
        if !rows.is_empty() {
            out.write_all(table(&Summary::HEADER, rows, &[4]).as_bytes())?;
        }
        let note = if is_cut {
            format!("{shown} sessions are shown, and there are more: --limit sets how many")
        } else if shown > 0 || self.json {
            return Ok(Exit::Done);
        } else if self.subject.name().is_some() {
            self.subject.not_found()
        } else {
            "there are no live sessions".to_owned()
        };
        writeln!(io::stderr(), "sessions: {note}")?;
        Ok(Exit::Done)
    }
}

/// Visits the live sessions of a subject, or all.
fn visit(
    opened: &dyn OpenedStore,
    url: &StoreUrl,
    subject: Option<&str>,
    visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<(), Failure> {
    let store = opened.store();
    let visited = match subject {
        None => store.for_each(visit),
        Some(subject) => store.find_by_subject(subject).map(|sessions| {
            for session in sessions {
                let record = Record::new(&session.token, &session.data, session.expiry);
                if visit(record).is_break() {
                    break;
                }
            }
        }),
    };
    visited.map_err(|error| Failure::of_store(&error, url))
}

//! `sessions stats`: how many sessions there are.

use std::io::Write;

use clap::Args;
use serde_json::json;
use store_core::StoreStatistics;

use crate::engine::Access;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{bytes, printable, table};
use crate::place::Place;

/// Count sessions: live, expired, their size, and the subjects that have the most
///
/// Subjects are shown as the store has them: those of the session manager begin with the name of
/// the session cookie.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sessions --store sqlite:app.db stats
  sessions --store sqlite:app.db stats --json --top 3
  sessions --store sqlite:app.db stats --prometheus > sessions.prom.new &&
      mv sessions.prom.new /var/lib/prometheus/node-exporter/sessions.prom")]
pub(crate) struct Stats {
    /// How many subjects to name
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    top: usize,

    /// One JSON object
    #[arg(long, conflicts_with = "prometheus")]
    json: bool,

    /// The text format of Prometheus, for the textfile collector; names no subjects
    #[arg(long)]
    prometheus: bool,
}

impl Stats {
    pub(crate) fn run(&self, place: &Place, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (opened, url) = place.open(Access::Read)?;
        let found = opened.statistics(self.top).map_err(|error| Failure::of_store(&error, &url))?;
        if self.json {
            writeln!(out, "{}", as_json(&found))?;
        } else if self.prometheus {
            out.write_all(as_prometheus(&found, &place.table).as_bytes())?;
        } else {
            out.write_all(as_text(&found).as_bytes())?;
        }
        Ok(Exit::Done)
    }
}

fn as_text(found: &StoreStatistics) -> String {
    let subjects = found.subjects.map_or("unknown: no index".to_owned(), |n| n.to_string());
    let totals = [
        ("live", found.live.to_string()),
        ("expired", found.expired.to_string()),
        ("data", bytes(found.bytes)),
        ("subjects", subjects),
    ];
    let mut text = table(&[], totals.map(|(what, how_many)| vec![what.to_owned(), how_many]), &[]);
    if !found.top_subjects.is_empty() {
        let top = found.top_subjects.iter();
        let rows = top.map(|(subject, sessions)| vec![printable(subject), sessions.to_string()]);
        text.push('\n');
        text += &table(&["SUBJECT", "SESSIONS"], rows, &[1]);
    }
    text
}

fn as_json(found: &StoreStatistics) -> serde_json::Value {
    let top: Vec<_> = found
        .top_subjects
        .iter()
        .map(|(subject, sessions)| json!({ "subject": subject, "sessions": sessions }))
        .collect();
    json!({
        "live": found.live,
        "expired": found.expired,
        "data_bytes": found.bytes,
        "subjects": found.subjects,
        "top_subjects": top,
    })
}

/// The form is that of <https://prometheus.io/docs/instrumenting/exposition_formats/>. A table's
/// name has nothing in it that would have to be escaped.
fn as_prometheus(found: &StoreStatistics, table: &str) -> String {
    let metrics = [
        ("sessions_live", "Sessions that are live.", Some(found.live)),
        ("sessions_expired", "Expired sessions that wait for the cleanup.", Some(found.expired)),
        ("sessions_data_bytes", "Size of the data of live sessions.", Some(found.bytes)),
        ("sessions_subjects", "Subjects that have live sessions.", found.subjects),
    ];
    metrics
        .into_iter()
        .filter_map(|(name, help, value)| {
            let value = value?;
            Some(format!(
                "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{{table=\"{table}\"}} {value}\n"
            ))
        })
        .collect()
}

//! `sessions check`: whether sessions can be kept in the table.

use std::io::{self, Write};

use chrono::{SecondsFormat, TimeDelta};
use clap::Args;
use store_core::Inspection;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::table;
use crate::place::Place;
use crate::store_url::StoreUrl;

/// From which difference on the clocks want attention: the stores report it, too.
const NOTABLE_OFFSET: TimeDelta = TimeDelta::seconds(1);

/// Look at the database, its table, limits and clock, without changing anything
///
/// Fails if no sessions can be kept in the table. Exits with 3 if an application works, but
/// without something: sessions of users can't be listed and ended without the index of subjects,
/// tokens have no grace after a renewal without the records of rotations, MySQL reads the whole
/// table for each cleanup without the index on expiry, and a server's clock that differs shifts
/// every expiry.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sessions --store mysql://app@db.example/app check")]
pub(crate) struct Check {}

impl Check {
    #[expect(clippy::unused_self, reason = "all commands run in the same way")]
    pub(crate) fn run(&self, place: &Place, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (engine, url) = place.engine()?;
        let found = engine.inspect().map_err(|error| Failure::of_store(&error, &url))?;
        let lines = lines(&found, place, &url).into_iter();
        let rows = lines.map(|(what, how)| vec![what.to_owned(), how]);
        out.write_all(table(&[], rows, &[]).as_bytes())?;
        let complaints = complaints(&found, &url);
        for complaint in &complaints {
            writeln!(io::stderr(), "sessions: {complaint}")?;
        }
        Ok(if complaints.is_empty() { Exit::Done } else { Exit::Attention })
    }
}

fn lines(found: &Inspection, place: &Place, url: &StoreUrl) -> Vec<(&'static str, String)> {
    let there = |is_there| if is_there { "there" } else { "missing" }.to_owned();
    // In SQLite it costs more than it is worth.
    let expiry_index = match (found.has_expiry_index, url) {
        (Some(true), _) => "there",
        (Some(false), StoreUrl::Mysql(_)) => "missing",
        (Some(false) | None, _) => "none, nor needed",
    };
    let limits = found.limits;
    vec![
        ("store", url.to_string()),
        ("engine", found.engine.clone()),
        ("table", format!("{}, suitable", place.table)),
        ("index on expiry", expiry_index.to_owned()),
        ("subjects", there(found.has_subjects)),
        ("rotations", there(found.has_rotations)),
        ("longest token", format!("{} bytes", limits.max_token_len)),
        ("largest data", format!("{} bytes", limits.max_data_len)),
        ("latest expiry", found.latest_expiry.to_rfc3339_opts(SecondsFormat::Millis, true)),
        ("clock", clock(found.clock_offset)),
    ]
}

fn clock(offset: Option<TimeDelta>) -> String {
    match offset {
        None => "this machine's".to_owned(),
        Some(offset) if offset < TimeDelta::zero() => {
            format!("the server's, {} ms behind this machine's", -offset.num_milliseconds())
        }
        Some(offset) => {
            format!("the server's, {} ms ahead of this machine's", offset.num_milliseconds())
        }
    }
}

fn complaints(found: &Inspection, url: &StoreUrl) -> Vec<String> {
    let mut complaints = Vec::new();
    let side_tables =
        [(found.has_subjects, "index of subjects"), (found.has_rotations, "records of rotations")];
    for (is_there, what) in side_tables {
        if !is_there {
            complaints.push(format!(
                "there is no table for the {what}: `sessions create-table` creates it"
            ));
        }
    }
    if matches!(url, StoreUrl::Mysql(_)) && found.has_expiry_index == Some(false) {
        complaints.push(
            "there is no index on expiry, so each cleanup reads the whole table: create one"
                .to_owned(),
        );
    }
    if found.clock_offset.is_some_and(|offset| offset.abs() > NOTABLE_OFFSET) {
        complaints.push(
            "the clocks differ by more than a second: set both by NTP, as expiries go by the server's"
                .to_owned(),
        );
    }
    complaints
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use store_core::Limits;

    use super::*;

    #[test]
    fn clocks_that_differ_are_told() {
        let url = StoreUrl::Mysql("mysql://app@one/db".to_owned());
        for (ms, shown, complains) in [
            (-1_001, "1001 ms behind", true),
            (-1_000, "1000 ms behind", false),
            (0, "0 ms ahead", false),
            (1_000, "1000 ms ahead", false),
            (1_001, "1001 ms ahead", true),
        ] {
            let mut found = Inspection::new("MySQL", Limits::DEFAULT, DateTime::<Utc>::MAX_UTC);
            found.clock_offset = Some(TimeDelta::milliseconds(ms));
            assert!(clock(found.clock_offset).contains(shown), "{ms}");
            assert_eq!(complaints(&found, &url).len(), usize::from(complains), "{ms}");
        }
    }
}

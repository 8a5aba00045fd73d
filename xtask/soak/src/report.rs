//! The table and the chart of the runs that were made last.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::chart;
use crate::overload::Flood;
use crate::samples::{self, Halves, QUANTITIES};
use crate::site::Tally;
use crate::{Result, say};

/// The stores, by the names of the demo's features, and how they are called.
const STORES: [(&str, &str); 3] = [("sqlite", "SQLite"), ("ql", "redb"), ("mysql", "MariaDB")];

/// The tables, each of which has a line for each store.
const VISITS: &str = "| store | minutes | answered | logins | logouts | tabs at once | new tokens | expired | dead \
     cookies tried | kills | server kills | unanswered | 503 | wrong |\n\
     |---|---|---|---|---|---|---|---|---|---|---|---|---|---|";
const LEVEL: &str =
    "| store | memory, MiB | threads | descriptors | files, MiB |\n|---|---|---|---|---|";
const FLOOD: &str = "| store | answered | longest | 503 | longest | visits/s before, flooded / spared | after | \
     threads | descriptors |\n|---|---|---|---|---|---|---|---|---|";

/// Keeps what a run has measured.
pub(crate) fn keep(
    store: &str,
    directory: &Path,
    time: Duration,
    tally: &Tally,
    halves: &[Halves; 4],
    flood: &Flood,
) -> Result {
    let name = STORES.iter().find(|(name, _)| *name == store).map_or(store, |(_, name)| name);
    let mut visits = format!("| {name} | {} |", time.as_secs() / 60);
    for counter in [
        &tally.answered,
        &tally.log_ins,
        &tally.log_outs,
        &tally.bursts,
        &tally.rotations,
        &tally.expiries,
        &tally.dead_cookies,
        &tally.kills,
        &tally.server_kills,
        &tally.unanswered,
        &tally.refused,
    ] {
        write!(visits, " {} |", thousands(Tally::get(counter)))?;
    }
    let mut level = format!("| {name} |");
    for (halves, quantity) in halves.iter().zip(&QUANTITIES) {
        let digits = usize::from(!quantity.unit.is_empty());
        write!(level, " {:.digits$} → {:.digits$} |", halves.first, halves.second)?;
    }
    let lines = format!("{visits} 0 |\n{level}\n| {name} | {flood} |\n");
    Ok(fs::write(directory.join(format!("{store}.md")), lines)?)
}

/// Writes the chart and prints the tables of all stores that have run.
pub(crate) fn write(directory: &Path, out: &Path) -> Result {
    let mut runs = Vec::new();
    let mut tables = [VISITS, LEVEL, FLOOD].map(str::to_owned);
    for (store, name) in STORES {
        let lines = directory.join(format!("{store}.md"));
        if !lines.exists() {
            continue;
        }
        let lines = fs::read_to_string(lines)?;
        let samples = samples::read(&directory.join(format!("{store}.csv")))?;
        runs.push((name.to_owned(), samples));
        for (table, line) in tables.iter_mut().zip(lines.lines()) {
            write!(table, "\n{line}")?;
        }
    }
    let svg = chart::draw(&runs).map_err(|error| error.to_string())?;
    fs::create_dir_all(out)?;
    let file = out.join("soak.svg");
    fs::write(&file, svg)?;
    say(&tables.join("\n\n"));
    say(&format!("the chart is {}", file.display()));
    Ok(())
}

/// 1234567 as 1,234,567.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

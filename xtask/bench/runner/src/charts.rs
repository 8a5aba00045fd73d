//! What the charts show.

mod svg;

use std::fs;
use std::path::Path;

use bench_protocol::{Durability, Operation, Result, Scenario};

use crate::plan::{Family, at};
use crate::results::Results;

/// A chart: its file, what it shows, and the reader's question that it answers.
pub(crate) struct Chart {
    pub(crate) file: String,
    pub(crate) title: String,
    question: &'static str,
    axis: &'static str,
    lines: Vec<Line>,
}

/// A contender, and its operations per second from left to right.
struct Line {
    contender: String,
    points: Vec<(f64, f64)>,
}

/// Draws the charts for which there are points.
pub(crate) fn draw(results: &Results, out: &Path) -> Result<Vec<Chart>> {
    let charts = Family::ALL.iter().flat_map(|&family| charts(results, family));
    let charts: Vec<_> = charts.filter(|chart| !chart.lines.is_empty()).collect();
    for chart in &charts {
        let svg = svg::draw(chart).map_err(|error| error.to_string())?;
        fs::write(out.join(&chart.file), svg)?;
    }
    Ok(charts)
}

fn charts(results: &Results, family: Family) -> [Chart; 4] {
    let name = family.title();
    let chart = |file: &str, title: &str, question, axis, lines| Chart {
        file: format!("{}-{file}.svg", name.to_lowercase()),
        title: format!("{name}: {title}"),
        question,
        axis,
        lines,
    };
    let by_threads = |file, title: &str, question, operation, durability| {
        let lines = lines(results, family, |scenario| {
            let shown = Scenario { durability, ..at(operation, scenario.threads) };
            (*scenario == shown).then_some(scenario.threads as u64)
        });
        chart(file, title, question, "threads", lines)
    };
    let by_rows = lines(results, family, |scenario| {
        let shown = Scenario { rows: scenario.rows, ..at(Operation::FindHit, 8) };
        (*scenario == shown).then_some(scenario.rows)
    });
    let (find, commit) = (Operation::FindHit, Operation::CommitUpdate);
    let (full, normal) = (Durability::Full, Durability::Normal);
    [
        by_threads(
            "find",
            "finds per second",
            "How many sessions can be looked up per second, and do more threads help?",
            find,
            full,
        ),
        by_threads(
            "commit-full",
            "durable commits per second",
            "How many sessions can be saved per second if each must survive a power failure?",
            commit,
            full,
        ),
        by_threads(
            "commit-normal",
            &format!("commits per second {}", family.normal()),
            "How many sessions can be saved per second if a power failure may undo the last ones?",
            commit,
            normal,
        ),
        chart(
            "find-rows",
            "finds per second with 8 threads",
            "Does a lookup get slower as the number of sessions grows?",
            "sessions in the table",
            by_rows,
        ),
    ]
}

/// The contenders of a family that have at least two points in a chart.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn lines(results: &Results, family: Family, x: impl Fn(&Scenario) -> Option<u64>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in results.rows.iter().filter(|row| Family::of(&row.contender) == family) {
        let Some(x) = x(&row.scenario) else { continue };
        let point = (x as f64, f64::from(row.figures.per_second));
        match lines.iter_mut().find(|line| line.contender == row.contender) {
            Some(line) => line.points.push(point),
            None => {
                lines.push(Line { contender: row.contender.clone(), points: vec![point] });
            }
        }
    }
    lines.retain(|line| line.points.len() > 1);
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    // The last is drawn on top.
    lines.sort_by_key(|line| line.contender.starts_with("store-"));
    lines
}

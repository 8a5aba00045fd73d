//! The charts.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use bench_protocol::{Durability, Operation, Result, Scenario};
use plotters::prelude::*;

use crate::plan::CENTRE;
use crate::results::Results;

/// A line for each contender: where on the horizontal axis, and how high.
type Lines = BTreeMap<String, Vec<(f64, f64)>>;

/// Draws the charts for which there are points; gives their files and titles.
pub(crate) fn draw(results: &Results, out: &Path) -> Result<Vec<(String, String)>> {
    let mut drawn = Vec::new();
    for (name, title, axis, lines) in [
        by_threads(results, "find", "Finds a second", Operation::FindHit, Durability::Full),
        by_threads(
            results,
            "commit-full",
            "Durable commits a second",
            Operation::CommitUpdate,
            Durability::Full,
        ),
        by_threads(
            results,
            "commit-normal",
            "Commits a second at NORMAL",
            Operation::CommitUpdate,
            Durability::Normal,
        ),
        lines(results, "find-rows", "Finds a second, 8 threads", "sessions", |scenario| {
            let centre = Scenario { threads: 8, rows: scenario.rows, ..CENTRE };
            (*scenario == centre).then_some(scenario.rows)
        }),
    ] {
        if lines.values().any(|line| line.len() > 1) {
            let file = format!("{name}.svg");
            chart(&out.join(&file), title, axis, &lines)?;
            drawn.push((file, title.to_owned()));
        }
    }
    Ok(drawn)
}

fn by_threads<'a>(
    results: &Results,
    name: &'a str,
    title: &'a str,
    operation: Operation,
    durability: Durability,
) -> (&'a str, &'a str, &'a str, Lines) {
    lines(results, name, title, "threads", |scenario| {
        let centre = Scenario { operation, durability, threads: scenario.threads, ..CENTRE };
        (*scenario == centre).then_some(scenario.threads as u64)
    })
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn lines<'a>(
    results: &Results,
    name: &'a str,
    title: &'a str,
    axis: &'a str,
    place: impl Fn(&Scenario) -> Option<u64>,
) -> (&'a str, &'a str, &'a str, Lines) {
    let mut lines = Lines::new();
    for outcome in &results.outcomes {
        if let Some(place) = place(&outcome.scenario) {
            let line = lines.entry(outcome.contender.clone()).or_default();
            line.push((place as f64, outcome.throughput()));
        }
    }
    for line in lines.values_mut() {
        line.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    (name, title, axis, lines)
}

/// Both axes are logarithmic: twice as fast is everywhere the same distance.
fn chart(path: &Path, title: &str, axis: &str, lines: &Lines) -> Result {
    let points = || lines.values().flatten();
    let bounds = |values: Vec<f64>| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        (least, values.into_iter().fold(0.0, f64::max))
    };
    let (left, right) = bounds(points().map(|point| point.0).collect());
    let (low, high) = bounds(points().map(|point| point.1).collect());
    let root = SVGBackend::new(path, (900, 480)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d((left..right).log_scale(), (low * 0.8..high * 1.25).log_scale())
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc(axis)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()
        .map_err(failed)?;
    for (number, (contender, line)) in lines.iter().enumerate() {
        let color = Palette99::pick(number).to_rgba();
        chart
            .draw_series(LineSeries::new(line.iter().copied(), color.stroke_width(2)).point_size(3))
            .map_err(failed)?
            .label(contender)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .position(SeriesLabelPosition::LowerRight)
        .draw()
        .map_err(failed)?;
    root.present().map_err(failed)?;
    Ok(())
}

/// The errors of the library aren't `Send`.
fn failed(error: impl Display) -> String {
    error.to_string()
}

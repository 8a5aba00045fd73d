//! The charts.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use bench_protocol::{Durability, Operation, Result, Scenario};
use plotters::prelude::*;

use crate::plan::{CENTRE, Family};
use crate::results::Results;

/// A line for each contender: where on the horizontal axis, and how high.
type Lines = BTreeMap<String, Vec<(f64, f64)>>;

/// What a chart shows.
struct Chart {
    file: String,
    title: String,
    axis: &'static str,
    lines: Lines,
}

/// Draws the charts for which there are points; gives their files and titles.
pub(crate) fn draw(results: &Results, out: &Path) -> Result<Vec<(String, String)>> {
    let mut charts: Vec<_> =
        Family::ALL.iter().flat_map(|&family| charts(results, family)).collect();
    charts.retain(|chart| chart.lines.values().any(|line| line.len() > 1));
    for chart in &charts {
        paint(&out.join(&chart.file), chart)?;
    }
    Ok(charts.into_iter().map(|chart| (chart.file, chart.title)).collect())
}

fn charts(results: &Results, family: Family) -> [Chart; 4] {
    let name = family.title();
    let chart = |file: &str, title: &str, axis, lines| Chart {
        file: format!("{}-{file}.svg", name.to_lowercase()),
        title: format!("{name}: {title}"),
        axis,
        lines,
    };
    let by_threads = |file, title: &str, operation, durability| {
        let lines = lines(results, family, |scenario| {
            let centre = Scenario { operation, durability, threads: scenario.threads, ..CENTRE };
            (*scenario == centre).then_some(scenario.threads as u64)
        });
        chart(file, title, "threads", lines)
    };
    let by_rows = lines(results, family, |scenario| {
        let centre = Scenario { threads: 8, rows: scenario.rows, ..CENTRE };
        (*scenario == centre).then_some(scenario.rows)
    });
    let commit = Operation::CommitUpdate;
    let normal = format!("commits a second, {}", family.normal());
    [
        by_threads("find", "finds a second", Operation::FindHit, Durability::Full),
        by_threads("commit-full", "durable commits a second", commit, Durability::Full),
        by_threads("commit-normal", &normal, commit, Durability::Normal),
        chart("find-rows", "finds a second, 8 threads", "sessions", by_rows),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn lines(results: &Results, family: Family, place: impl Fn(&Scenario) -> Option<u64>) -> Lines {
    let mut lines = Lines::new();
    for outcome in &results.outcomes {
        if let Some(place) = place(&outcome.scenario)
            && Family::of(&outcome.contender) == family
        {
            let line = lines.entry(outcome.contender.clone()).or_default();
            line.push((place as f64, outcome.throughput()));
        }
    }
    for line in lines.values_mut() {
        line.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

/// Both axes are logarithmic: twice as fast is everywhere the same distance.
fn paint(path: &Path, chart: &Chart) -> Result {
    let Chart { title, axis, lines, .. } = chart;
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
        .x_desc(*axis)
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

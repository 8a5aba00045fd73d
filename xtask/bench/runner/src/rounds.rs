//! Measures the points of the plan, one after the other. Every round measures each contender once,
//! A, B, B, A, so that a change in the machine's speed affects all of them.

use std::path::Path;

use bench_protocol::{Measurement, Order, Result};

use crate::plan::{Point, title};
use crate::programs::Programs;
use crate::results::{Figures, Row};
use crate::sessions::Database;

/// What was measured, and the points that weren't, because a contender failed there.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<Row>,
    pub(crate) failed: Vec<String>,
}

pub(crate) fn measure(
    points: &[Point],
    programs: &Programs,
    rounds: usize,
    scratch: &Path,
) -> Outcome {
    let mut outcome = Outcome::default();
    for (number, point) in points.iter().enumerate() {
        let name = title(&point.scenario);
        eprintln!("{}/{}: {name}", number + 1, points.len());
        match measure_point(point, programs, rounds, scratch) {
            Ok(rows) => outcome.rows.extend(rows),
            // The others took long, and aren't lost with it.
            Err(error) => {
                eprintln!("    error: {error}");
                outcome.failed.push(name);
            }
        }
    }
    outcome
}

fn measure_point(
    point: &Point,
    programs: &Programs,
    rounds: usize,
    scratch: &Path,
) -> Result<Vec<Row>> {
    let scenario = &point.scenario;
    let mut measurements = vec![Vec::new(); point.contenders.len()];
    for round in 0..rounds {
        let mut turns: Vec<_> = point.contenders.iter().zip(&mut measurements).collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for (&contender, measurements) in turns {
            let database = Database::open(scratch, programs, contender, scenario)?;
            let order = Order {
                contender: contender.to_owned(),
                scenario: scenario.clone(),
                path: database.path.clone(),
                warm_up_millis: point.warm_up_millis,
                millis: point.millis,
            };
            let (measured, growth) = database.watch(|| programs.measure(&order));
            let measurement = measured.map_err(|error| format!("{contender}: {error}"))?;
            measurements.push(Measurement { grown_bytes: growth, ..measurement });
        }
    }
    let rows = point.contenders.iter().zip(&measurements).map(|(&contender, measurements)| {
        let figures = Figures::summarize(measurements, programs.is_on_server(contender));
        eprintln!(
            "    {contender:32} {:>10}/s   p50 {:>8.1} µs   p99 {:>8.1} µs",
            figures.per_second, figures.p50_us, figures.p99_us,
        );
        Row { contender: contender.to_owned(), scenario: scenario.clone(), figures }
    });
    Ok(rows.collect())
}

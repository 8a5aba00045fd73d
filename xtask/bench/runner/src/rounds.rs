//! A, B, A, B: every round measures each contender once, so that a change of the machine's mood meets
//! all of them.

use std::path::Path;

use bench_protocol::{Order, Result};

use crate::plan::{Point, title};
use crate::programs::Programs;
use crate::results::Outcome;
use crate::sessions::Database;

pub(crate) fn take(
    points: &[Point],
    programs: &Programs,
    rounds: usize,
    scratch: &Path,
) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (number, point) in points.iter().enumerate() {
        let name = title(&point.scenario);
        eprintln!("{}/{}: {name}", number + 1, points.len());
        let mut of_point: Vec<_> = point
            .contenders
            .iter()
            .map(|&contender| Outcome {
                contender: contender.to_owned(),
                scenario: point.scenario.clone(),
                runs: Vec::new(),
            })
            .collect();
        for _ in 0..rounds {
            for outcome in &mut of_point {
                let contender = &outcome.contender;
                let database = Database::open(scratch, programs, contender, &point.scenario)?;
                let mut measurement = programs
                    .measure(&Order {
                        contender: contender.clone(),
                        scenario: point.scenario.clone(),
                        path: database.path.clone(),
                        millis: point.millis,
                    })
                    .map_err(|error| format!("{contender}: {name}: {error}"))?;
                measurement.grown_bytes = database.growth();
                outcome.runs.push(measurement);
            }
        }
        for outcome in of_point {
            eprintln!(
                "    {:32} {:>10.0}/s   p50 {:>8.1} µs   p99 {:>8.1} µs",
                outcome.contender,
                outcome.throughput(),
                outcome.median(|run| run.p50_us),
                outcome.median(|run| run.p99_us),
            );
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}

//! Measures the points of the plan, one after the other. Every round measures each contender once,
//! A, B, A, B, so that a change in the machine's speed affects all of them.

use std::path::Path;

use bench_protocol::{Order, Result};

use crate::plan::{Point, title};
use crate::programs::Programs;
use crate::results::{Figures, Row};
use crate::sessions::Database;

pub(crate) fn measure(
    points: &[Point],
    programs: &Programs,
    rounds: usize,
    scratch: &Path,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (number, point) in points.iter().enumerate() {
        let scenario = &point.scenario;
        let name = title(scenario);
        eprintln!("{}/{}: {name}", number + 1, points.len());
        let mut measurements = vec![Vec::new(); point.contenders.len()];
        for _ in 0..rounds {
            for (&contender, measurements) in point.contenders.iter().zip(&mut measurements) {
                let database = Database::open(scratch, programs, contender, scenario)?;
                let mut measurement = programs
                    .measure(&Order {
                        contender: contender.to_owned(),
                        scenario: scenario.clone(),
                        path: database.path.clone(),
                        millis: point.millis,
                    })
                    .map_err(|error| format!("{contender}: {name}: {error}"))?;
                measurement.grown_bytes = database.growth();
                measurements.push(measurement);
            }
        }
        for (&contender, measurements) in point.contenders.iter().zip(&measurements) {
            let figures = Figures::summarize(measurements, programs.is_on_server(contender));
            eprintln!(
                "    {contender:32} {:>10}/s   p50 {:>8.1} µs   p99 {:>8.1} µs",
                figures.per_second, figures.p50_us, figures.p99_us,
            );
            rows.push(Row { contender: contender.to_owned(), scenario: scenario.clone(), figures });
        }
    }
    Ok(rows)
}

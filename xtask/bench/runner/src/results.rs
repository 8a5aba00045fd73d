//! The results of a run, as they are committed: `results.csv` has a row for each contender at each
//! point of the plan, `run.json` says when and on what they were measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bench_protocol::{Entry, Measurement, Result, Scenario};
use csv::{ReaderBuilder, WriterBuilder};
use serde::{Deserialize, Serialize};

const TABLE: &str = "results.csv";
const RUN: &str = "run.json";

/// The columns of the table: the fields of a [`Row`], in their order.
const COLUMNS: [&str; 16] = [
    "contender",
    "operation",
    "threads",
    "rows",
    "data_len",
    "durability",
    "half_expired",
    "swept",
    "per_second",
    "rounds",
    "p50_us",
    "p99_us",
    "max_us",
    "memory_kib",
    "written_bytes",
    "growth_kib",
];

/// Everything that the report is made of.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) run: Run,
    pub(crate) rows: Vec<Row>,
}

/// When and on what it was measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) revision: String,
    pub(crate) compiler: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    /// The load average before the first measurement.
    pub(crate) load_before: f64,
    pub(crate) rounds: usize,
    /// The number of crates that an application depends on.
    pub(crate) crates: Option<u32>,
    /// Medians of the micro-benchmarks, in nanoseconds.
    pub(crate) micro_ns: BTreeMap<String, f64>,
    /// The database server and its settings.
    pub(crate) server: Option<String>,
    /// What wasn't measured, and why.
    pub(crate) absent: Vec<String>,
    pub(crate) contenders: Vec<Entry>,
}

/// What a contender did at one point of the plan.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) contender: String,
    pub(crate) scenario: Scenario,
    pub(crate) figures: Figures,
}

/// Medians over all rounds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) per_second: u32,
    /// Operations per second of each round.
    #[serde(with = "spaced")]
    pub(crate) rounds: Vec<u32>,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    /// The peak of resident memory above what the process had with the store open.
    pub(crate) memory_kib: u32,
    /// Bytes written to disk per operation. `None` for contenders on a server, whose files and
    /// writes aren't those of the process.
    pub(crate) written_bytes: Option<u32>,
    /// How much longer the database's files were meanwhile, at most, than at the start.
    pub(crate) growth_kib: Option<i32>,
}

impl Results {
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let run = serde_json::from_str(&fs::read_to_string(directory.join(RUN))?)?;
        let mut table = ReaderBuilder::new().from_path(directory.join(TABLE))?;
        // By position, because a row nests structs.
        let rows =
            table.records().map(|record| record?.deserialize(None)).collect::<csv::Result<_>>()?;
        Ok(Self { run, rows })
    }

    pub(crate) fn write(&self, directory: &Path) -> Result {
        fs::write(directory.join(RUN), serde_json::to_string_pretty(&self.run)? + "\n")?;
        let mut table = WriterBuilder::new().has_headers(false).from_path(directory.join(TABLE))?;
        table.write_record(COLUMNS)?;
        for row in &self.rows {
            table.serialize(row)?;
        }
        Ok(table.flush()?)
    }

    /// The throughput of the first contender, relative to the second one's: the median of the
    /// ratios of the rounds. The contenders of a point take turns, so that a machine that gets
    /// slower, or a disk, matters less than between their medians.
    pub(crate) fn ratio(&self, [ours, theirs]: [(&str, &Scenario); 2]) -> Option<f64> {
        let rounds = |(contender, scenario)| self.figures(contender, scenario).map(|it| &it.rounds);
        let pairs = rounds(ours)?.iter().zip(rounds(theirs)?);
        Some(median(pairs.map(|(&ours, &theirs)| f64::from(ours) / f64::from(theirs))))
    }

    pub(crate) fn figures(&self, contender: &str, scenario: &Scenario) -> Option<&Figures> {
        let mut rows = self.rows.iter();
        let row = rows.find(|row| row.contender == contender && row.scenario == *scenario);
        row.map(|row| &row.figures)
    }
}

impl Figures {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "the figures are far below 2^31 and, growth aside, positive"
    )]
    pub(crate) fn summarize(rounds: &[Measurement], is_on_server: bool) -> Self {
        let median = |figure: &dyn Fn(&Measurement) -> f64| median(rounds.iter().map(figure));
        let tenths = |figure: f64| (figure * 10.0).round() / 10.0;
        let whole = |figure: f64| figure.round() as u32;
        Self {
            per_second: whole(median(&Measurement::throughput)),
            rounds: rounds.iter().map(|round| whole(round.throughput())).collect(),
            p50_us: tenths(median(&|round| round.p50_us)),
            p99_us: tenths(median(&|round| round.p99_us)),
            max_us: tenths(median(&|round| round.max_us)),
            memory_kib: whole(median(&|round| {
                round.peak_kib.saturating_sub(round.idle_kib) as f64
            })),
            written_bytes: (!is_on_server)
                .then(|| whole(median(&|round| round.written_per_operation))),
            growth_kib: (!is_on_server)
                .then(|| (median(&|round| round.grown_bytes as f64) / 1024.0).round() as i32),
        }
    }
}

/// Of at least one.
fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

/// Several numbers in one field of the table, with spaces between them.
mod spaced {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(numbers: &[u32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(" "))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u32>, D::Error> {
        let text = String::deserialize(from)?;
        text.split(' ').map(|number| number.parse().map_err(Error::custom)).collect()
    }
}

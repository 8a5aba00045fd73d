//! The results, as they are kept in `results.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bench_protocol::{Entry, Measurement, Result, Scenario};
use serde::{Deserialize, Serialize};

/// Everything that the report is made of.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) setup: Setup,
    pub(crate) outcomes: Vec<Outcome>,
    /// Medians of the micro-benchmarks, in nanoseconds.
    pub(crate) micro: BTreeMap<String, f64>,
    /// The crates that an application depends on.
    pub(crate) crates: Option<u32>,
}

/// Where and with what it was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    pub(crate) compiler: String,
    pub(crate) revision: String,
    pub(crate) load_before: String,
    pub(crate) rounds: usize,
    pub(crate) contenders: Vec<Entry>,
    /// The server of those that have one: what it is, and its settings.
    #[serde(default)]
    pub(crate) server: Option<String>,
    /// Who takes no part, and why.
    #[serde(default)]
    pub(crate) absent: Vec<String>,
}

/// What a contender did at one point of the plan.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) contender: String,
    pub(crate) scenario: Scenario,
    /// One for each round.
    pub(crate) runs: Vec<Measurement>,
}

impl Outcome {
    /// The median of a figure over the rounds.
    pub(crate) fn median(&self, figure: impl Fn(&Measurement) -> f64) -> f64 {
        let figures = self.sorted(figure);
        match figures.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => figures[odd / 2],
            even => f64::midpoint(figures[even / 2 - 1], figures[even / 2]),
        }
    }

    /// The least and the most of a figure.
    pub(crate) fn spread(&self, figure: impl Fn(&Measurement) -> f64) -> (f64, f64) {
        let figures = self.sorted(figure);
        (figures.first().copied().unwrap_or(f64::NAN), figures.last().copied().unwrap_or(f64::NAN))
    }

    /// Operations a second.
    pub(crate) fn throughput(&self) -> f64 {
        self.median(Measurement::throughput)
    }

    fn sorted(&self, figure: impl Fn(&Measurement) -> f64) -> Vec<f64> {
        let mut figures: Vec<_> = self.runs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures
    }
}

impl Results {
    pub(crate) fn outcome(&self, contender: &str, scenario: &Scenario) -> Option<&Outcome> {
        self.outcomes
            .iter()
            .find(|outcome| outcome.contender == contender && outcome.scenario == *scenario)
    }
}

/// Reads criterion's results: `group/name/new/estimates.json`.
pub(crate) fn micro(directory: &Path) -> Result<BTreeMap<String, f64>> {
    let mut medians = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let estimates = entry.path().join("new/estimates.json");
        if estimates.exists() {
            let estimates: serde_json::Value =
                serde_json::from_str(&fs::read_to_string(estimates)?)?;
            let median = estimates["median"]["point_estimate"].as_f64().unwrap_or(f64::NAN);
            medians.insert(entry.file_name().to_string_lossy().into_owned(), median);
        }
    }
    Ok(medians)
}

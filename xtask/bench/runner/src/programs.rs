//! The programs with contenders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bench_protocol::{Entry, Measurement, Order, Result};

/// The contenders, and the program of each.
pub(crate) struct Programs {
    contenders: BTreeMap<String, (PathBuf, Entry)>,
}

impl Programs {
    /// Asks the programs for their contenders.
    pub(crate) fn list(programs: &[PathBuf]) -> Result<Self> {
        let mut contenders = BTreeMap::new();
        for program in programs {
            let entries: Vec<Entry> = serde_json::from_slice(&run(program, &["list"])?)?;
            for entry in entries {
                contenders.insert(entry.name.clone(), (program.clone(), entry));
            }
        }
        Ok(Self { contenders })
    }

    pub(crate) fn has(&self, contender: &str) -> bool {
        self.contenders.contains_key(contender)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.contenders.values().map(|(_, entry)| entry)
    }

    /// The format of a contender's database.
    pub(crate) fn format(&self, contender: &str) -> &str {
        self.contenders.get(contender).map_or("", |(_, entry)| &entry.format)
    }

    /// Whether a contender's databases are on a server.
    pub(crate) fn is_on_server(&self, contender: &str) -> bool {
        self.contenders.get(contender).is_some_and(|(_, entry)| entry.is_on_server)
    }

    /// Fills a database, by the first program that can for this format.
    pub(crate) fn fill(&self, order: &Order) -> Result {
        let format = self.format(&order.contender);
        let mut problem = format!("no program fills {format}").into();
        for (program, entry) in self.contenders.values() {
            if entry.format == format {
                let order = Order { contender: entry.name.clone(), ..order.clone() };
                match run(program, &["fill", &serde_json::to_string(&order)?]) {
                    Ok(_) => return Ok(()),
                    // The Go program can't.
                    Err(error) => problem = error,
                }
            }
        }
        Err(problem)
    }

    /// Carries out an order in a process of its own.
    pub(crate) fn measure(&self, order: &Order) -> Result<Measurement> {
        let (program, _) = self.contenders.get(&order.contender).ok_or("no such contender")?;
        Ok(serde_json::from_slice(&run(program, &["measure", &serde_json::to_string(order)?])?)?)
    }
}

/// The medians of the micro-benchmarks, in nanoseconds.
pub(crate) fn micro(program: &Path) -> Result<BTreeMap<String, f64>> {
    Ok(serde_json::from_slice(&run(program, &[])?)?)
}

fn run(program: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr)).into())
    }
}

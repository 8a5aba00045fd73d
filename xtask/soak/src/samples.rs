//! What a process and its database use, again and again, and whether it stays level.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::process::Usage;

/// One line of a run's table of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// Since the run's start.
    pub(crate) seconds: f64,
    /// How often the process was started; only the last one is judged.
    pub(crate) life: u64,
    /// Of each quantity.
    pub(crate) values: [f64; 4],
}

impl Sample {
    /// What a process uses, and how many bytes the database has.
    pub(crate) fn new(seconds: f64, life: u64, usage: Usage, size: u64) -> Self {
        let Usage { memory, threads, descriptors } = usage;
        let (memory, files) = (float(memory) / 1024.0, float(size) / 1024.0 / 1024.0);
        Self { seconds, life, values: [memory, float(threads), float(descriptors), files] }
    }
}

/// What is sampled, and by how much it may grow.
pub(crate) struct Quantity {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// A part of the first half's median.
    relative: f64,
    /// In the quantity's unit.
    absolute: f64,
}

pub(crate) const QUANTITIES: [Quantity; 4] = [
    Quantity { name: "memory", unit: "MiB", relative: 0.05, absolute: 1.0 },
    Quantity { name: "threads", unit: "", relative: 0.0, absolute: 2.0 },
    Quantity { name: "descriptors", unit: "", relative: 0.0, absolute: 2.0 },
    Quantity { name: "files", unit: "MiB", relative: 0.05, absolute: 0.5 },
];

const HEADER: &str = "seconds,life,memory_mib,threads,descriptors,files_mib";

/// The medians of a quantity in the two halves of what is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Halves {
    pub(crate) first: f64,
    pub(crate) second: f64,
}

/// The medians of each quantity, over the last life of the process without its first quarter, in
/// which the sessions become as many as they stay.
pub(crate) fn halves(samples: &[Sample]) -> Option<[Halves; 4]> {
    let life = samples.last()?.life;
    let samples: Vec<_> = samples.iter().filter(|sample| sample.life == life).collect();
    let judged = &samples[samples.len() / 4..];
    let (first, second) = judged.split_at(judged.len() / 2);
    if first.is_empty() {
        return None;
    }
    Some([0, 1, 2, 3].map(|quantity| {
        let median = |half: &[&Sample]| {
            let mut values: Vec<_> = half.iter().map(|sample| sample.values[quantity]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Halves { first: median(first), second: median(second) }
    }))
}

/// Fails if the second half's median of a quantity is larger than the first one's by more than is
/// allowed.
pub(crate) fn check_level(halves: &[Halves; 4]) -> Result {
    for (quantity, halves) in QUANTITIES.iter().zip(halves) {
        let allowed = halves.first * quantity.relative + quantity.absolute;
        if halves.second > halves.first + allowed {
            let Quantity { name, unit, .. } = quantity;
            return Err(format!(
                "{name} grew from {:.1} to {:.1} {unit}, and may grow by {allowed:.1}",
                halves.first, halves.second
            )
            .into());
        }
    }
    Ok(())
}

pub(crate) fn write(path: &Path, samples: &[Sample]) -> Result {
    let mut table = format!("{HEADER}\n");
    for Sample { seconds, life, values: [memory, threads, descriptors, files] } in samples {
        writeln!(table, "{seconds:.1},{life},{memory:.2},{threads},{descriptors},{files:.2}")?;
    }
    Ok(fs::write(path, table)?)
}

pub(crate) fn read(path: &Path) -> Result<Vec<Sample>> {
    let table = fs::read_to_string(path)?;
    let line = |line: &str| -> Result<Sample> {
        let numbers = line.split(',').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let [seconds, life, values @ ..] = &*numbers else { return Err("a short line".into()) };
        // Lives are counted, and far fewer than a float can hold.
        let life = format!("{life:.0}").parse()?;
        Ok(Sample { seconds: *seconds, life, values: values.try_into()? })
    };
    table.lines().skip(1).map(line).collect()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sample a second, with some noise.
    fn run(per_second: [f64; 4]) -> Vec<Sample> {
        let sample = |second: u32| {
            let seconds = f64::from(second);
            let noise = f64::from(second * 7 % 5) / 5.0;
            let start = [12.0, 30.0, 60.0, 3.0];
            let value = |quantity: usize| start[quantity] + per_second[quantity] * seconds + noise;
            Sample { seconds, life: 1, values: [0, 1, 2, 3].map(value) }
        };
        (0..600).map(sample).collect()
    }

    #[test]
    fn what_stays_level_is_level() {
        check_level(&halves(&run([0.0; 4])).expect("samples")).expect("level");
    }

    #[test]
    fn each_leak_is_found() {
        // 2 MiB in the memory's median: of 300 requests a second 30 bytes each.
        for (quantity, name) in ["memory", "threads", "descriptors", "files"].iter().enumerate() {
            let mut leak = [0.0; 4];
            leak[quantity] = [0.009, 0.015, 0.015, 0.005][quantity];
            let judged = check_level(&halves(&run(leak)).expect("samples"));
            assert!(judged.is_err_and(|error| error.to_string().starts_with(name)));
        }
    }

    #[test]
    fn life_that_ended_is_not_judged() {
        let mut samples = run([0.0; 4]);
        for sample in &mut samples[..200] {
            *sample = Sample { life: 0, values: [0.0; 4], ..*sample };
        }
        check_level(&halves(&samples).expect("samples")).expect("level");
    }
}

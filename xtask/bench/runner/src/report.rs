//! The report in Markdown.

use std::fmt::Write;

use bench_protocol::{Measurement, Operation};

use crate::plan::{Family, title};
use crate::results::{Outcome, Results, Setup};
use crate::targets;

/// The table of the targets.
pub(crate) fn targets(results: &Results) -> String {
    let mut table = "| what | target | measured | |\n|---|---|---|---|\n".to_owned();
    for target in targets::all() {
        let (measured, word) = match target.verdict(results) {
            Some(verdict) if verdict.is_met => (verdict.measured, "met"),
            Some(verdict) => (verdict.measured, "**missed**"),
            None => (String::new(), "not measured"),
        };
        line(
            &mut table,
            &format!("| {} | {} | {measured} | {word} |", target.what, target.bound()),
        );
    }
    table
}

/// The whole report.
pub(crate) fn markdown(results: &Results, charts: &[(String, String)]) -> String {
    let setup = &results.setup;
    let mut text = "# Benchmarks\n\nWritten by `cargo xtask bench`, which repeats all of this; `--help` has its options. \
        Ratios mean something on other machines, figures don't.\n\n## Targets\nMedians of one run; in parentheses, \
        the two figures.\n\n"
        .to_owned();
    text += &targets(results);

    text += "\n## Charts\n";
    for (file, title) in charts {
        line(&mut text, &format!("![{title}]({file})\n"));
    }

    text += "## Machine and settings\n";
    line(
        &mut text,
        &format!(
            "{}, {} cores, {} GiB of memory; Linux {}; {}; {}. Revision {}. The load of the machine was {} at the \
             beginning. {} rounds, each contender once a round, in a process of its own.\n",
            setup.processor,
            setup.cores,
            setup.memory_gib,
            setup.kernel,
            setup.file_system,
            setup.compiler,
            setup.revision,
            setup.load_before,
            setup.rounds,
        ),
    );
    if is_busy(setup) {
        text += "**Other programs were running.** Latencies, and commits that wait for the disk, mean little here.\n\n";
    }
    for absent in &setup.absent {
        line(&mut text, &format!("**{absent}**\n"));
    }
    if let Some(server) = &setup.server {
        line(&mut text, &format!("The server: {server}\n"));
    }
    text += "| contender | version | engine | settings |\n|---|---|---|---|\n";
    for entry in &setup.contenders {
        line(
            &mut text,
            &format!(
                "| {} | {} | {} | {} |",
                entry.name, entry.version, entry.engine, entry.settings
            ),
        );
    }

    text += "\n## Everything that was measured\nMedians, in parentheses the least and the most of all rounds. Memory is \
        what came on top of the open store; written is what the system was given to write to disk, for each \
        operation; growth is that of all files of the database. What a server takes and writes isn't counted.\n";
    let mut outcomes: Vec<_> = results.outcomes.iter().collect();
    let section = |outcome: &Outcome| (Family::of(&outcome.contender), outcome.scenario.operation);
    outcomes.sort_by_key(|outcome| section(outcome));
    let mut last = None;
    for outcome in outcomes {
        let section = section(outcome);
        if last != Some(section) {
            last = Some(section);
            heading(&mut text, section.0, section.1);
        }
        text += &row(outcome);
    }
    if !results.micro.is_empty() {
        text += "\n### Micro-benchmarks\n| what | ns |\n|---|---|\n";
        for (name, nanoseconds) in &results.micro {
            line(&mut text, &format!("| {name} | {nanoseconds:.1} |"));
        }
    }
    text
}

/// Whether the machine had something else to do.
fn is_busy(setup: &Setup) -> bool {
    setup.load_before.parse::<f64>().is_ok_and(|load| load > 0.5)
}

fn heading(text: &mut String, family: Family, operation: Operation) {
    let name = serde_json::to_string(&operation).unwrap_or_default();
    line(text, &format!("\n### {}: {}", family.title(), name.trim_matches('"')));
    *text += "| point | contender | operations a second | p50 µs | p99 µs | memory MiB | written B | growth MiB |\n\
        |---|---|---|---|---|---|---|---|\n";
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn row(outcome: &Outcome) -> String {
    let (least, most) = outcome.spread(Measurement::throughput);
    let mib = |kib: f64| kib / 1024.0;
    let (written, growth) = if Family::of(&outcome.contender) == Family::Mysql {
        ("–".to_owned(), "–".to_owned())
    } else {
        let growth = mib(outcome.median(|run| run.grown_bytes as f64) / 1024.0);
        let written = outcome.median(|run| run.written_per_operation);
        (format!("{written:.0}"), format!("{growth:.1}"))
    };
    format!(
        "| {} | {} | {:.0} ({least:.0} – {most:.0}) | {:.1} | {:.1} | {:.1} | {written} | {growth} |\n",
        title(&outcome.scenario),
        outcome.contender,
        outcome.throughput(),
        outcome.median(|run| run.p50_us),
        outcome.median(|run| run.p99_us),
        mib(outcome.median(|run| run.peak_kib.saturating_sub(run.idle_kib) as f64)),
    )
}

fn line(text: &mut String, line: &str) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "{line}");
}

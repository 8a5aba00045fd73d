//! Measures the points of the plan, evaluates the targets and writes results, report and charts.
//! `cargo xtask bench` builds the programs and calls this.

mod charts;

mod machine;

mod plan;

mod programs;

mod report;

mod results;

mod rounds;

mod sessions;

mod targets;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use bench_protocol::Result;

use crate::plan::Extent;
use crate::programs::Programs;
use crate::results::{Results, Run};
use crate::rounds::Outcome;

mod flags {
    #![allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "the macro's expansion")]

    use std::path::PathBuf;

    xflags::xflags! {
        /// Runs the benchmark.
        cmd bench {
            /// Writes report and charts from the results that are there.
            cmd redraw {
                /// Where the results are.
                required --out directory: PathBuf
            }
            /// Measures, and writes results, report and charts.
            cmd measure {
                /// One short round, to see that everything works.
                optional --quick
                /// More points, more rounds: three quarters of an hour.
                optional --full
                /// Only points with all of these parts in their names, separated by commas, as
                /// `store-sqlite,commit_update threads=8`.
                optional --only filter: String
                /// How often each point is measured.
                optional --rounds rounds: usize
                /// A program with contenders; may be repeated.
                repeated --program program: PathBuf
                /// The program with the micro-benchmarks, if they are to be measured.
                optional --micro program: PathBuf
                /// The database server and its settings.
                optional --server description: String
                /// Which contenders are missing, and why; may be repeated.
                repeated --absent reason: String
                /// How many crates an application depends on, rouille's own aside.
                optional --crates crates: u32
                /// Where the databases are made.
                required --scratch directory: PathBuf
                /// Where results, report and charts go.
                required --out directory: PathBuf
            }
        }
    }
}

fn main() -> ExitCode {
    let run = match flags::Bench::from_env_or_exit().subcommand {
        flags::BenchCmd::Redraw(flags) => redraw(&flags.out),
        flags::BenchCmd::Measure(flags) => measure(flags),
    };
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(flags: flags::Measure) -> Result {
    let extent = match (flags.quick, flags.full) {
        (true, _) => Extent::Quick,
        (_, true) => Extent::Full,
        _ => Extent::Usual,
    };
    let programs = Programs::list(&flags.program)?;
    let points = plan::points(extent, &programs, &flags.only.unwrap_or_default());
    let rounds = flags.rounds.unwrap_or(extent.rounds()).max(1);

    let scratch = flags.scratch.join("bench-scratch");
    fs::create_dir_all(&scratch)?;
    let run = Run {
        rounds,
        crates: flags.crates,
        server: flags.server,
        absent: flags.absent,
        contenders: programs.entries().cloned().collect(),
        ..machine::describe(&scratch)?
    };
    let micro_ns = flags.micro.map(|program| programs::micro(&program)).transpose()?;
    let Outcome { rows, failed } = rounds::measure(&points, &programs, rounds, &scratch);
    fs::remove_dir_all(&scratch)?;

    fs::create_dir_all(&flags.out)?;
    let failures = failed.iter().map(|point| format!("A contender failed: {point}."));
    let absent = run.absent.iter().cloned().chain(failures).collect();
    let run = Run { micro_ns: micro_ns.unwrap_or_default(), absent, ..run };
    Results { run, rows }.write(&flags.out)?;
    redraw(&flags.out)?;
    if failed.is_empty() { Ok(()) } else { Err("not everything was measured".into()) }
}

/// Reads the results, so that what was just measured and what was measured long ago are shown
/// alike.
fn redraw(out: &Path) -> Result {
    let results = Results::read(out)?;
    let charts = charts::draw(&results, out)?;
    let report = out.join("README.md");
    fs::write(&report, report::markdown(&results, &charts))?;
    println!("{}", report::targets(&results));
    println!("Report and charts are in {}", report.display());
    Ok(())
}

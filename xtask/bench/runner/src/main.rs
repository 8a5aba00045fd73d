//! Runs the plan of the benchmark, evaluates its targets and writes its report. `cargo xtask bench`
//! builds the programs and calls this.

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
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bench_protocol::Result;

use crate::plan::Extent;
use crate::programs::Programs;
use crate::results::{Results, Setup};

mod flags {
    #![allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "the macro's expansion")]

    use std::path::PathBuf;

    xflags::xflags! {
        /// Runs the plan of the benchmark.
        cmd bench {
            /// One short round: to see that everything works.
            optional --quick
            /// More points, more rounds: three quarters of an hour.
            optional --full
            /// Only points whose name contains this, as `find_hit` or `store-sqlite,commit_update
            /// threads=8`: parts are separated by commas, and all of them must be there.
            optional --only filter: String
            /// How often each point is measured.
            optional --rounds rounds: usize
            /// A program with contenders; may be repeated.
            repeated --program program: PathBuf
            /// What server the contenders have that need one, and its settings.
            optional --server description: String
            /// Who takes no part, and why; may be repeated.
            repeated --absent reason: String
            /// Where criterion keeps its results.
            optional --micro directory: PathBuf
            /// How many crates an application depends on, rouille's own aside.
            optional --crates crates: u32
            /// Where the databases are made.
            required --scratch directory: PathBuf
            /// Where results, report and charts go.
            required --out directory: PathBuf
            /// Makes the report from the results that are there.
            optional --report-only
        }
    }
}

fn main() -> ExitCode {
    match run(flags::Bench::from_env_or_exit()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: flags::Bench) -> Result {
    let file = flags.out.join("results.json");
    let results = if flags.report_only {
        serde_json::from_str(&fs::read_to_string(&file)?)?
    } else {
        let results = take(flags)?;
        fs::write(&file, serde_json::to_string_pretty(&results)? + "\n")?;
        results
    };
    report(&results, file.parent().unwrap_or(Path::new(".")))
}

fn take(flags: flags::Bench) -> Result<Results> {
    fs::create_dir_all(&flags.out)?;
    let extent = match (flags.quick, flags.full) {
        (true, _) => Extent::Quick,
        (_, true) => Extent::Full,
        _ => Extent::Usual,
    };
    let programs = Programs::list(&flags.program)?;
    let filter = flags.only.unwrap_or_default();
    let points = plan::points(extent, &programs, &filter);
    let rounds = flags.rounds.unwrap_or(extent.rounds());

    let scratch: PathBuf = flags.scratch.join("bench-scratch");
    fs::create_dir_all(&scratch)?;
    let setup = machine::setup(&scratch, &programs, rounds)?;
    let setup = Setup { server: flags.server, absent: flags.absent, ..setup };
    let outcomes = rounds::take(&points, &programs, rounds, &scratch);
    fs::remove_dir_all(&scratch)?;
    let micro = flags.micro.map(|directory| results::micro(&directory)).transpose()?;
    Ok(Results {
        setup,
        outcomes: outcomes?,
        micro: micro.unwrap_or_default(),
        crates: flags.crates,
    })
}

fn report(results: &Results, out: &Path) -> Result {
    let charts = charts::draw(results, out)?;
    let report = report::markdown(results, &charts);
    fs::write(out.join("README.md"), &report)?;
    println!("{}", report::targets(results));
    println!("The rest is in {}", out.join("README.md").display());
    Ok(())
}

//! `cargo xtask`: what people and CI run. `cargo xtask --help` lists the tasks.

mod bench;

mod browser;

mod crates;

mod demo;

mod fuzz;

mod interop;

mod miri;

mod mutants;

mod mysql;

mod packages;

mod platforms;

mod schedules;

mod serving_program;

mod soak;

mod supply_chain;

mod test_all;

mod tidb;

mod tidy;

mod torture;

mod vitess;

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use xshell::{Shell, cmd};

/// What a task fails with: the message is for a person at a terminal.
pub(crate) type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

mod flags {
    #![allow(missing_docs, unreachable_pub, reason = "the macro's expansion has neither")]

    use std::path::PathBuf;

    xflags::xflags! {
        cmd xtask {
            /// All checks that a change has to pass: format, lints, docs, examples, tests.
            cmd test-all {}
            /// Serves a small application to click through, on real sessions.
            cmd demo {
                /// Which store keeps the sessions: sqlite (default), mysql or ql.
                optional --store store: String
                /// Where to listen, 127.0.0.1:4000 by default.
                optional --addr addr: String
                /// The database file, target/demo/demo.db or demo.redb by default.
                optional --path path: PathBuf
                /// With figures of the store for Prometheus, at /metrics, for this machine alone.
                optional --metrics
            }
            /// Checks in Chromium what only a browser can show, on the demo.
            cmd browser {
                /// Only saves a picture of the demo here, as PNG, in a window 1,200 pixels wide.
                optional --screenshot screenshot: PathBuf
            }
            /// Runs ours and Go's side by side on one database. It needs a Go toolchain.
            cmd interop {}
            /// Runs the tests that need a server on one, which it gets if it is missing.
            cmd test-mysql {
                /// Which: mariadb (default), mariadb-10.5, mariadb-11.8, mysql, mysql-5.7 or
                /// mysql-8.0.
                optional --server server: String
            }
            /// Runs the tests that need a cluster on one of MariaDB, which it gets if it is
            /// missing.
            cmd test-galera {}
            /// Runs the tests that need a proxy on a cluster of MariaDB behind HAProxy, both of
            /// which it gets if they are missing.
            cmd test-proxies {}
            /// Runs the tests that need a server on TiDB, which it builds if it is missing. It
            /// needs a Go toolchain.
            cmd test-tidb {}
            /// Runs the tests that need a server on Vitess over MySQL, which it builds and gets if
            /// they are missing. It needs a Go toolchain.
            cmd test-vitess {}
            /// Makes the packages, and checks what an application gets that depends on them.
            cmd test-packages {}
            /// Checks that the libraries compile for Windows, macOS and FreeBSD, whose targets it
            /// gets.
            cmd test-platforms {}
            /// Builds the demo as a static binary, whose target it gets, and runs it in an empty
            /// directory.
            cmd test-static {}
            /// Measures the stores, the drivers under them and their peers, for some minutes.
            cmd bench {
                /// One short round, to see that everything works; the report goes to
                /// target/bench/report.
                optional --quick
                /// More points and rounds: three quarters of an hour.
                optional --full
                /// Writes report and charts again from the results that are there, without
                /// measuring.
                optional --redraw
                /// Only points with all of these parts in their names, separated by commas, as
                /// `store-sqlite,find_hit threads=8`; the report goes to target/bench/report.
                optional --only filter: String
                /// How often each point is measured.
                optional --rounds rounds: usize
                /// Where the databases are made: on the disk that is to be measured. Default:
                /// target/bench.
                optional --scratch directory: PathBuf
                /// Where results, report and charts go. Default: docs/benchmarks.
                optional --out directory: PathBuf
            }
            /// Kills processes at work on the stores, takes their power away, and looks for what is
            /// lost.
            cmd torture {
                /// How long each is done to each store; 3 by default. The long form is 300; from 60
                /// on it has also damaged files and, as root, volumes that run full.
                optional --seconds seconds: u64
                /// Which store alone: sqlite, ql or mysql.
                optional --store store: String
                /// The seed of an earlier run, to repeat its operations and moments.
                optional --seed seed: u64
                /// Where databases are made, in memory by default.
                optional --scratch directory: PathBuf
            }
            /// Tries models of the threads under a great many schedules.
            cmd schedules {
                /// How many schedules of each model, 500 by default. The long form is 1000000.
                optional --iterations iterations: usize
                /// Only models with this in their names.
                optional --model model: String
                /// The seed of an earlier run, to repeat all of its schedules.
                optional --seed seed: u64
                /// The schedule that a failed model has printed, to repeat it alone.
                optional --replay schedule: String
            }
            /// Runs tests in Miri, which finds undefined behaviour and data races, for some
            /// minutes. It needs a nightly toolchain, which rustup gets if it is missing.
            cmd miri {}
            /// Loads the demo, kills it and its server, floods it, and checks what visitors get.
            cmd soak {
                /// How long each store is loaded. Without it some seconds, in which nothing is
                /// measured; the long form is 10.
                optional --minutes minutes: u64
                /// Which store alone: sqlite, ql or mysql.
                optional --store store: String
                /// The seed of an earlier run, to repeat what visitors do and when processes are
                /// killed.
                optional --seed seed: u64
                /// Where databases and samples are kept, target/soak by default.
                optional --scratch directory: PathBuf
                /// Where the chart goes, target/soak by default.
                optional --out directory: PathBuf
            }
            /// Feeds everything that reads what comes from outside with inputs that nobody would
            /// send.
            cmd fuzz {
                /// How long each target is fed; 60 by default.
                optional --seconds seconds: u64
                /// Which target alone, as `cookies`.
                optional --target target: String
                /// The seed of an earlier run, to repeat its inputs.
                optional --seed seed: u64
                /// A file, to feed the target with it alone.
                optional --input input: PathBuf
            }
            /// Checks licences, sources and known vulnerabilities of dependencies, and the bounds
            /// of their versions. It gets cargo-deny and the oldest Rust.
            cmd supply-chain {}
            /// Changes the code in one place after the other, and looks whether the tests notice.
            /// It takes hours.
            cmd mutants {
                /// Whose code alone: store-core or session-manager.
                optional --package package: String
                /// Only files that match, as store-core/src/memory/**.
                optional --file pattern: String
                /// Only what the last run didn't catch, with other tests or in the same code.
                optional --iterate
            }
            /// Checks what no other tool does: manifests, changelog, links, comments and
            /// invariants.
            cmd tidy {}
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result {
    let mut arguments: Vec<_> = env::args_os().skip(1).collect();
    if arguments.is_empty() {
        arguments.push("--help".into());
    }
    let flags::Xtask { subcommand } =
        flags::Xtask::from_vec(arguments).unwrap_or_else(|error| error.exit());
    let shell = Shell::new()?;
    // The tasks work from everywhere in the workspace.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let start = env::current_dir()?;
    shell.change_dir(&root);
    match subcommand {
        flags::XtaskCmd::TestAll(_) => test_all::run(&shell),
        flags::XtaskCmd::Demo(flags) => demo::run(&shell, &start, flags),
        flags::XtaskCmd::Browser(flags) => browser::run(&shell, &start, flags),
        flags::XtaskCmd::Bench(flags) => bench::run(&shell, &root, flags),
        flags::XtaskCmd::Interop(_) => interop::run(&shell),
        flags::XtaskCmd::TestMysql(flags) => mysql::run(&shell, &flags),
        flags::XtaskCmd::TestGalera(_) => mysql::run_galera(&shell),
        flags::XtaskCmd::TestProxies(_) => mysql::run_proxies(&shell),
        flags::XtaskCmd::TestTidb(_) => tidb::run(&shell),
        flags::XtaskCmd::TestVitess(_) => vitess::run(&shell),
        flags::XtaskCmd::TestPackages(_) => packages::run(&shell, &root).map(|unchecked| {
            unchecked.as_deref().map(test_all::skip);
        }),
        flags::XtaskCmd::TestPlatforms(_) => platforms::run(&shell, &root),
        flags::XtaskCmd::TestStatic(_) => platforms::run_static(&shell, &root),
        flags::XtaskCmd::Torture(flags) => torture::run(&shell, &start, flags),
        flags::XtaskCmd::Schedules(flags) => schedules::run(&shell, flags),
        flags::XtaskCmd::Miri(_) => miri::run(&shell),
        flags::XtaskCmd::Soak(flags) => soak::run(&shell, &start, flags),
        flags::XtaskCmd::Fuzz(flags) => fuzz::run(&shell, &start, flags),
        flags::XtaskCmd::SupplyChain(_) => supply_chain::run(&shell, &root),
        flags::XtaskCmd::Mutants(flags) => mutants::run(&shell, &root, &flags),
        flags::XtaskCmd::Tidy(_) => tidy::run(&shell, &root),
    }
}

/// Builds all programs and examples, with the features of the tests, so that nothing is compiled
/// twice. They are next to this very program, wherever the target directory is.
fn build_programs(shell: &Shell) -> Result {
    cmd!(shell, "cargo build --quiet --workspace --bins --examples --all-features --locked")
        .quiet()
        .run()?;
    Ok(())
}

/// Prints a line for the person at the terminal, next to the output of the programs that run.
#[expect(clippy::print_stderr, reason = "a command-line program speaks to its terminal")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

//! `cargo xtask mutants`: whether the tests notice when the code does something else. See
//! `docs/reliability.md`, and `.cargo/mutants.toml` for the mutants that aren't made.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use xshell::{Shell, cmd};

use crate::{Result, bench, flags, say};

const VERSION: &str = "27.1.0";

/// Which tests have to notice a mutant of a crate. What one stage catches isn't tried by the next:
/// the tests that are built most quickly, or catch most, come first.
struct Plan {
    directory: &'static str,
    package: &'static str,
    stages: &'static [Stage],
}

/// Arguments of `cargo test`: whose tests, which to build, and which of these to run.
struct Stage {
    package: &'static str,
    targets: &'static [&'static str],
    filter: &'static [&'static str],
}

const CORE: &str = "sync-session-store-core";
const CONFORMANCE: &str = "sync-session-store-conformance";
const SQLITE: &str = "sync-session-store-sqlite";
const MANAGER: &str = "sync-session-manager";

/// Examples come last, because building them takes long. Most tests on other stores than the one in
/// memory are left out, as are the scheduler's interleavings: they take minutes.
const PLANS: [Plan; 2] = [
    Plan {
        directory: "store-core",
        package: CORE,
        stages: &[
            Stage { package: CORE, targets: &["--lib"], filter: &[] },
            Stage {
                package: CONFORMANCE,
                targets: &["--test=conformance"],
                // Without those that take longest.
                filter: &[
                    "--",
                    "--skip=being_rotated",
                    "--skip=byte_for_byte",
                    "--skip=concurrent",
                    "--skip=one_step",
                ],
            },
            Stage { package: CONFORMANCE, targets: &["--test=conformance"], filter: &[] },
            Stage {
                package: CONFORMANCE,
                targets: &["--test=between_databases", "--test=moving"],
                filter: &[],
            },
            // What stores with files share.
            Stage {
                package: SQLITE,
                targets: &["--lib", "--test=forks", "--test=relative_path"],
                filter: &[],
            },
            Stage { package: CORE, targets: &[], filter: &["--doc"] },
        ],
    },
    Plan {
        directory: "session-manager",
        package: MANAGER,
        stages: &[
            Stage { package: MANAGER, targets: &["--test=sessions"], filter: &[] },
            Stage {
                package: MANAGER,
                targets: &[
                    "--lib",
                    "--test=adapters",
                    "--test=cookies",
                    "--test=cross_origin",
                    "--test=device_bound",
                    "--test=failures",
                    "--test=half_done",
                    "--test=handlers",
                    "--test=model",
                    "--test=sealed",
                    "--test=secrecy",
                    "--test=testing",
                ],
                filter: &[],
            },
            Stage {
                package: MANAGER,
                targets: &["--test=every_store"],
                filter: &["--", "memory::"],
            },
            Stage { package: MANAGER, targets: &[], filter: &["--doc"] },
        ],
    },
];

/// The least time that tests have before a mutant counts as one that waits forever, so that a busy
/// machine doesn't catch it in their place.
const MIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes the mutants, and fails if one survives.
pub(crate) fn run(shell: &Shell, root: &Path, flags: &flags::Mutants) -> Result {
    let only = flags.package.as_deref();
    let is_wanted =
        |plan: &&Plan| only.is_none_or(|only| [plan.directory, plan.package].contains(&only));
    let plans: Vec<_> = PLANS.iter().filter(is_wanted).collect();
    if plans.is_empty() {
        let names = PLANS.map(|plan| plan.directory).join(", ");
        return Err(format!("the packages are: {names}").into());
    }
    let target = bench::target_directory(root)?;
    let program = obtain(shell, &target)?;
    let _target = shell.push_env("CARGO_TARGET_DIR", target.join("mutants/build"));
    let mut survivors = Vec::new();
    for plan in plans {
        let out = target.join("mutants").join(plan.directory);
        if !flags.iterate {
            shell.remove_path(&out)?;
        }
        fs::create_dir_all(&out)?;
        survivors.extend(plan.run(shell, &program, &out, flags.file.as_deref())?);
    }
    if survivors.is_empty() {
        return Ok(());
    }
    for survivor in &survivors {
        say(survivor);
    }
    Err(format!("{} mutants survived", survivors.len()).into())
}

/// Gets cargo-mutants, unless this version of it is there.
fn obtain(shell: &Shell, target: &Path) -> Result<PathBuf> {
    let tools = target.join("tools");
    let program = tools.join("bin/cargo-mutants");
    let present = cmd!(shell, "{program} mutants --version").quiet().ignore_stderr().read();
    if present.ok().as_deref() != Some(&format!("cargo-mutants {VERSION}")) {
        say(&format!("getting cargo-mutants {VERSION} into {}", tools.display()));
        cmd!(shell, "cargo install --locked --root {tools} cargo-mutants@{VERSION}")
            .quiet()
            .run()
            .map_err(|error| format!("cargo-mutants {VERSION} isn't available: {error}"))?;
    }
    Ok(program)
}

impl Plan {
    /// Returns the mutants that survived all stages.
    fn run(
        &self,
        shell: &Shell,
        program: &Path,
        out: &Path,
        file: Option<&str>,
    ) -> Result<Vec<String>> {
        let (mut caught, mut waiting, mut survivors) = (0, BTreeSet::new(), Vec::new());
        for stage in self.stages {
            let timeout = stage.run_unmutated(shell)?.saturating_mul(3).max(MIN_TIMEOUT);
            self.mutate(shell, program, stage, timeout, out, file)?;
            caught += mutants(out, "caught")?.len();
            // The next stages try them again, and may not wait.
            waiting.extend(mutants(out, "timeout")?);
            survivors = mutants(out, "missed")?;
            survivors.retain(|mutant| !waiting.contains(mutant));
            let (package, forever, survived) = (self.directory, waiting.len(), survivors.len());
            say(&format!(
                "{package}: {caught} mutants caught in this run, {forever} made a test wait \
                 forever, {survived} not caught yet"
            ));
            if survivors.is_empty() {
                break;
            }
        }
        Ok(survivors)
    }

    fn mutate(
        &self,
        shell: &Shell,
        program: &Path,
        stage: &Stage,
        timeout: Duration,
        out: &Path,
        file: Option<&str>,
    ) -> Result {
        let (package, tests) = (self.package, stage.package);
        let timeout = timeout.as_secs().to_string();
        // The tool itself would run the tests of the mutated package alone on the code as it is.
        let command = cmd!(
            shell,
            "{program} mutants --package {package} --test-package {tests} --all-features --iterate
                --baseline skip --timeout {timeout} --output {out} --cargo-arg=--locked"
        )
        .args(stage.targets.iter().map(|target| format!("--cargo-arg={target}")))
        .args(stage.filter.iter().map(|argument| format!("--cargo-test-arg={argument}")))
        .args(file.iter().flat_map(|file| ["--file", file]));
        let status = Command::from(command).status()?;
        match status.code() {
            // All are caught; some survive, or take too long: the next stage may catch them.
            Some(0 | 2 | 3) => Ok(()),
            _ => Err(format!("cargo-mutants failed: {status}").into()),
        }
    }
}

impl Stage {
    /// Makes sure that the tests pass without a mutant, and returns how long they take.
    fn run_unmutated(&self, shell: &Shell) -> Result<Duration> {
        let package = self.package;
        let test = |arguments: &[&str]| -> Result {
            cmd!(
                shell,
                "cargo test --quiet --locked --profile mutants --all-features --package {package}"
            )
            .args(self.targets)
            .args(arguments)
            .quiet()
            .ignore_stdout()
            .run()
            .map_err(|error| format!("without a mutant: {error}").into())
        };
        test(&["--no-run"])?;
        let started = Instant::now();
        test(self.filter)?;
        Ok(started.elapsed())
    }
}

/// The mutants that the last run of the tool has written to a list.
fn mutants(out: &Path, list: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(out.join(format!("mutants.out/{list}.txt")))?;
    Ok(text.lines().map(str::to_owned).collect())
}

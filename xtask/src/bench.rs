//! `cargo xtask bench`: our stores beside the drivers under them and beside their peers.

use std::path::{Path, PathBuf};
use std::{env, fs};

use xshell::{Shell, cmd};

use crate::flags::Bench;
use crate::{Result, crates, interop, say};

/// The workspaces of the benchmark, which keep the peers out of ours.
pub(crate) const WORKSPACES: [&str; 2] = ["xtask/bench", "xtask/bench/sqlx"];

/// Builds the programs of `xtask/bench` and has them measure.
pub(crate) fn run(shell: &Shell, root: &Path, flags: Bench) -> Result {
    let target = target_directory(root)?.join("bench");
    // Only a whole run replaces the one that is published.
    let is_whole = !flags.quick && flags.only.is_none();
    let out = match flags.out {
        Some(out) => env::current_dir()?.join(out),
        None if is_whole => root.join("docs/benchmarks"),
        None => target.join("report"),
    };
    let runner = target.join(format!("release/bench-runner{}", env::consts::EXE_SUFFIX));
    let micro = target.join("criterion");
    let mut arguments: Vec<String> = Vec::new();
    let mut option = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
    option("scratch", flags.scratch.unwrap_or(target.clone()).display().to_string());
    option("out", out.display().to_string());
    option("crates", crates::of_an_application(shell)?.len().to_string());
    for program in programs(shell, &target)? {
        option("program", program.display().to_string());
    }
    if let Some(filter) = flags.only {
        option("only", filter);
    }
    if let Some(rounds) = flags.rounds {
        option("rounds", rounds.to_string());
    }
    if is_whole {
        say("--- micro-benchmarks");
        let program = target.join(format!("release/bench-micro{}", env::consts::EXE_SUFFIX));
        let _home = shell.push_env("CRITERION_HOME", &micro);
        cmd!(shell, "{program} --bench --noplot --quiet --warm-up-time 1 --measurement-time 3")
            .quiet()
            .run()?;
    }
    if micro.exists() {
        option("micro", micro.display().to_string());
    }
    for (name, is_set) in [("quick", flags.quick), ("full", flags.full)] {
        if is_set {
            arguments.push(format!("--{name}"));
        }
    }
    cmd!(shell, "{runner} {arguments...}").quiet().run()?;
    Ok(())
}

/// Builds the programs with contenders.
fn programs(shell: &Shell, target: &Path) -> Result<Vec<PathBuf>> {
    let program = |name: &str| target.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    let [ours, sqlx] = WORKSPACES.map(|workspace| format!("{workspace}/Cargo.toml"));
    let sqlx_target = target.join("sqlx");
    say("--- building the contenders: the first time, this takes some minutes");
    cmd!(shell, "cargo build --release --locked --manifest-path {ours} --target-dir {target}")
        .quiet()
        .run()?;
    cmd!(shell, "cargo build --release --locked --manifest-path {sqlx} --target-dir {sqlx_target}")
        .quiet()
        .run()?;
    let mut programs =
        vec![program("release/bench-contenders"), program("sqlx/release/bench-sqlx")];
    if interop::has_go(shell) {
        let go = program("bench-go");
        fs::create_dir_all(target)?;
        let _directory = shell.push_dir("xtask/bench/go");
        let _cgo = shell.push_env("CGO_ENABLED", "1");
        cmd!(shell, "go build -buildvcs=false -o {go} .").quiet().run()?;
        programs.push(go);
    } else {
        say("!!! There is no Go toolchain, so the Go stores take no part.");
    }
    Ok(programs)
}

/// Where this very program was built.
fn target_directory(root: &Path) -> Result<PathBuf> {
    let program = env::current_exe()?;
    Ok(program.ancestors().nth(2).map_or_else(|| root.join("target"), Path::to_path_buf))
}

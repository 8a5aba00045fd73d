//! `cargo xtask test-all`: every gate, in the order in which they fail fastest.

use std::time::Instant;

use test_servers::{REQUIRED_VARIABLE, Release, SERVER_VARIABLE};
use xshell::{Shell, cmd};

use crate::{Result, bench, browser, interop, mysql, packages, say};

/// Runs every gate. Each step is a command that can be repeated by hand.
pub(crate) fn run(shell: &Shell) -> Result {
    // Warnings are errors here and nowhere else, so that a new lint doesn't stop anybody's build.
    let _flags = shell.push_env("RUSTDOCFLAGS", "-D warnings");
    let started = Instant::now();
    let mut skipped = Vec::new();

    step(cmd!(shell, "cargo fmt --all -- --check"))?;
    for workspace in bench::WORKSPACES {
        let manifest = format!("{workspace}/Cargo.toml");
        step(cmd!(shell, "cargo fmt --all --manifest-path {manifest} -- --check"))?;
        // It takes our crates by path, and their dependencies with them.
        step(cmd!(shell, "cargo update --workspace --locked --manifest-path {manifest}"))?;
    }
    step(cmd!(shell, "cargo run --quiet --package xtask -- tidy"))?;
    step(cmd!(
        shell,
        "cargo clippy --workspace --all-targets --all-features --locked -- -D warnings"
    ))?;
    // The crates as applications take them: without the kit, and with the system's SQLite.
    step(cmd!(shell, "cargo clippy --package sync-session-store-core --locked -- -D warnings"))?;
    step(cmd!(
        shell,
        "cargo clippy --package sync-session-store-sqlite --no-default-features --locked -- -D warnings"
    ))?;
    // The program with each store alone.
    for store in ["sqlite", "mysql", "ql"] {
        step(cmd!(
            shell,
            "cargo clippy --package sync-session-cli --no-default-features --features {store} --locked -- -D warnings"
        ))?;
    }
    step(cmd!(shell, "cargo doc --workspace --all-features --no-deps --locked"))?;
    step(cmd!(shell, "cargo build --workspace --bins --examples --all-features --locked"))?;
    say("--- cargo xtask test-packages");
    if let Some(what) = packages::run(shell, &shell.current_dir())? {
        skipped.push(skip(&what));
    }
    mysql::obtain(Release::MariaDb)?;
    step(
        cmd!(shell, "cargo test --workspace --all-features --locked")
            .env(SERVER_VARIABLE, Release::MariaDb.name())
            .env(REQUIRED_VARIABLE, "1"),
    )?;
    step(cmd!(shell, "cargo run --quiet --package xtask -- torture"))?;
    step(cmd!(shell, "cargo run --quiet --package xtask -- schedules"))?;
    step(cmd!(shell, "cargo run --quiet --package xtask -- soak"))?;
    match mysql::obtain(Release::MySql) {
        Ok(()) => {
            for test in mysql::tests(shell, Release::MySql) {
                step(test)?;
            }
        }
        Err(error) => {
            skipped.push(skip(&format!("cargo xtask test-mysql --server mysql. {error}")));
        }
    }
    if interop::has_go(shell) {
        step(cmd!(shell, "cargo run --quiet --package xtask -- interop"))?;
    } else {
        skipped.push(skip("cargo xtask interop. There is no Go toolchain, so Go wasn't asked."));
    }
    match browser::missing(shell)? {
        None => step(cmd!(shell, "cargo run --quiet --package xtask -- browser"))?,
        Some(why) => skipped.push(skip(&format!(
            "cargo xtask browser, so nothing was checked in a browser: {why}"
        ))),
    }

    say(&format!("everything that ran passed, in {} s", started.elapsed().as_secs()));
    for what in skipped {
        say(&what);
    }
    Ok(())
}

fn step(command: xshell::Cmd<'_>) -> Result {
    say(&format!("--- {command}"));
    let started = Instant::now();
    command.quiet().run()?;
    say(&format!("--- passed in {} s", started.elapsed().as_secs()));
    Ok(())
}

/// Says at once what wasn't run and why, in lines that stand out, and gives them to be said again
/// at the very end.
pub(crate) fn skip(what: &str) -> String {
    let lines = format!("!!! SKIPPED: {}", what.trim_end().replace('\n', "\n!!! "));
    say(&lines);
    lines
}

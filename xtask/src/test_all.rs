//! `cargo xtask test-all`: every gate, in the order in which they fail fastest.

use std::time::Instant;

use xshell::{Shell, cmd};

use crate::{Result, bench, browser, interop, say};

/// Runs every gate. Each step is a command that can be repeated by hand.
pub(crate) fn run(shell: &Shell) -> Result {
    // Warnings are errors here and nowhere else, so that a new lint doesn't stop anybody's build.
    let _flags = shell.push_env("RUSTDOCFLAGS", "-D warnings");
    let started = Instant::now();

    step(cmd!(shell, "cargo fmt --all -- --check"))?;
    for workspace in bench::WORKSPACES {
        step(cmd!(shell, "cargo fmt --all --manifest-path {workspace}/Cargo.toml -- --check"))?;
    }
    step(cmd!(shell, "cargo run --quiet --package xtask -- tidy"))?;
    step(cmd!(
        shell,
        "cargo clippy --workspace --all-targets --all-features --locked -- -D warnings"
    ))?;
    // The crates as applications take them: without the kit, and with the system's SQLite.
    step(cmd!(shell, "cargo clippy --package store-core --locked -- -D warnings"))?;
    step(cmd!(
        shell,
        "cargo clippy --package store-sqlite --no-default-features --locked -- -D warnings"
    ))?;
    step(cmd!(shell, "cargo doc --workspace --all-features --no-deps --locked"))?;
    step(cmd!(shell, "cargo build --workspace --examples --all-features --locked"))?;
    step(cmd!(shell, "cargo test --workspace --all-features --locked"))?;
    if interop::has_go(shell) {
        step(cmd!(shell, "cargo run --quiet --package xtask -- interop"))?;
    } else {
        say("!!! SKIPPED: cargo xtask interop. There is no Go toolchain, so Go wasn't asked.");
    }
    if browser::is_expected()? {
        step(cmd!(shell, "cargo run --quiet --package xtask -- browser"))?;
    } else {
        say(
            "!!! SKIPPED: cargo xtask browser. There is no Chromium, so nothing was checked in a browser.",
        );
        say("!!! With Chromium on the PATH, or its path in CHROME, run: cargo xtask browser");
    }

    say(&format!("everything passed, in {} s", started.elapsed().as_secs()));
    Ok(())
}

fn step(command: xshell::Cmd<'_>) -> Result {
    say(&format!("--- {command}"));
    command.quiet().run()?;
    Ok(())
}

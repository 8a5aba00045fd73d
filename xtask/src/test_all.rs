//! `cargo xtask test-all`: every gate, in the order in which they fail fastest.

use std::time::Instant;

use xshell::{Shell, cmd};

use crate::{Result, say};

/// Runs every gate. Each step is a command that can be repeated by hand.
pub(crate) fn run(shell: &Shell) -> Result {
    // Warnings are errors here and nowhere else, so that a new lint doesn't stop anybody's build.
    let _flags = shell.push_env("RUSTDOCFLAGS", "-D warnings");
    let started = Instant::now();

    step(cmd!(shell, "cargo fmt --all -- --check"))?;
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

    say(&format!("everything passed, in {} s", started.elapsed().as_secs()));
    Ok(())
}

fn step(command: xshell::Cmd<'_>) -> Result {
    say(&format!("--- {command}"));
    command.quiet().run()?;
    Ok(())
}

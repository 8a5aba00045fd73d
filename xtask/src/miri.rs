//! `cargo xtask miri`: runs tests in an interpreter that finds undefined behaviour, data races and
//! leaks. See `docs/reliability.md`.

use xshell::{Shell, cmd};

use crate::{Result, say};

/// Tests to run: of which package, and which of them. Other tests need files, servers or processes,
/// which Miri doesn't have, or last for hours in it.
const TESTS: [(&str, &[&str]); 3] = [
    ("sync-session-store-core", &["--lib"]),
    ("sync-session-manager", &["--lib", "--features", "messagepack"]),
    // Races on the memory store.
    (
        "sync-session-store-conformance",
        &["--test", "conformance", "--", "one_of_many", "seen_as_one_step", "contention"],
    ),
];

/// Runs unit tests, in a target directory of their own.
pub(crate) fn run(shell: &Shell) -> Result {
    obtain(shell)?;
    // The clock is the system's, and so is the randomness of tokens.
    let _flags = shell.push_env("MIRIFLAGS", "-Zmiri-disable-isolation");
    for (package, tests) in TESTS {
        let target = ["--locked", "--target-dir", "target/miri"];
        say(&format!("--- {package}"));
        cmd!(shell, "cargo +nightly miri test --package {package} {target...} {tests...}")
            .quiet()
            .run()?;
    }
    Ok(())
}

/// Gets Miri, which is a component of nightly toolchains alone, where it is missing.
fn obtain(shell: &Shell) -> Result {
    if cmd!(shell, "cargo +nightly miri --version")
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()
        .is_ok()
    {
        return Ok(());
    }
    let components = "miri,rust-src";
    say("--- rustup gets a nightly toolchain with Miri and the sources of the standard library");
    cmd!(shell, "rustup toolchain install nightly --profile minimal --component {components}")
        .quiet()
        .run()
        .map_err(|error| format!("there is no Miri, and rustup can't get it: {error}"))?;
    Ok(())
}

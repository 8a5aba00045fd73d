//! `cargo xtask fuzz`: the long form of what the tests of `xtask/fuzz` do. See
//! `docs/reliability.md`.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;

use xshell::{Shell, cmd};

use crate::{Result, flags, say};

/// How long each target is fed by default, in seconds.
const SECONDS: u64 = 60;

/// Where inputs that break something are left.
const DIRECTORY: &str = "target/fuzz-inputs";

/// Fuzzes, `start` being where the person is.
pub(crate) fn run(shell: &Shell, start: &Path, flags: flags::Fuzz) -> Result {
    // Optimized, and with the checks of a debug build.
    cmd!(shell, "cargo build --quiet --locked --package fuzz --profile fuzz").quiet().run()?;
    let program = shell
        .current_dir()
        .join("target/fuzz/fuzz")
        .with_extension(std::env::consts::EXE_EXTENSION);
    let targets = match flags.target {
        Some(target) => target,
        None => cmd!(shell, "{program}").quiet().ignore_stderr().read()?,
    };
    if let Some(input) = flags.input {
        let input = start.join(input);
        cmd!(shell, "{program} {targets} {DIRECTORY} {input}").quiet().run()?;
        return Ok(());
    }
    // A hasher of the standard library has random keys.
    let seed = flags.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish()).to_string();
    let seconds = flags.seconds.unwrap_or(SECONDS).to_string();
    say(&format!("seed {seed}"));
    for target in targets.lines() {
        let fed = cmd!(shell, "{program} {target} {DIRECTORY} {seed} {seconds}").quiet().run();
        fed.map_err(|error| {
            format!(
                "{error}\nto repeat it: cargo xtask fuzz --target {target} --seed {seed} \
                 --seconds {seconds}\nif the process ended, its last input is in \
                 {DIRECTORY}/{target}.current; with one input: cargo xtask fuzz --target {target} \
                 --input FILE"
            )
        })?;
    }
    Ok(())
}

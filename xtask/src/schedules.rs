//! `cargo xtask schedules`: tries models of the threads under a great many schedules. See
//! `docs/reliability.md`.

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher as _, Hasher as _};

use xshell::{Shell, cmd};

use crate::{Result, flags, say};

/// How many schedules of each model are tried by default.
const SCHEDULES: usize = 500;

/// From here on an optimized build, which takes longer, is worth its time.
const MANY_SCHEDULES: usize = 50_000;

/// Tries the models, in a target directory of their own: with other flags for the compiler, all
/// would be compiled again each time.
pub(crate) fn run(shell: &Shell, flags: flags::Schedules) -> Result {
    if flags.replay.is_some() && flags.model.is_none() {
        return Err("a schedule is one of a model: --model NAME --replay SCHEDULE".into());
    }
    let schedules = flags.iterations.unwrap_or(SCHEDULES);
    // A hasher of the standard library has random keys.
    let seed = flags.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    // Warnings are errors, because no other build compiles these lines.
    let given = env::var("RUSTFLAGS").unwrap_or_default();
    let _flags = shell.push_env("RUSTFLAGS", format!("{given} --cfg shuttle -D warnings"));
    let _schedules = shell.push_env("SCHEDULES", schedules.to_string());
    let _seed = shell.push_env("SCHEDULES_SEED", seed.to_string());
    let _schedule = flags.replay.map(|schedule| shell.push_env("SCHEDULE", schedule));
    let profile = if schedules < MANY_SCHEDULES { "dev" } else { "release" };
    let build = ["--quiet", "--locked", "--tests", "--target-dir", "target/schedules"];
    let model = flags.model.as_deref();
    say(&format!("seed {seed}"));
    cmd!(
        shell,
        "cargo test --package schedules --features shuttle --profile {profile} {build...} -- {model...}"
    )
    .quiet()
    .run()
    .map_err(|error| {
        format!(
            "{error}\nto repeat them all: cargo xtask schedules --iterations {schedules} \
             --seed {seed}\nto repeat the one: cargo xtask schedules --model NAME --replay \
             'SCHEDULE', with the text between the quotes"
        )
    })?;
    Ok(())
}

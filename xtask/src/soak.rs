//! `cargo xtask soak`: loads the demo, kills it and its server, floods it, and checks what visitors
//! get. See `docs/reliability.md`.

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;

use xshell::{Shell, cmd};

use crate::{Result, build_programs, flags, say};

/// The stores, by the names of the demo's features.
const STORES: [&str; 3] = ["sqlite", "ql", "mysql"];

/// How long the short form loads each store.
const SECONDS: u64 = 3;

/// Soaks the stores, `start` being where the person is.
pub(crate) fn run(shell: &Shell, start: &Path, flags: flags::Soak) -> Result {
    let only = flags.store.as_deref();
    let stores: Vec<_> =
        STORES.into_iter().filter(|store| only.is_none_or(|only| only == *store)).collect();
    if stores.is_empty() {
        return Err(format!("the stores are: {}", STORES.join(", ")).into());
    }
    // A hasher of the standard library has random keys.
    let seed = flags.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let seconds = flags.minutes.map_or(SECONDS, |minutes| minutes * 60);
    let default = shell.current_dir().join("target/soak");
    let directory = flags.scratch.map_or_else(|| default.clone(), |path| start.join(path));
    let out = flags.out.map_or(default, |path| start.join(path));
    // Before the build, which puts another file in the place of this one.
    let xtask = env::current_exe()?;
    let program = |name: &str| xtask.with_file_name(format!("{name}{}", env::consts::EXE_SUFFIX));
    let (soak, demo) = (program("soak"), program("sessions-demo"));
    build_programs(shell)?;
    say(&format!("seed {seed}"));
    for store in stores {
        let (seed, seconds) = (seed.to_string(), seconds.to_string());
        let done = cmd!(shell, "{soak} run {store} {demo} {directory} {seed} {seconds}");
        done.quiet().run().map_err(|error| {
            let minutes =
                flags.minutes.map_or(String::new(), |minutes| format!(" --minutes {minutes}"));
            format!(
                "{error}\nto repeat it: cargo xtask soak --store {store} --seed {seed}{minutes}"
            )
        })?;
    }
    if flags.minutes.is_some() {
        cmd!(shell, "{soak} report {directory} {out}").quiet().run()?;
    }
    Ok(())
}

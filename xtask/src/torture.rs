//! `cargo xtask torture`: kills processes at work on the stores, takes their power away, and looks
//! for what is lost. See `docs/reliability.md`.

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::{Result, flags, say};

/// The stores, by the names of the program's features, and what is done to each. The power of the
/// server's disk is the server's business.
const STORES: [(&str, &[&str]); 3] =
    [("sqlite", &["kill", "lose-power"]), ("ql", &["kill", "lose-power"]), ("mysql", &["kill"])];

/// How long each is done by default, in seconds.
const SECONDS: u64 = 3;

/// Tortures the stores, `start` being where the person is.
pub(crate) fn run(shell: &Shell, start: &Path, flags: flags::Torture) -> Result {
    let only = flags.store.as_deref();
    let stores: Vec<_> =
        STORES.into_iter().filter(|(store, _)| only.is_none_or(|only| only == *store)).collect();
    if stores.is_empty() {
        let names = STORES.map(|(store, _)| store).join(", ");
        return Err(format!("the stores are: {names}").into());
    }
    // A hasher of the standard library has random keys.
    let seed = flags.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let seconds = flags.seconds.unwrap_or(SECONDS);
    let directory = match flags.scratch {
        Some(directory) => start.join(directory),
        None => scratch(shell),
    };
    // All features, so that one build does for all stores.
    cmd!(shell, "cargo build --quiet --locked --package torture --all-features").quiet().run()?;
    let program = env::current_exe()?.with_file_name(format!("torture{}", env::consts::EXE_SUFFIX));
    say(&format!("seed {seed}"));
    for (store, roles) in stores {
        for role in roles {
            let (seed, seconds) = (seed.to_string(), seconds.to_string());
            let done = cmd!(shell, "{program} {role} {store} {directory} {seed} {seconds}");
            done.quiet().run().map_err(|error| {
                format!(
                    "{error}\nto repeat it: cargo xtask torture --store {store} --seed {seed} \
                     --seconds {seconds}"
                )
            })?;
        }
    }
    Ok(())
}

/// In memory, where there are more kills a second: what a process has written survives its kill
/// there as well, and losses of power are simulated.
fn scratch(shell: &Shell) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let parent =
        if memory.is_dir() { memory.to_owned() } else { shell.current_dir().join("target") };
    parent.join("torture")
}

//! `cargo xtask torture`: kills processes at work on the stores, takes their power away, and looks
//! for what is lost. See `docs/reliability.md`.

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::test_all::skip;
use crate::{Result, build_programs, flags, say};

/// The stores, by the names of the program's features, and what is done to each. The power of the
/// server's disk is the server's business.
const STORES: [(&str, &[&str]); 3] =
    [("sqlite", &["kill", "lose-power"]), ("ql", &["kill", "lose-power"]), ("mysql", &["kill"])];

/// How long each is done by default, in seconds.
const SECONDS: u64 = 3;

/// From this on it is the long form, with the tests of the embedded store that are too long for
/// every change, or need root.
const LONG_FORM: u64 = 60;

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
    // Before the build, which puts another file in the place of this one.
    let program = env::current_exe()?.with_file_name(format!("torture{}", env::consts::EXE_SUFFIX));
    build_programs(shell)?;
    say(&format!("seed {seed}"));
    let mut skipped = Vec::new();
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
        if store == "ql" && seconds >= LONG_FORM {
            damage_files(shell)?;
            skipped.extend(fill_volumes(shell)?);
        }
    }
    for what in skipped {
        say(&what);
    }
    Ok(())
}

/// Opens thousands of files with flipped bytes.
fn damage_files(shell: &Shell) -> Result {
    let package = "sync-session-store-ql-compat";
    let test = "thousands_of_damaged_files_give_errors";
    cmd!(shell, "cargo test --locked --package {package} --lib {test} -- --ignored").run()?;
    Ok(())
}

/// Lets a volume run full under the store, and enlarges it. Returns what was said if none can be
/// made here.
fn fill_volumes(shell: &Shell) -> Result<Option<String>> {
    let package = "sync-session-store-ql-compat";
    let test = cmd!(shell, "cargo test --locked --package {package} --test volume -- --ignored");
    let output = test.ignore_status().output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    say(errors.trim_end());
    say(String::from_utf8_lossy(&output.stdout).trim_end());
    if !output.status.success() {
        return Err("the tests on volumes that run full failed".into());
    }
    // The test's own words, which it says once a test.
    let reason = errors.lines().find_map(|line| line.trim().strip_prefix("SKIPPED: "));
    Ok(reason.map(|reason| {
        skip(&format!(
            "volumes that run full. {reason}\nAs root, with loop devices and mkfs.ext4, run: \
             cargo xtask torture --store ql --seconds {LONG_FORM}"
        ))
    }))
}

/// In memory, where there are more kills a second: what a process has written survives its kill
/// there as well, and losses of power are simulated.
fn scratch(shell: &Shell) -> PathBuf {
    let memory = Path::new("/dev/shm");
    match process_owner() {
        // A directory for each user, because what one has made no other can write to.
        Some(user) if memory.is_dir() => memory.join(format!("torture-{user}")),
        _ => shell.current_dir().join("target/torture"),
    }
}

/// The number of the user who runs this.
#[cfg(target_os = "linux")]
fn process_owner() -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    Some(std::fs::metadata("/proc/self").ok()?.uid())
}

#[cfg(not(target_os = "linux"))]
fn process_owner() -> Option<u32> {
    None
}

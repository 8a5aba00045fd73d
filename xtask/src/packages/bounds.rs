//! The bounds of versions in the manifests: the packages compile on the oldest Rust that they
//! state, both with the newest versions of what they depend on and with the lowest.

use std::path::Path;

use xshell::{Shell, cmd};

use super::{Metadata, Packages, oldest_rust};
use crate::{Result, say};

/// Where the oldest Rust is installed.
const RUSTUP_HOME: &str = "target/rustup";

/// Compiles the packages. Returns what couldn't be checked on this machine.
pub(super) fn check(
    shell: &Shell,
    packages: &Packages<'_>,
    workspace: &Metadata,
    target: &Path,
) -> Result<Vec<String>> {
    let oldest = oldest_rust::oldest(workspace)?;
    let mut unchecked = Vec::new();
    let rustup_home = shell.current_dir().join(RUSTUP_HOME);
    let has_oldest = install(shell, oldest, &rustup_home);
    if !has_oldest {
        unchecked.push(format!(
            "compiling on Rust {oldest}. rustup can't install it here, so the Rust that is here \
             compiled instead."
        ));
    }
    let check = |directory: &Path| -> Result {
        let manifest = directory.join("Cargo.toml");
        let rust = if has_oldest { oldest } else { "newest" };
        let target = target.join("bounds").join(rust);
        let arguments =
            ["check", "--quiet", "--workspace", "--all-features", "--locked", "--manifest-path"];
        let mut cargo = cmd!(shell, "cargo {arguments...} {manifest} --target-dir {target}");
        if has_oldest {
            let oldest = ["run", oldest, "cargo"];
            cargo =
                cmd!(shell, "rustup {oldest...} {arguments...} {manifest} --target-dir {target}")
                    .env("RUSTUP_HOME", &rustup_home)
                    // Cargo sets them for the tasks, to itself and its own Rust.
                    .env_remove("CARGO")
                    .env_remove("RUSTUP_TOOLCHAIN");
        }
        cargo.quiet().run()?;
        Ok(())
    };

    say(&format!("the newest versions that a fresh application on Rust {oldest} gets"));
    let application = packages.make_application(shell)?;
    unchecked.extend(oldest_rust::resolve(shell, &application, workspace)?);
    check(&application)?;

    say("the lowest versions that the manifests allow");
    let lowest = packages.make_workspace(shell)?;
    let manifest = lowest.join("Cargo.toml");
    cmd!(
        shell,
        "cargo generate-lockfile --quiet --manifest-path {manifest} -Z direct-minimal-versions"
    )
    // The flag isn't stable; what is compiled, and with what, is.
    .env("RUSTC_BOOTSTRAP", "1")
    .quiet()
    .run()?;
    check(&lowest)?;
    Ok(unchecked)
}

/// Installs a Rust below the target directory. Returns whether it is there.
fn install(shell: &Shell, version: &str, rustup_home: &Path) -> bool {
    say(&format!("Rust {version}, in {RUSTUP_HOME}"));
    cmd!(shell, "rustup toolchain install --profile minimal --no-self-update {version}")
        .env("RUSTUP_HOME", rustup_home)
        .env_remove("RUSTUP_TOOLCHAIN")
        .quiet()
        .ignore_stderr()
        .ignore_stdout()
        .run()
        .is_ok()
}

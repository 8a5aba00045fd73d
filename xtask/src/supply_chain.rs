//! `cargo xtask supply-chain`: what comes with the libraries from elsewhere. It needs the registry,
//! so it is a task of its own. See `docs/reliability.md`.

use std::path::Path;

use xshell::{Shell, cmd};

use crate::{Result, packages, say, test_all};

/// The tool that reads `deny.toml`, in the version that the file is written for.
const CARGO_DENY: &str = "0.20.2";

/// Where the tool is installed.
const TOOLS: &str = "target/tools";

/// Runs all checks.
pub(crate) fn run(shell: &Shell, root: &Path) -> Result {
    let deny = install(shell)?;
    let mut skipped = Vec::new();

    say("licences, duplicates and sources of what the libraries depend on");
    cmd!(shell, "{deny} --locked check --hide-inclusion-graph licenses bans sources")
        .quiet()
        .run()?;
    say("known vulnerabilities");
    if cmd!(shell, "{deny} fetch").quiet().ignore_status().output()?.status.success() {
        cmd!(shell, "{deny} --locked check advisories").quiet().run()?;
    } else {
        skipped.push(test_all::skip(
            "cargo deny check advisories. RustSec's database can't be fetched from here, so known \
             vulnerabilities were not looked for.",
        ));
    }
    for what in packages::check_bounds(shell, root)? {
        skipped.push(test_all::skip(&what));
    }
    say("everything that ran passed");
    for what in skipped {
        say(&what);
    }
    Ok(())
}

/// Installs cargo-deny, unless this version is there.
fn install(shell: &Shell) -> Result<std::path::PathBuf> {
    let program = shell.current_dir().join(TOOLS).join("bin/cargo-deny");
    let version = format!("cargo-deny {CARGO_DENY}");
    let found = cmd!(shell, "{program} --version").quiet().ignore_stderr().read();
    if found.is_ok_and(|found| found.trim() == version) {
        return Ok(program);
    }
    say(&format!("{version} isn't there: building it in {TOOLS}, which takes minutes"));
    cmd!(
        shell,
        "cargo install --quiet --locked --root {TOOLS} --target-dir {TOOLS}/build
            --version ={CARGO_DENY} cargo-deny"
    )
    .quiet()
    .run()?;
    // What it was built of is ten times as large.
    shell.remove_path(shell.current_dir().join(TOOLS).join("build"))?;
    Ok(program)
}

//! axe-core, by which the checks find what keeps people out of a page: a package of npm, unpacked
//! below the target directory.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use xshell::{Shell, cmd};

use crate::{Result, say};

/// The version, and in the second file its checksum, which npm compares.
const MANIFESTS: [(&str, &str); 2] = [
    ("package.json", include_str!("../../browser/package.json")),
    ("package-lock.json", include_str!("../../browser/package-lock.json")),
];

/// Without the suffix, under which it is being unpacked.
const DIRECTORY: &str = "target/browser/axe-core";

const SCRIPT: &str = "node_modules/axe-core/axe.min.js";

pub(super) const HOW_TO_GET_IT: &str =
    "the browser checks need axe-core, which npm gets, and there is no npm.
    Debian: apt-get install npm    Fedora: dnf install npm    macOS: brew install node
    Where CI is set and this is root on Debian, it is installed without asking.";

/// Returns the path of the script, if it is there in the version that is asked for.
pub(super) fn find(shell: &Shell) -> Option<PathBuf> {
    let directory = shell.current_dir().join(DIRECTORY);
    let is_current = |(name, content): (&str, &str)| {
        fs::read_to_string(directory.join(name)).is_ok_and(|there| there == content)
    };
    MANIFESTS.into_iter().all(is_current).then(|| directory.join(SCRIPT))
}

pub(super) fn has_npm() -> bool {
    Command::new("npm").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Downloads the package from the registry that npm is set to. Nothing of it is run here.
pub(super) fn download(shell: &Shell) -> Result<PathBuf> {
    say(&format!("downloading axe-core to {DIRECTORY}"));
    let complete = shell.current_dir().join(DIRECTORY);
    // What an interrupted download leaves isn't taken for the package.
    let partial = complete.with_extension("partial");
    shell.remove_path(&partial)?;
    for (name, content) in MANIFESTS {
        shell.write_file(partial.join(name), content)?;
    }
    let directory = shell.push_dir(&partial);
    cmd!(shell, "npm ci --ignore-scripts --no-audit --no-fund --loglevel=error")
        .quiet()
        .ignore_stdout()
        .run()?;
    drop(directory);
    shell.remove_path(&complete)?;
    fs::rename(partial, &complete)?;
    find(shell).ok_or_else(|| "npm has changed the manifests of axe-core".into())
}

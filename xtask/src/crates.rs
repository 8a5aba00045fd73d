//! What an application pulls in with the stores and the manager.

use std::collections::BTreeSet;

use xshell::{Shell, cmd};

use crate::Result;

const APPLICATION: [&str; 2] = ["sync-session-store-sqlite", "sync-session-manager"];

/// The crates of an application on `store-sqlite` and `session-manager`, without a framework.
pub(crate) fn of_an_application(shell: &Shell) -> Result<BTreeSet<String>> {
    of(shell, &APPLICATION)
}

/// Those of them that an application on rouille hasn't got already.
pub(crate) fn beside_rouille(shell: &Shell) -> Result<BTreeSet<String>> {
    Ok(&of(shell, &APPLICATION)? - &of(shell, &["rouille"])?)
}

fn of(shell: &Shell, packages: &[&str]) -> Result<BTreeSet<String>> {
    let format = "{p}";
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    let tree = cmd!(
        shell,
        "cargo tree --locked {packages...} --edges normal --prefix none --format {format}"
    )
    .quiet()
    .read()?;
    // The name and the version; the place follows.
    let crates = tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    Ok(crates.filter(|name| !name.is_empty()).collect())
}

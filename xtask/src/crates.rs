//! What an application pulls in with the stores and the manager.

use std::collections::BTreeSet;

use xshell::{Shell, cmd};

use crate::Result;

/// The crates of an application on `store-sqlite` and `session-manager`, but for its web framework
/// and what that brings.
pub(crate) fn of_an_application(shell: &Shell) -> Result<BTreeSet<String>> {
    let format = "{p}";
    let tree = cmd!(
        shell,
        "cargo tree --locked --package sync-session-store-sqlite --package sync-session-manager
            --edges normal --prefix none --format {format}"
    )
    .quiet()
    .read()?;
    // The name and the version; the place follows.
    let crates = tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    Ok(crates.filter(|name| !name.is_empty()).collect())
}

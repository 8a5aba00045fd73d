//! What an application pulls in with the stores and the manager.

use std::collections::BTreeSet;

use xshell::{Shell, cmd};

use crate::Result;

/// The crates of an application on `store-sqlite` and `session-manager` with its feature `rouille`,
/// but for those that only rouille brings, which the application has anyway.
pub(crate) fn of_an_application(shell: &Shell) -> Result<BTreeSet<String>> {
    // After the depth.
    let format = "/{p}";
    let tree = cmd!(
        shell,
        "cargo tree --locked --package sync-session-store-sqlite --package sync-session-manager
            --features sync-session-manager/rouille --edges normal --prefix depth --no-dedupe
            --format {format}"
    )
    .quiet()
    .read()?;
    Ok(outside_of(&tree, "rouille"))
}

/// The crates of a tree that can be reached without going through this one.
fn outside_of(tree: &str, outsider: &str) -> BTreeSet<String> {
    let mut crates = BTreeSet::new();
    let mut inside_of = None;
    for line in tree.lines() {
        // The depth, the name, the version; the place follows.
        let Some((depth, package)) = line.split_once('/') else { continue };
        let Ok(depth) = depth.parse::<usize>() else { continue };
        if inside_of.is_some_and(|outer| depth > outer) {
            continue;
        }
        let mut words = package.split(' ');
        let name = words.next().unwrap_or_default();
        inside_of = (name == outsider).then_some(depth);
        if inside_of.is_none() {
            crates.insert(format!("{name} {}", words.next().unwrap_or_default()));
        }
    }
    crates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_outsider_brings_is_left_out() {
        let tree = "0/app v1 (/app)\n1/outsider v1\n2/inner v1\n2/shared v1\n1/shared v1\n2/deep v1\n\n0/second v2";
        let crates = outside_of(tree, "outsider");
        assert_eq!(
            crates.iter().collect::<Vec<_>>(),
            ["app v1", "deep v1", "second v2", "shared v1"]
        );
    }
}

//! The oldest Rust: the `rust-version` of the workspace is true for what the libraries depend on,
//! here and in an application.

use std::path::Path;

use xshell::{Shell, cmd};

use super::{Metadata, Package};
use crate::Result;

/// No package that the libraries are locked to declares a newer Rust than theirs. Those of tests
/// may.
pub(super) fn check_locked(
    shell: &Shell,
    root: &Path,
    workspace: &Metadata,
    problems: &mut Vec<String>,
) -> Result {
    let locked = Metadata::of_dependencies(shell, root)?;
    let libraries: Vec<&str> = workspace.published().map(Package::id).collect();
    check(&locked.compiled_for(&libraries), oldest(workspace)?, "Cargo.lock", problems);
    Ok(())
}

/// An application that states the same oldest Rust and has no lock file gets packages that work
/// with it: cargo prefers those, but takes others if there are none, or none that says so. Returns
/// what couldn't be checked on this machine, if anything.
pub(super) fn resolve(
    shell: &Shell,
    application: &Path,
    workspace: &Metadata,
) -> Result<Option<String>> {
    shell.remove_path(application.join("Cargo.lock"))?;
    let mut unchecked = None;
    let manifest = application.join("Cargo.toml");
    let resolve = |flags: &[&str]| {
        cmd!(shell, "cargo generate-lockfile --quiet --manifest-path {manifest} {flags...}").quiet()
    };
    if resolve(&[]).run().is_err() {
        // The registry isn't there, or the libraries can't be resolved at all, which fails again.
        resolve(&["--offline"]).run()?;
        unchecked = Some(
            "the newest packages for a fresh application. The registry didn't answer, so cargo \
             chose from those on this machine."
                .to_owned(),
        );
    }
    let resolved = Metadata::of_dependencies(shell, application)?;
    let packages: Vec<_> = resolved.packages().collect();
    let mut problems = Vec::new();
    check(&packages, oldest(workspace)?, "a fresh application", &mut problems);
    if problems.is_empty() { Ok(unchecked) } else { Err(problems.join("\n").into()) }
}

/// The oldest Rust that the published packages share.
pub(super) fn oldest(workspace: &Metadata) -> Result<&str> {
    let mut stated = workspace.published().map(Package::rust_version);
    let oldest = stated.next().flatten().ok_or("no published package has a rust-version")?;
    if stated.any(|other| other != Some(oldest)) {
        return Err("the published packages have different rust-versions".into());
    }
    Ok(oldest)
}

fn check(packages: &[Package<'_>], oldest: &str, place: &str, problems: &mut Vec<String>) {
    for package in packages {
        if let Some(wanted) = package.rust_version()
            && is_newer(wanted, oldest)
        {
            let (name, version) = (package.name(), package.version());
            problems.push(format!("{place}: {name} {version} needs Rust {wanted}, not {oldest}"));
        }
    }
}

/// Whether a version of Rust is newer than another; the last parts may be missing.
fn is_newer(version: &str, other: &str) -> bool {
    let parts = |version: &str| {
        let mut parts = [0_u32; 3];
        for (part, digits) in parts.iter_mut().zip(version.split('.')) {
            *part = digits.parse().unwrap_or_default();
        }
        parts
    };
    parts(version) > parts(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(is_newer("1.100", "1.90"));
        assert!(is_newer("1.90.1", "1.90"));
        assert!(!is_newer("1.90.0", "1.90"));
        assert!(!is_newer("1.9", "1.90"));
    }
}

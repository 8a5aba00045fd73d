//! `cargo xtask test-packages`: what reaches an application, which has neither this workspace nor
//! its lock file. What needs no build is checked by `cargo xtask tidy`.

mod bounds;
mod metadata;
mod oldest_rust;
mod packed;
mod readme_program;

use std::path::Path;

use xshell::{Shell, cmd};

use self::metadata::{Metadata, Package};
use self::packed::Packages;
use crate::{Result, bench, say};

/// What the names of the published packages begin with. Shorter names are taken on the registry:
/// `store-sqlite` is a stranger's.
const PREFIX: &str = "sync-session-";

/// The packages that have examples. Those of the stores need the session manager, which depends on
/// none of them.
const WITH_EXAMPLES: [&str; 2] = ["sync-session-manager", "sync-session-store-conformance"];

/// The profile of the workspace, which the packages don't have: the dependencies that the tests
/// have compiled are theirs, too.
const PROFILE: (&str, &str) = ("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");

/// Makes the packages, and builds and resolves applications that depend on them. Returns what
/// couldn't be checked on this machine, if anything.
pub(crate) fn run(shell: &Shell, root: &Path) -> Result<Option<String>> {
    let _profile = shell.push_env(PROFILE.0, PROFILE.1);
    let workspace = Metadata::of_packages(shell, root)?;
    let target = bench::target_directory(root)?;
    // What the steps without the registry need, if no step before this one has got it yet.
    cmd!(shell, "cargo fetch --locked --quiet").quiet().run()?;
    say("cargo package, of all that is published");
    let packages = Packages::make(shell, &target, &workspace)?;
    say("an application on what was packed, with all features");
    let application = packages.make_application(shell)?;
    compile(shell, &["check"], &application, root, &target)?;
    say("the smallest program of README.md");
    let address = readme_program::free_address()?;
    let program = readme_program::make(shell, root, &packages, address)?;
    compile(shell, &["build"], &program, root, &target)?;
    readme_program::visit(shell, &target, address)?;
    for package in WITH_EXAMPLES {
        say(&format!("the examples of {package}"));
        let examples = packages.make_stand_alone(shell, package)?;
        compile(shell, &["check", "--examples", "--all-features"], &examples, root, &target)?;
    }
    say("the application on the oldest Rust, without a lock file");
    oldest_rust::resolve(shell, &application, &workspace)
}

/// Compiles the packages on the oldest Rust, with the newest and with the lowest versions of what
/// they depend on: the bounds of the manifests are true. Returns what couldn't be checked on this
/// machine.
pub(crate) fn check_bounds(shell: &Shell, root: &Path) -> Result<Vec<String>> {
    let workspace = Metadata::of_packages(shell, root)?;
    let target = bench::target_directory(root)?;
    let packages = Packages::make(shell, &target, &workspace)?;
    bounds::check(shell, &packages, &workspace, &target)
}

/// Compiles a crate that depends on the packages, with the versions that the workspace is locked
/// to: they are compiled already, and change with no release of others.
fn compile(
    shell: &Shell,
    command: &[&str],
    directory: &Path,
    root: &Path,
    target: &Path,
) -> Result {
    shell.copy_file(root.join("Cargo.lock"), directory.join("Cargo.lock"))?;
    let manifest = directory.join("Cargo.toml");
    cmd!(
        shell,
        "cargo {command...} --quiet --offline --manifest-path {manifest} --target-dir {target}"
    )
    .quiet()
    .run()?;
    Ok(())
}

/// The names of the published packages, their dependencies on each other, and the oldest Rust of
/// everything that they are locked to.
pub(crate) fn check(shell: &Shell, root: &Path, problems: &mut Vec<String>) -> Result {
    let workspace = Metadata::of_packages(shell, root)?;
    check_names(&workspace, problems);
    check_siblings(&workspace, problems);
    oldest_rust::check_locked(shell, root, &workspace, problems)
}

fn check_names(workspace: &Metadata, problems: &mut Vec<String>) {
    for package in workspace.published() {
        let name = package.name();
        if !name.starts_with(PREFIX) {
            problems.push(format!("{name}: published packages are named {PREFIX}…"));
        }
    }
}

/// Cargo leaves development dependencies out of a package if they are given by path alone. With a
/// version they would have to be on the registry before the package, and they depend on it
/// themselves.
fn check_siblings(workspace: &Metadata, problems: &mut Vec<String>) {
    for package in workspace.published() {
        for sibling in package.versioned_development_siblings() {
            let name = package.name();
            problems.push(format!("{name}: its dev-dependency {sibling} has a version"));
        }
    }
}

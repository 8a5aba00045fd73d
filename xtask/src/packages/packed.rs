//! The published packages as they reach an application: packed and unpacked again.

use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use super::{Metadata, Package};
use crate::Result;

/// The unpacked packages, and crates that depend on them.
pub(super) struct Packages<'a> {
    directory: PathBuf,
    published: Vec<Package<'a>>,
}

impl<'a> Packages<'a> {
    /// Packs the packages that are published, and unpacks them. Cargo can't pack a package that
    /// depends on one that isn't, as `xtask` does.
    ///
    /// Cargo would build them, too, but it keeps those that others depend on unpacked and compiled
    /// by version, and builds on the old ones when their sources have changed.
    pub(super) fn make(shell: &Shell, target: &Path, workspace: &'a Metadata) -> Result<Self> {
        // A tree with changes is tested like any other.
        let flags = ["--allow-dirty", "--no-verify", "--locked", "--offline", "--quiet"];
        let published: Vec<_> = workspace.published().collect();
        let names = published.iter().flat_map(|package| ["--package", package.name()]);
        cmd!(shell, "cargo package {names...} --target-dir {target} {flags...}").quiet().run()?;
        let directory = target.join("packages");
        shell.remove_path(&directory)?;
        shell.create_dir(&directory)?;
        let packages = Self { directory, published };
        for package in &packages.published {
            let archive = format!("{}-{}.crate", package.name(), package.version());
            let archive = target.join("package").join(archive);
            let directory = &packages.directory;
            // The files are new, because those in the archive are dated as in 2006, which cargo
            // takes for compiled.
            cmd!(shell, "tar -x -z -m -f {archive} -C {directory}").quiet().run()?;
        }
        Ok(packages)
    }

    /// An application that depends on all packages that are libraries, with all their features that
    /// are for applications, and states their oldest Rust.
    pub(super) fn make_application(&self, shell: &Shell) -> Result<PathBuf> {
        let dependencies: Vec<_> = self
            .published
            .iter()
            // Nothing can depend on a program.
            .filter(|package| package.is_library())
            .map(|package| {
                // One of them is for models of the threads, and brings crates that nobody compiles.
                let features: Vec<_> =
                    package.features().filter(|feature| *feature != "shuttle").collect();
                let (name, version) = (package.name(), package.version());
                format!("{name} = {{ version = {version:?}, features = {features:?} }}\n")
            })
            .collect();
        let manifest = format!("[dependencies]\n{}", dependencies.concat());
        self.make_crate(shell, "application", &manifest, "//! It only depends.\n\nfn main() {}\n")
    }

    /// A workspace of the packages as applications have them, without the dependencies of tests,
    /// which would make for higher versions of the others.
    pub(super) fn make_workspace(&self, shell: &Shell) -> Result<PathBuf> {
        let directory = self.directory.join("workspace");
        shell.create_dir(&directory)?;
        for package in &self.published {
            let (name, version) = (package.name(), package.version());
            let packed = self.directory.join(format!("{name}-{version}"));
            cmd!(shell, "cp -R {packed} {directory}/{name}").quiet().run()?;
            shell.remove_path(directory.join(name).join("Cargo.lock"))?;
            let manifest = directory.join(name).join("Cargo.toml");
            let text = without_tests(&shell.read_file(&manifest)?);
            shell.write_file(manifest, text)?;
        }
        let names: Vec<_> = self.published.iter().map(|package| package.name()).collect();
        let replaced: Vec<_> =
            names.iter().map(|name| format!("{name} = {{ path = {name:?} }}\n")).collect();
        let manifest = format!(
            "[workspace]\nresolver = \"3\"\nmembers = {names:?}\n\n[patch.crates-io]\n{}",
            replaced.concat()
        );
        shell.write_file(directory.join("Cargo.toml"), manifest)?;
        Ok(directory)
    }

    /// A package by itself, as somebody who looks at its examples has it.
    pub(super) fn make_stand_alone(&self, shell: &Shell, name: &str) -> Result<PathBuf> {
        let package = self.published.iter().copied().find(|package| package.name() == name);
        let version = package.map(Package::version).ok_or("there is no such package")?;
        let directory = self.directory.join(format!("{name}-alone"));
        let packed = self.directory.join(format!("{name}-{version}"));
        cmd!(shell, "cp -R {packed} {directory}").quiet().run()?;
        let path = directory.join("Cargo.toml");
        let manifest = shell.read_file(&path)?;
        let others = self.replacements(|package| package.name() != name);
        shell.write_file(path, format!("{manifest}\n[workspace]\n\n{others}"))?;
        Ok(directory)
    }

    /// The libraries among the packages in place of those on the registry, which doesn't have them
    /// before the release.
    fn replacements(&self, is_wanted: impl Fn(&Package<'_>) -> bool) -> String {
        let wanted = |package: &&Package<'_>| package.is_library() && is_wanted(package);
        let packages = self.published.iter().filter(wanted).map(|package| {
            let (name, version) = (package.name(), package.version());
            format!("{name} = {{ path = \"../{name}-{version}\" }}\n")
        });
        format!("[patch.crates-io]\n{}", packages.collect::<String>())
    }

    /// A crate outside the workspace with these dependencies and this program.
    pub(super) fn make_crate(
        &self,
        shell: &Shell,
        name: &str,
        dependencies: &str,
        program: &str,
    ) -> Result<PathBuf> {
        let packages = self.replacements(|_| true);
        let oldest = self.published.first().and_then(|package| package.rust_version());
        let manifest = format!(
            "[package]\nname = {name:?}\nedition = \"2024\"\nrust-version = {:?}\n\n\
             {dependencies}\n[workspace]\n\n{packages}",
            oldest.unwrap_or_default(),
        );
        let directory = self.directory.join(name);
        shell.write_file(directory.join("Cargo.toml"), manifest)?;
        shell.write_file(directory.join("src/main.rs"), program)?;
        Ok(directory)
    }
}

/// A manifest without the dependencies of tests. Cargo has written it, with a table for each.
fn without_tests(manifest: &str) -> String {
    let mut is_kept = true;
    let lines = manifest.split_inclusive('\n').filter(|line| {
        if line.starts_with('[') {
            is_kept = !line.contains("dev-dependencies");
        }
        is_kept
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_of_tests_are_left_out() {
        let manifest = "[dependencies.a]\nversion = \"1\"\n\n[dev-dependencies.b]\nversion = \"2\"\n\n\
                        [target.'cfg(unix)'.dev-dependencies.c]\nversion = \"3\"\n[features]\nd = []\n";
        let kept = "[dependencies.a]\nversion = \"1\"\n\n[features]\nd = []\n";
        assert_eq!(without_tests(manifest), kept);
    }
}

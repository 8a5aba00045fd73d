//! What `cargo metadata` says about packages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use xshell::{Shell, cmd};

use crate::Result;

/// The packages of a workspace, or those and all that they depend on.
pub(super) struct Metadata(Value);

impl Metadata {
    /// The packages of the workspace in this directory.
    pub(super) fn of_packages(shell: &Shell, directory: &Path) -> Result<Self> {
        Self::read(shell, directory, &["--no-deps"])
    }

    /// The packages of the workspace in this directory with all their features, and all packages
    /// that they are locked to.
    pub(super) fn of_dependencies(shell: &Shell, directory: &Path) -> Result<Self> {
        Self::read(shell, directory, &["--all-features"])
    }

    fn read(shell: &Shell, directory: &Path, flags: &[&str]) -> Result<Self> {
        let manifest = directory.join("Cargo.toml");
        let metadata = cmd!(
            shell,
            "cargo metadata --format-version 1 --locked --manifest-path {manifest} {flags...}"
        );
        Ok(Self(serde_json::from_str(&metadata.quiet().read()?)?))
    }

    /// The packages of the workspace that go to the registry.
    pub(super) fn published(&self) -> impl Iterator<Item = Package<'_>> {
        let members: BTreeSet<&str> = strings(&self.0["workspace_members"]).collect();
        self.packages()
            .filter(move |package| members.contains(package.id()) && package.is_published())
    }

    /// These packages, and what is compiled for them: all that they depend on, but for their tests.
    pub(super) fn compiled_for<'a>(&'a self, roots: &[&'a str]) -> Vec<Package<'a>> {
        let nodes: BTreeMap<&str, &Value> =
            list(&self.0["resolve"]["nodes"]).map(|node| (text(&node["id"]), node)).collect();
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = roots.to_vec();
        while let Some(id) = open.pop() {
            if !found.insert(id) {
                continue;
            }
            let dependencies = nodes.get(id).into_iter().flat_map(|node| list(&node["deps"]));
            open.extend(
                dependencies
                    .filter(|dependency| {
                        list(&dependency["dep_kinds"]).any(|kind| kind["kind"] != "dev")
                    })
                    .map(|dependency| text(&dependency["pkg"])),
            );
        }
        self.packages().filter(|package| found.contains(package.id())).collect()
    }

    /// All packages.
    pub(super) fn packages(&self) -> impl Iterator<Item = Package<'_>> {
        list(&self.0["packages"]).map(Package)
    }
}

/// A version of a package.
#[derive(Clone, Copy)]
pub(super) struct Package<'a>(&'a Value);

impl<'a> Package<'a> {
    pub(super) fn id(self) -> &'a str {
        text(&self.0["id"])
    }

    pub(super) fn name(self) -> &'a str {
        text(&self.0["name"])
    }

    pub(super) fn version(self) -> &'a str {
        text(&self.0["version"])
    }

    /// The oldest Rust that it declares, if it declares one.
    pub(super) fn rust_version(self) -> Option<&'a str> {
        self.0["rust_version"].as_str()
    }

    /// Whether others can depend on it.
    pub(super) fn is_library(self) -> bool {
        list(&self.0["targets"]).any(|target| strings(&target["kind"]).any(|kind| kind == "lib"))
    }

    /// The names of its features.
    pub(super) fn features(self) -> impl Iterator<Item = &'a str> {
        self.0["features"].as_object().into_iter().flat_map(|all| all.keys().map(String::as_str))
    }

    /// The packages of the workspace that its tests depend on in a certain version.
    pub(super) fn versioned_development_siblings(self) -> impl Iterator<Item = &'a str> {
        list(&self.0["dependencies"])
            .filter(|dependency| dependency["kind"] == "dev" && !dependency["path"].is_null())
            .filter(|dependency| dependency["req"] != "*")
            .map(|dependency| text(&dependency["name"]))
    }

    /// Without `publish` in its manifest a package may go to every registry, and with
    /// `publish = false` to those of an empty list.
    fn is_published(self) -> bool {
        self.0["publish"].as_array().is_none_or(|registries| !registries.is_empty())
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    list(value).map(text)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

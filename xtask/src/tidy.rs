//! `cargo xtask tidy`: what the tree promises of itself and no other tool checks.

mod changelog;
mod comments;
mod messages;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xshell::Shell;

use crate::{Result, crates, packages};

/// More than this is too many crates for an application.
const MAX_CRATES: usize = 50;

/// Where pages of documentation are: those of the tree, and the guides of the crates.
const PAGES: [&str; 6] = [
    "docs",
    "session-manager/cli",
    "session-manager/docs",
    "store-mysql/docs",
    "store-ql-compat/docs",
    "store-sqlite/docs",
];

/// Checks the tree and lists everything that is wrong with it.
pub(crate) fn run(shell: &Shell, root: &Path) -> Result {
    let mut problems = Vec::new();
    check_dependencies(root, &mut problems)?;
    changelog::check(root, &mut problems)?;
    comments::check(root, &mut problems)?;
    messages::check(root, &mut problems)?;
    check_absences(root, &mut problems)?;
    check_links(root, &mut problems)?;
    check_named_tests(root, &mut problems)?;
    check_go_codec(root, &mut problems)?;
    check_pure_rust(root, &mut problems)?;
    check_crates(shell, &mut problems)?;
    packages::check(shell, root, &mut problems)?;
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n").into()) }
}

/// Every dependency of the workspace states its reason in a comment above it, and every crate takes
/// versions and lints from the workspace.
fn check_dependencies(root: &Path, problems: &mut Vec<String>) -> Result {
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    // One a line or all on one.
    let list = manifest.split_once("\nmembers = [").and_then(|(_, rest)| rest.split_once(']'));
    let members: Vec<&str> =
        list.map_or(Vec::new(), |(list, _)| list.split('"').skip(1).step_by(2).collect());
    let mut section = "";
    let mut explained = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[workspace.dependencies]" && line.contains('=') {
            if !explained && !line.contains("path =") {
                problems.push(format!("Cargo.toml: no reason stands above {line:?}"));
            }
            explained = false;
            continue;
        }
        explained = line.starts_with('#');
    }
    if members.is_empty() {
        problems.push("Cargo.toml: no members found".to_owned());
    }
    for member in members {
        let manifest = fs::read_to_string(root.join(member).join("Cargo.toml"))?;
        if !manifest.contains("[lints]\nworkspace = true") {
            problems.push(format!("{member}: its lints aren't the workspace's"));
        }
        let mut in_dependencies = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                in_dependencies = line.ends_with("dependencies]");
            } else if in_dependencies && line.contains('=') && !is_inherited(line) {
                problems.push(format!("{member}: {line:?} has a version of its own"));
            }
        }
    }
    Ok(())
}

/// Whether a dependency's version is the workspace's, or it has none: development dependencies on
/// each other are given by path alone, which [`packages::check`] requires of them.
fn is_inherited(dependency: &str) -> bool {
    dependency.contains("workspace = true")
        || dependency.contains("path = \"..") && !dependency.contains("version =")
}

/// The invariants of `docs/architecture.md` that are absences.
fn check_absences(root: &Path, problems: &mut Vec<String>) -> Result {
    for (directory, absent, why) in [
        ("store-core/src", "rusqlite", "store-core knows no database"),
        ("store-core/src", "SELECT ", "store-core contains no SQL"),
        ("store-core/src", "thread::park", "the cleanup thread waits for its channel alone"),
        ("store-sqlite/src", "REPLACE INTO", "an upsert never deletes the row"),
        ("store-ql-compat/src", "Local::", "no local time zone plays a part"),
        ("store-sqlite/src", "Local", "no local time zone plays a part"),
    ] {
        for path in files(&root.join(directory), "rs")? {
            if fs::read_to_string(&path)?.contains(absent) {
                problems.push(format!("{}: {absent:?} ({why})", path.display()));
            }
        }
    }
    Ok(())
}

/// Links from one Markdown file to another file of the tree lead somewhere.
fn check_links(root: &Path, problems: &mut Vec<String>) -> Result {
    let mut pages = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    for directory in PAGES {
        pages.extend(files(&root.join(directory), "md")?);
    }
    for page in pages {
        let text = fs::read_to_string(&page)?;
        // A guide in a crate defines some of its links at its end, where rustdoc has others.
        let definitions = text.lines().filter(|line| line.starts_with('['));
        let definitions = definitions.filter_map(|line| line.split_once("]: "));
        let links = text.split("](").skip(1).chain(definitions.map(|(_, target)| target));
        for link in links {
            let target = link.split([')', '#']).next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains("://");
            if !elsewhere && !page.with_file_name(target).exists() {
                problems.push(format!("{}: the link to {target} is dead", page.display()));
            }
        }
    }
    Ok(())
}

/// The Go codec that the page shows is the one that `cargo xtask interop` compiles.
fn check_go_codec(root: &Path, problems: &mut Vec<String>) -> Result {
    let codec = fs::read_to_string(root.join("xtask/interop/codec.go"))?;
    let page = fs::read_to_string(root.join("session-manager/docs/from-scs.md"))?;
    if !page.contains(&format!("```go\n{codec}```")) {
        problems.push(
            "session-manager/docs/from-scs.md: it doesn't show xtask/interop/codec.go".to_owned(),
        );
    }
    Ok(())
}

/// Nothing that store-ql-compat depends on compiles or links a C library: by convention such crates
/// are named `-sys`, and they build with one of the others. What remains speaks to the operating
/// system: `libc` declares what is linked into every Rust program anyway, and `rustix` makes system
/// calls by itself.
fn check_pure_rust(root: &Path, problems: &mut Vec<String>) -> Result {
    // The dependencies on all systems, where Windows has bindings of its own that need no compiler
    // either.
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "sync-session-store-ql-compat", "--edges", "normal,build"])
        .args(["--target", "all", "--prefix", "none", "--locked"])
        .current_dir(root)
        .output()?;
    let names: Vec<String> = String::from_utf8(tree.stdout)?
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    if !tree.status.success() || !names.iter().any(|name| name == "redb") {
        problems.push("cargo tree doesn't show the dependencies of store-ql-compat".to_owned());
    }
    for name in names {
        let is_binding = name.ends_with("-sys") && !OF_THE_SYSTEM.contains(&&*name);
        if is_binding || ["cc", "cmake", "pkg-config", "bindgen"].contains(&&*name) {
            problems.push(format!("store-ql-compat: {name} in its dependencies needs C"));
        }
    }
    Ok(())
}

/// Declarations of what the system has, without a library of their own.
const OF_THE_SYSTEM: [&str; 2] = ["linux-raw-sys", "windows-sys"];

/// An application stays light.
fn check_crates(shell: &Shell, problems: &mut Vec<String>) -> Result {
    let crates = crates::of_an_application(shell)?;
    if crates.len() > MAX_CRATES {
        problems.push(format!("{} crates, more than {MAX_CRATES}: {crates:?}", crates.len()));
    }
    Ok(())
}

/// The tests that the guides of the session manager name are there.
fn check_named_tests(root: &Path, problems: &mut Vec<String>) -> Result {
    let mut sources = String::new();
    for member in ["store-core", "store-sqlite", "session-manager", "xtask"] {
        for path in files(&root.join(member), "rs")? {
            sources += &fs::read_to_string(path)?;
        }
    }
    let is_there = |name: &str| {
        sources.contains(&format!("fn {name}(")) || sources.contains(&format!("fn {name}<"))
    };
    let security = "session-manager/docs/security.md";
    let page = fs::read_to_string(root.join(security))?;
    // Names of tests are sentences; those of methods are shorter.
    let sentences = in_backticks(&page).filter(|name| {
        name.matches('_').count() >= 3
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    });
    let of_security = sentences.map(|name| (security, name));

    let peers = "session-manager/docs/peers.md";
    let peers_page = fs::read_to_string(root.join(peers))?;
    // The columns before the last one have the names of other libraries' tests.
    let rows = peers_page.lines().filter_map(|row| row.strip_suffix(" |")?.rsplit_once("| "));
    let of_peers = rows.flat_map(|(_, own)| in_backticks(own)).map(|name| (peers, name));

    let missing = of_security.chain(of_peers).filter(|(_, name)| !is_there(name));
    problems.extend(missing.map(|(page, name)| format!("{page}: there is no test {name}")));
    Ok(())
}

/// What a text has in backticks.
fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// All files with this extension below a directory.
fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, extension)?);
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    Ok(found)
}

/// All files of the project: neither what was built nor what git keeps.
fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let name = entry.file_name();
        if !entry.file_type()?.is_dir() {
            found.push(entry.path());
        } else if name != "target" && !name.to_string_lossy().starts_with('.') {
            found.extend(sources(&entry.path())?);
        }
    }
    Ok(found)
}

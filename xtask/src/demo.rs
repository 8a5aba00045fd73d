//! `cargo xtask demo`: the example of a store, started with an address and a database.

use std::path::{Path, PathBuf};
use std::process::Command;

use xshell::{Shell, cmd};

use crate::{Result, flags};

/// A store with an example named `demo`.
struct Store {
    name: &'static str,
    package: &'static str,
    /// Runs the example, which is given with its address, on a database.
    run: fn(&Shell, Command, Option<PathBuf>) -> Result,
}

/// The first is the default.
const STORES: [Store; 1] = [Store { name: "sqlite", package: "store-sqlite", run: on_file }];

/// Builds the demo and runs it; `start` is where the person is.
pub(crate) fn run(shell: &Shell, start: &Path, flags: flags::Demo) -> Result {
    let name = flags.store.as_deref().unwrap_or(STORES[0].name);
    let Some(Store { package, run, .. }) = STORES.iter().find(|store| store.name == name) else {
        let names = STORES.map(|store| store.name).join(", ");
        return Err(format!("there is no store {name:?}; the stores are: {names}").into());
    };
    cmd!(shell, "cargo build --quiet --package {package} --example demo").quiet().run()?;
    let mut demo = Command::new(example()?);
    demo.arg(flags.addr.as_deref().unwrap_or("127.0.0.1:4000"));
    // A path that was given counts from where the person is, not from the root of the workspace.
    run(shell, demo, flags.path.map(|path| start.join(path)))
}

/// Becomes the demo, so that whatever stops this process stops the demo.
fn on_file(shell: &Shell, mut demo: Command, path: Option<PathBuf>) -> Result {
    let path = path.unwrap_or_else(|| shell.current_dir().join("target/demo/demo.db"));
    if let Some(directory) = path.parent() {
        shell.create_dir(directory)?;
    }
    become_command(demo.arg(path))
}

/// The program of the demo: beside this very program, wherever the target directory is.
pub(crate) fn example() -> Result<PathBuf> {
    let mut example = std::env::current_exe()?;
    example.pop();
    example.push(format!("examples/demo{}", std::env::consts::EXE_SUFFIX));
    Ok(example)
}

#[cfg(unix)]
fn become_command(command: &mut Command) -> Result {
    use std::os::unix::process::CommandExt as _;

    Err(command.exec().into())
}

#[cfg(not(unix))]
fn become_command(command: &mut Command) -> Result {
    match command.status()? {
        status if status.success() => Ok(()),
        status => Err(format!("the demo ended with {status}").into()),
    }
}

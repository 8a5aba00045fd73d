//! `cargo xtask demo`: the example of a store, started with an address and a database.

use std::path::{Path, PathBuf};
use std::process::Command;

use xshell::{Shell, cmd};

use crate::{Result, flags};

/// Builds the demo and becomes it, so that whatever stops this process stops the demo.
pub(crate) fn run(shell: &Shell, start: &Path, flags: flags::Demo) -> Result {
    let store = flags.store.as_deref().unwrap_or("sqlite");
    let (package, name, file) = match store {
        "sqlite" => ("store-sqlite", "demo", "demo.db"),
        "ql" => ("store-ql-compat", "demo-ql", "demo.redb"),
        _ => {
            return Err(format!("there is no store {store:?}; the stores are: sqlite, ql").into());
        }
    };
    let address = flags.addr.unwrap_or_else(|| "127.0.0.1:4000".to_owned());
    // A path that was given counts from where the person is, not from the root of the workspace.
    let path = match flags.path {
        Some(path) => start.join(path),
        None => shell.current_dir().join("target/demo").join(file),
    };
    if let Some(directory) = path.parent() {
        shell.create_dir(directory)?;
    }

    cmd!(shell, "cargo build --quiet --package {package} --example {name}").quiet().run()?;
    become_command(Command::new(example(name)?).arg(address).arg(path))
}

/// The program of a demo: beside this very program, wherever the target directory is.
pub(crate) fn example(name: &str) -> Result<PathBuf> {
    let mut example = std::env::current_exe()?;
    example.pop();
    example.push(format!("examples/{name}{}", std::env::consts::EXE_SUFFIX));
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

//! `cargo xtask demo`: the example of a store, started with an address and a database.

use std::path::{Path, PathBuf};
use std::process::Command;

use test_servers::{Installation, PrivateServer, Product, ServerOptions};
use xshell::{Shell, cmd};

use crate::{Result, flags, say};

/// A store that has an example.
struct Store {
    name: &'static str,
    package: &'static str,
    example: &'static str,
    /// The file that it keeps sessions in by default, below target/demo; others need a server.
    file: Option<&'static str>,
}

/// The first is the default.
const STORES: [Store; 3] = [
    Store {
        name: "sqlite",
        package: "sync-session-store-sqlite",
        example: "demo",
        file: Some("demo.db"),
    },
    Store { name: "mysql", package: "sync-session-store-mysql", example: "demo-mysql", file: None },
    Store {
        name: "ql",
        package: "sync-session-store-ql-compat",
        example: "demo-ql",
        file: Some("demo.redb"),
    },
];

/// Builds the demo and runs it; `start` is where the person is.
pub(crate) fn run(shell: &Shell, start: &Path, flags: flags::Demo) -> Result {
    let name = flags.store.as_deref().unwrap_or(STORES[0].name);
    let Some(Store { package, example, file, .. }) = STORES.iter().find(|store| store.name == name)
    else {
        let names: Vec<_> = STORES.iter().map(|store| store.name).collect();
        let names = names.join(", ");
        return Err(format!("there is no store {name:?}; the stores are: {names}").into());
    };
    cmd!(shell, "cargo build --quiet --package {package} --example {example}").quiet().run()?;
    let mut demo = Command::new(self::example(example)?);
    demo.arg(flags.addr.as_deref().unwrap_or("127.0.0.1:4000"));
    // A path that was given counts from where the person is, not from the root of the workspace.
    let path = flags.path.map(|path| start.join(path));
    match file {
        Some(file) => {
            let default = || shell.current_dir().join("target/demo").join(file);
            on_file(shell, demo, &path.unwrap_or_else(default))
        }
        None if path.is_some() => {
            Err("--path is for stores that keep sessions in a file; DATABASE_URL names a server"
                .into())
        }
        None => on_server(demo),
    }
}

/// Becomes the demo, so that whatever stops this process stops the demo.
fn on_file(shell: &Shell, mut demo: Command, path: &Path) -> Result {
    if let Some(directory) = path.parent() {
        shell.create_dir(directory)?;
    }
    become_command(demo.arg(path))
}

/// Starts a server for as long as the demo runs, unless `DATABASE_URL` names one.
fn on_server(mut demo: Command) -> Result {
    if std::env::var_os("DATABASE_URL").is_some() {
        return become_command(&mut demo);
    }
    let installation = Installation::obtain(Product::from_env()?)?;
    let server = PrivateServer::start(&installation, ServerOptions::new())?;
    server.execute("CREATE DATABASE demo")?;
    say(&format!("{} {} is on {}", server.product(), installation.version(), server.address()));
    // This process has to stay, because the server ends with it.
    finish(demo.env("DATABASE_URL", format!("{}/demo", server.url())))
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
    finish(command)
}

/// Runs the demo to its end.
fn finish(command: &mut Command) -> Result {
    match command.status()? {
        status if status.success() => Ok(()),
        status => Err(format!("the demo ended with {status}").into()),
    }
}

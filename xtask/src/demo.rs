//! `cargo xtask demo`: the demo, built with a store and started with an address and a database.

mod prerequisites;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use test_servers::{Installation, PrivateServer, Release, ServerOptions};
use xshell::{Shell, cmd};

use crate::{Result, flags, say};

/// The stores, by the names of the demo's features, and the files below target/demo in which they
/// keep sessions by default; those without one need a server. The first is the default.
const STORES: [(&str, Option<&str>); 3] =
    [("sqlite", Some("demo.db")), ("mysql", None), ("ql", Some("demo.redb"))];

/// As long as 65 s of processor time are, and what else the machine does.
const BUILD_TIME: &str = "the first time that takes a minute or two, later seconds";

/// Builds the demo and runs it; `start` is where the person is.
pub(crate) fn run(shell: &Shell, start: &Path, flags: flags::Demo) -> Result {
    let name = flags.store.as_deref().unwrap_or(STORES[0].0);
    let Some((store, file)) = STORES.into_iter().find(|(store, _)| *store == name) else {
        let names = STORES.map(|(store, _)| store).join(", ");
        return Err(format!("there is no store {name:?}; the stores are: {names}").into());
    };
    prerequisites::check(store)?;
    say(&format!("building the demo with the store {store}: {BUILD_TIME}"));
    let features = if flags.metrics { format!("{store},metrics") } else { store.to_owned() };
    let mut demo = Command::new(build(shell, &features)?);
    demo.arg(store).arg(flags.addr.as_deref().unwrap_or("127.0.0.1:4000"));
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

/// Builds the demo with these of its features, and returns its program.
fn build(shell: &Shell, features: &str) -> Result<PathBuf> {
    cmd!(
        shell,
        "cargo build --quiet --package sessions-demo --no-default-features --features {features}"
    )
    .quiet()
    .run()?;
    // Next to this very program, wherever the target directory is.
    let name = format!("sessions-demo{}", env::consts::EXE_SUFFIX);
    Ok(env::current_exe()?.with_file_name(name))
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
    if env::var_os("DATABASE_URL").is_some() {
        return become_command(&mut demo);
    }
    let installation = Installation::obtain(Release::from_env()?)?;
    let server = PrivateServer::start(&installation, ServerOptions::new())?;
    server.execute("CREATE DATABASE demo")?;
    say(&format!("{} {} is on {}", server.product(), installation.version(), server.address()));
    // This process has to stay, because the server ends with it.
    finish(demo.env("DATABASE_URL", format!("{}/demo", server.url())))
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

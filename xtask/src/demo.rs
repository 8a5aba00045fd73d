//! `cargo xtask demo`: the example of a store, started with an address and a database.

use std::path::Path;

use xshell::{Shell, cmd};

use crate::{Result, flags};

/// Builds the demo and serves it until it is stopped.
pub(crate) fn run(shell: &Shell, start: &Path, flags: flags::Demo) -> Result {
    let store = flags.store.as_deref().unwrap_or("sqlite");
    if store != "sqlite" {
        return Err(format!("there is no store {store:?}; the stores are: sqlite").into());
    }
    let address =
        flags.addr.map_or_else(|| "127.0.0.1:4000".to_owned(), |address| address.to_string());
    // A path that was given counts from where the person is, not from the root of the workspace.
    let path = match flags.path {
        Some(path) => start.join(path),
        None => shell.current_dir().join("target/demo/demo.db"),
    };
    if let Some(directory) = path.parent() {
        shell.create_dir(directory)?;
    }
    cmd!(shell, "cargo run --quiet --package store-sqlite --example demo -- {address} {path}")
        .quiet()
        .run()?;
    Ok(())
}

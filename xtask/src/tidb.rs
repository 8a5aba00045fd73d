//! `cargo xtask test-tidb`: tests on TiDB, which this task builds if it isn't there.

use test_servers::{TidbServer, URL_VARIABLE};
use xshell::{Shell, cmd};

use crate::{Result, say};

/// Builds and starts the server, and runs the tests that need none of their own on it.
pub(crate) fn run(shell: &Shell) -> Result {
    say("TiDB, which is built once, from its source: that takes long");
    let program = TidbServer::obtain_program()?;
    let server = TidbServer::start(&program)?;
    let store =
        cmd!(shell, "cargo test --locked --package sync-session-store-mysql --all-features");
    let manager = cmd!(
        shell,
        "cargo test --locked --package sync-session-manager --all-features --test every_store --test scheduler -- mysql"
    );
    for command in [store, manager] {
        say(&format!("--- {command}"));
        command.env(URL_VARIABLE, server.url()).quiet().run()?;
    }
    Ok(())
}

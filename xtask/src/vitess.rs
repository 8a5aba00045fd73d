//! `cargo xtask test-vitess`: tests on Vitess, which this task builds if it isn't there.

use test_servers::{Installation, Release, URL_VARIABLE, VitessServer};
use xshell::{Shell, cmd};

use crate::{Result, say};

/// Builds and starts the server over a MySQL, and runs the tests that need none of their own on it.
pub(crate) fn run(shell: &Shell) -> Result {
    let mysql = Installation::obtain(Release::MySql)?;
    say("Vitess, which is built once, from its source: that takes long");
    let program = VitessServer::obtain_program()?;
    let server = VitessServer::start(&program, &mysql)?;
    let store =
        cmd!(shell, "cargo test --locked --package sync-session-store-mysql --all-features");
    let manager = cmd!(
        shell,
        "cargo test --locked --package sync-session-manager --all-features --test every_store --test scheduler -- mysql"
    );
    let killed = cmd!(
        shell,
        "cargo test --locked --package sync-session-store-mysql --all-features --test server -- --ignored vitess::"
    );
    for command in [store, killed, manager] {
        say(&format!("--- {command}"));
        command.env(URL_VARIABLE, server.url()).quiet().run()?;
    }
    Ok(())
}

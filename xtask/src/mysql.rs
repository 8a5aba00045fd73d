//! `cargo xtask test-mysql`, `test-galera` and `test-proxies`: tests on servers that these tasks
//! get where they are missing.

use test_servers::{HaProxy, Installation, REQUIRED_VARIABLE, Release, SERVER_VARIABLE};
use xshell::{Cmd, Shell, cmd};

use crate::{Result, flags, say};

/// Gets the server, and runs all tests on it.
pub(crate) fn run(shell: &Shell, flags: &flags::TestMysql) -> Result {
    let release = Release::from_name(flags.server.as_deref().unwrap_or("mariadb"))?;
    obtain(release)?;
    let long = cmd!(
        shell,
        "cargo test --workspace --all-features --locked --test server -- --ignored cleanup::"
    );
    let long = long.env(SERVER_VARIABLE, release.name()).env(REQUIRED_VARIABLE, "1");
    for command in tests(shell, release).into_iter().chain([long]) {
        say(&format!("--- {command}"));
        command.quiet().run()?;
    }
    Ok(())
}

/// Gets what a cluster needs, and runs the tests on one.
pub(crate) fn run_galera(shell: &Shell) -> Result {
    let installation = Installation::obtain_with_galera()?;
    say(&format!("a cluster of {} {}", installation.product(), installation.version()));
    // One at a time, because nodes of a busy machine suspect each other.
    let one = "--test-threads=1";
    cmd!(
        shell,
        "cargo test --workspace --all-features --locked --test galera_cluster -- --ignored {one}"
    )
    .quiet()
    .run()?;
    cmd!(
        shell,
        "cargo test --workspace --all-features --locked --test server -- --ignored {one} galera::"
    )
    .quiet()
    .run()?;
    Ok(())
}

/// Gets a proxy and what a cluster needs, and runs the tests on a cluster behind the proxy.
pub(crate) fn run_proxies(shell: &Shell) -> Result {
    HaProxy::obtain()?;
    Installation::obtain_with_galera()?;
    let one = "--test-threads=1";
    cmd!(
        shell,
        "cargo test --workspace --all-features --locked --test server -- --ignored {one} haproxy::"
    )
    .quiet()
    .run()?;
    Ok(())
}

/// Gets the server, and says which version it is.
pub(crate) fn obtain(release: Release) -> Result {
    let installation = Installation::obtain(release)?;
    say(&format!("{release}: {}", installation.version()));
    Ok(())
}

/// The commands that run all tests on a release. Without a server they fail.
pub(crate) fn tests(shell: &Shell, release: Release) -> Vec<Cmd<'_>> {
    // The features are those of the other tests, so that nothing is compiled twice.
    let own = cmd!(
        shell,
        "cargo test --workspace --all-features --locked --test private_server --test server --test forks"
    );
    let of_every_store = cmd!(
        shell,
        "cargo test --workspace --all-features --locked --test every_store --test scheduler -- mysql"
    );
    [own, of_every_store]
        .map(|test| test.env(SERVER_VARIABLE, release.name()).env(REQUIRED_VARIABLE, "1"))
        .into()
}

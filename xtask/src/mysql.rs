//! `cargo xtask test-mysql` and `test-galera`: tests on servers that these tasks get where they are
//! missing.

use test_servers::{Installation, PRODUCT_VARIABLE, Product, REQUIRED_VARIABLE};
use xshell::{Cmd, Shell, cmd};

use crate::{Result, flags, say};

/// Gets the product, and runs all tests on it.
pub(crate) fn run(shell: &Shell, flags: &flags::TestMysql) -> Result {
    let product = Product::from_name(flags.server.as_deref().unwrap_or("mariadb"))?;
    obtain(product)?;
    for command in tests(shell, product) {
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
        "cargo test --locked --package test-servers --test galera_cluster -- --ignored {one}"
    )
    .quiet()
    .run()?;
    cmd!(
        shell,
        "cargo test --locked --package sync-session-store-mysql --all-features --test server -- --ignored {one} galera::"
    )
    .quiet()
    .run()?;
    Ok(())
}

/// Gets the product, and says which version it is.
pub(crate) fn obtain(product: Product) -> Result {
    let installation = Installation::obtain(product)?;
    say(&format!("{product} {}", installation.version()));
    Ok(())
}

/// The commands that run all tests on a product. Without a server they fail.
pub(crate) fn tests(shell: &Shell, product: Product) -> Vec<Cmd<'_>> {
    let server = cmd!(shell, "cargo test --locked --package test-servers --test private_server");
    let store =
        cmd!(shell, "cargo test --locked --package sync-session-store-mysql --all-features");
    let manager = cmd!(
        shell,
        "cargo test --locked --package sync-session-manager --all-features --test every_store --test scheduler -- mysql"
    );
    [server, store, manager]
        .map(|test| test.env(PRODUCT_VARIABLE, product.name()).env(REQUIRED_VARIABLE, "1"))
        .into()
}

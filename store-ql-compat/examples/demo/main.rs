//! A small rouille application that keeps its sessions in a file of redb, without a line of C.
//!
//! ```text
//! cargo run --package sync-session-store-ql-compat --example demo-ql -- 127.0.0.1:4000 target/demo.redb
//! ```
//!
//! Count your visits, leave a note, log in from two browsers, and log one of them out from the other. Stop it
//! with `kill -9` and start it again: everybody is still logged in.

#[path = "../../../store-sqlite/examples/demo/app.rs"]
mod app;

#[path = "../../../store-sqlite/examples/demo/server.rs"]
mod server;

use std::process::ExitCode;

use store_ql_compat::QlStore;

fn main() -> ExitCode {
    server::run(|path| {
        let path = path.unwrap_or_else(|| "demo.redb".to_owned());
        let store = QlStore::open(&path);
        (path, store)
    })
}

//! A small rouille application that keeps its sessions in a SQLite file.
//!
//! ```text
//! cargo run --package sync-session-store-sqlite --example demo -- 127.0.0.1:4000 target/demo.db
//! ```
//!
//! Count your visits, leave a note, log in from two browsers, and log one of them out from the other. Stop it
//! with `kill -9` and start it again: everybody is still logged in.

mod app;

mod server;

use std::process::ExitCode;

use store_sqlite::SqliteStore;

fn main() -> ExitCode {
    server::run(|path| {
        let path = path.unwrap_or_else(|| "demo.db".to_owned());
        let store = SqliteStore::open(&path);
        (path, store)
    })
}

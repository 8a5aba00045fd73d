//! A small rouille application that keeps its sessions in MySQL or MariaDB.
//!
//! ```text
//! DATABASE_URL=mysql://app:secret@localhost/app cargo run --package sync-session-store-mysql --example demo-mysql -- 127.0.0.1:4000
//! ```
//!
//! `cargo xtask demo --store mysql` starts a server for it. Count your visits, leave a note, log in from two browsers, and
//! log one of them out from the other. Stop the demo or the database with `kill -9` and start it again: everybody is still
//! logged in.

#[path = "../../../store-sqlite/examples/demo/app.rs"]
mod app;

#[path = "../../../store-sqlite/examples/demo/server.rs"]
mod server;

use std::env;
use std::process::ExitCode;

use store_mysql::{Error, MysqlOptions, MysqlStore};

fn main() -> ExitCode {
    server::run(|_| {
        let url = env::var("DATABASE_URL").unwrap_or_default();
        // The user and the password are nobody's business.
        let place = url.rsplit_once('@').map_or(&*url, |(_, place)| place).to_owned();
        let store = if url.is_empty() { Err(missing_url()) } else { open(&url) };
        (place, store)
    })
}

fn open(url: &str) -> Result<MysqlStore, Error> {
    let pool = MysqlOptions::new().pool(url)?;
    MysqlStore::create_table(&pool)?;
    MysqlStore::new(pool)
}

fn missing_url() -> Error {
    let problem = "it says where the database is: mysql://user:password@host/database".to_owned();
    Error::InvalidOption { option: "DATABASE_URL", problem }
}

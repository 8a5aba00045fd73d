//! A small rouille application that keeps its sessions in MySQL or MariaDB.
//!
//! ```text
//! DATABASE_URL=mysql://app:secret@localhost/app cargo run --package store-mysql --example mysql-demo -- 127.0.0.1:4000
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

use store_mysql::{MysqlOptions, MysqlStore};

fn main() -> ExitCode {
    server::run(|_| {
        let url = env::var("DATABASE_URL")
            .map_err(|_| "DATABASE_URL is to say where: mysql://user:password@host/database")?;
        let pool = MysqlOptions::new().pool(&url)?;
        MysqlStore::create_table(&pool)?;
        // The user and the password are nobody's business.
        let (_, place) = url.rsplit_once('@').unwrap_or(("", &url));
        Ok((MysqlStore::new(pool)?, place.to_owned()))
    })
}

//! Our stores, the drivers and engines under them, and the peer that shares their SQLite.
//!
//! A contender is a small file with a [`Row`] that the list below has.

mod mysql;

mod ours;

mod ql;

mod raw_lmdb;

mod raw_mysql;

mod raw_redb;

mod raw_sqlite;

mod sqlite;

mod tower_rusqlite;

use std::process::ExitCode;

use bench_protocol::{Entry, Measurement, Order, Result};

/// A contender.
#[derive(Clone)]
struct Row {
    name: &'static str,
    /// Contenders of one format can use one filled database.
    format: &'static str,
    version: &'static str,
    engine: fn() -> String,
    settings: &'static str,
    fill: fn(&Order) -> Result,
    /// Takes part only if there is a server.
    is_on_server: bool,
    measure: fn(&Order) -> Result<Measurement>,
}

fn main() -> ExitCode {
    let rows = || {
        // `cargo xtask bench` builds this program a second time for one contender.
        if option_env!("LIBSQLITE3_FLAGS").is_some() {
            return sqlite::UNLOCKED.to_vec();
        }
        let mut rows = [
            sqlite::ROWS,
            raw_sqlite::ROWS,
            tower_rusqlite::ROWS,
            ql::ROWS,
            raw_redb::ROWS,
            raw_lmdb::ROWS,
            mysql::ROWS,
            raw_mysql::ROWS,
        ]
        .concat();
        rows.retain(|row| !row.is_on_server || bench_protocol::url().is_some());
        rows
    };
    let row = |order: &Order| -> Result<Row> {
        let row = rows().into_iter().find(|row| row.name == order.contender);
        row.ok_or_else(|| format!("there is no contender {:?}", order.contender).into())
    };
    bench_protocol::main(
        || rows().iter().map(Row::entry).collect(),
        |order| (row(order)?.fill)(order),
        |order| (row(order)?.measure)(order),
    )
}

impl Row {
    fn entry(&self) -> Entry {
        Entry {
            name: self.name.to_owned(),
            format: self.format.to_owned(),
            version: self.version.to_owned(),
            engine: (self.engine)(),
            settings: self.settings.to_owned(),
            is_on_server: self.is_on_server,
        }
    }
}

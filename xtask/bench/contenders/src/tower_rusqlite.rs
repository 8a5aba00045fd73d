//! `tower-sessions-rusqlite-store`: one connection on a thread of its own, called from tasks.

use std::collections::HashMap;

use bench_protocol::{Measurement, Order, Peer, Result, measure_tasks, runtime, words};
use rusqlite::params;
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tower_sessions_core::SessionStore;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_rusqlite_store::RusqliteStore;
use tower_sessions_rusqlite_store::tokio_rusqlite::Connection;

use crate::{Row, raw_sqlite};

pub(crate) const ROWS: &[Row] = &[Row {
    name: "tower-sessions-rusqlite-store",
    format: "tower-rusqlite",
    version: "0.15",
    engine: raw_sqlite::engine,
    settings: "its one connection set to WAL and the durability of the scenario; a multi-thread runtime",
    fill,
    is_on_server: false,
    measure,
}];

fn record(key: u64, text: &str) -> Record {
    let (high, low) = words(key);
    let data = HashMap::from([("data".to_owned(), Value::from(text))]);
    let id = Id(i128::from(high) << 63 | i128::from(low));
    Record { id, data, expiry_date: OffsetDateTime::now_utc() + Duration::DAY }
}

fn fill(order: &Order) -> Result {
    const DDL: &str = "CREATE TABLE tower_sessions (id TEXT PRIMARY KEY NOT NULL, \
        data BLOB NOT NULL, expiry_date INTEGER NOT NULL)";
    let text = "x".repeat(order.scenario.data_len);
    raw_sqlite::bulk_fill(
        order,
        DDL,
        "INSERT INTO tower_sessions VALUES (?1, ?2, ?3)",
        |insert, key| {
            let record = record(key, &text);
            let expiry = record.expiry_date.unix_timestamp();
            insert.execute(params![record.id.to_string(), rmp_serde::to_vec(&record)?, expiry])?;
            Ok(())
        },
    )
}

fn measure(order: &Order) -> Result<Measurement> {
    let connection = rusqlite::Connection::open(&order.path)?;
    raw_sqlite::configure(&connection, order.scenario.durability, 0)?;
    let store = RusqliteStore::new(Connection::from(connection));
    measure_tasks(&runtime()?, Tower(store), order)
}

struct Tower(RusqliteStore);

impl Peer for Tower {
    async fn find(&self, key: u64) -> Result<bool> {
        Ok(self.0.load(&record(key, "").id).await?.is_some())
    }

    async fn commit(&self, key: u64, data: &str) -> Result {
        Ok(self.0.save(&record(key, data)).await?)
    }
}

//! `tower-sessions-sqlx-store` as a contender, on SQLite and on MySQL.

mod mysql;

mod sqlite;

use std::collections::HashMap;
use std::process::ExitCode;

use bench_protocol::{Measurement, Order, Peer, Result, url, words};
use serde_json::Value;
use time::OffsetDateTime;
use tower_sessions_core::SessionStore;
use tower_sessions_core::session::{Id, Record};

fn main() -> ExitCode {
    bench_protocol::main(
        || {
            let mut entries = vec![sqlite::entry()];
            entries.extend(url().map(|url| mysql::entry(&url)));
            entries
        },
        fill,
        measure,
    )
}

fn fill(order: &Order) -> Result {
    match &*order.contender {
        sqlite::NAME => sqlite::fill(order),
        mysql::NAME => mysql::fill(order),
        other => Err(format!("there is no contender {other:?}").into()),
    }
}

fn measure(order: &Order) -> Result<Measurement> {
    match &*order.contender {
        sqlite::NAME => sqlite::measure(order),
        mysql::NAME => mysql::measure(order),
        other => Err(format!("there is no contender {other:?}").into()),
    }
}

fn record(key: u64, text: &str) -> Record {
    let (high, low) = words(key);
    let data = HashMap::from([("data".to_owned(), Value::from(text))]);
    let id = Id(i128::from(high) << 63 | i128::from(low));
    Record { id, data, expiry_date: OffsetDateTime::now_utc() + time::Duration::DAY }
}

struct Tower<S>(S);

impl<S: SessionStore> Peer for Tower<S> {
    async fn find(&self, key: u64) -> Result<bool> {
        Ok(self.0.load(&record(key, "").id).await?.is_some())
    }

    async fn commit(&self, key: u64, data: &str) -> Result {
        Ok(self.0.save(&record(key, data)).await?)
    }
}

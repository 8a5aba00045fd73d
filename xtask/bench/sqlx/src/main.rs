//! `tower-sessions-sqlx-store` as a contender, on SQLite.

use std::collections::HashMap;
use std::fs::File;
use std::process::ExitCode;
use std::time::Duration;

use bench_protocol::{
    Durability, Entry, Measurement, Order, Peer, Result, measure_tasks, runtime, words,
};
use serde_json::Value;
use time::OffsetDateTime;
use tower_sessions_core::SessionStore;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_sqlx_store::SqliteStore;
use tower_sessions_sqlx_store::sqlx::query_scalar;
use tower_sessions_sqlx_store::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

fn main() -> ExitCode {
    bench_protocol::main(list, fill, measure)
}

fn list() -> Vec<Entry> {
    let engine = runtime().and_then(|runtime| {
        runtime.block_on(async {
            let pool = SqlitePool::connect("sqlite::memory:").await?;
            Ok(query_scalar::<_, String>("SELECT sqlite_version()").fetch_one(&pool).await?)
        })
    });
    vec![Entry {
        name: "tower-sessions-sqlx-store".to_owned(),
        format: "tower-sqlx".to_owned(),
        version: "0.15".to_owned(),
        engine: format!("SQLite {}", engine.unwrap_or_default()),
        settings:
            "WAL, the durability of the scenario, a pool of 8 connections; a multi-thread runtime"
                .to_owned(),
    }]
}

fn record(key: u64, text: &str) -> Record {
    let (high, low) = words(key);
    let data = HashMap::from([("data".to_owned(), Value::from(text))]);
    let id = Id(i128::from(high) << 63 | i128::from(low));
    Record { id, data, expiry_date: OffsetDateTime::now_utc() + time::Duration::DAY }
}

async fn pool(order: &Order, synchronous: SqliteSynchronous, size: u32) -> Result<SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(&order.path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(20))
        .synchronous(synchronous);
    Ok(SqlitePoolOptions::new().max_connections(size).connect_with(options).await?)
}

/// One transaction on one connection, through the store itself.
fn fill(order: &Order) -> Result {
    runtime()?.block_on(async {
        let pool = pool(order, SqliteSynchronous::Off, 1).await?;
        let store = SqliteStore::new(pool.clone());
        store.migrate().await?;
        tower_sessions_sqlx_store::sqlx::query("BEGIN").execute(&pool).await?;
        let text = "x".repeat(order.scenario.data_len);
        for key in 0..order.scenario.rows {
            store.save(&record(key, &text)).await?;
        }
        tower_sessions_sqlx_store::sqlx::query("COMMIT").execute(&pool).await?;
        pool.close().await;
        Result::Ok(())
    })?;
    File::open(&order.path)?.sync_all()?;
    Ok(())
}

fn measure(order: &Order) -> Result<Measurement> {
    let runtime = runtime()?;
    let synchronous = match order.scenario.durability {
        Durability::Full => SqliteSynchronous::Full,
        Durability::Normal => SqliteSynchronous::Normal,
    };
    let pool = runtime.block_on(pool(order, synchronous, 8))?;
    measure_tasks(&runtime, Tower(SqliteStore::new(pool)), order)
}

struct Tower(SqliteStore);

impl Peer for Tower {
    async fn find(&self, key: u64) -> Result<bool> {
        Ok(self.0.load(&record(key, "").id).await?.is_some())
    }

    async fn commit(&self, key: u64, data: &str) -> Result {
        Ok(self.0.save(&record(key, data)).await?)
    }

    async fn delete(&self, key: u64) -> Result {
        Ok(self.0.delete(&record(key, "").id).await?)
    }
}

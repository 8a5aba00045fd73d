//! The store on SQLite.

use std::fs::File;
use std::time::Duration;

use bench_protocol::{Durability, Entry, Measurement, Order, Result, measure_tasks, runtime};
use tower_sessions_core::SessionStore;
use tower_sessions_sqlx_store::SqliteStore;
use tower_sessions_sqlx_store::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tower_sessions_sqlx_store::sqlx::{query, query_scalar};

use crate::{Tower, record};

pub(crate) const NAME: &str = "tower-sessions-sqlx-store";

pub(crate) fn entry() -> Entry {
    let engine = runtime().and_then(|runtime| {
        runtime.block_on(async {
            let pool = SqlitePool::connect("sqlite::memory:").await?;
            Ok(query_scalar::<_, String>("SELECT sqlite_version()").fetch_one(&pool).await?)
        })
    });
    Entry {
        name: NAME.to_owned(),
        format: "tower-sqlx".to_owned(),
        version: "0.15".to_owned(),
        engine: format!("SQLite {}", engine.unwrap_or_default()),
        settings:
            "WAL, the durability of the scenario, a pool of 8 connections; a multi-thread runtime"
                .to_owned(),
        is_on_server: false,
    }
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
pub(crate) fn fill(order: &Order) -> Result {
    runtime()?.block_on(async {
        let pool = pool(order, SqliteSynchronous::Off, 1).await?;
        let store = SqliteStore::new(pool.clone());
        store.migrate().await?;
        query("BEGIN").execute(&pool).await?;
        let text = "x".repeat(order.scenario.data_len);
        for key in 0..order.scenario.rows {
            store.save(&record(key, &text)).await?;
        }
        query("COMMIT").execute(&pool).await?;
        pool.close().await;
        Result::Ok(())
    })?;
    File::open(&order.path)?.sync_all()?;
    Ok(())
}

pub(crate) fn measure(order: &Order) -> Result<Measurement> {
    let runtime = runtime()?;
    let synchronous = match order.scenario.durability {
        Durability::Full => SqliteSynchronous::Full,
        Durability::Normal => SqliteSynchronous::Normal,
    };
    let pool = runtime.block_on(pool(order, synchronous, 8))?;
    measure_tasks(&runtime, Tower(SqliteStore::new(pool)), order)
}

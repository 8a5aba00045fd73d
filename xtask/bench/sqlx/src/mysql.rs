//! The store on MySQL and MariaDB.

use bench_protocol::{
    Durability, Entry, Measurement, Order, Result, database, measure_tasks, runtime, url,
};
use tower_sessions_sqlx_store::MySqlStore;
use tower_sessions_sqlx_store::sqlx::mysql::{MySqlPool, MySqlPoolOptions};
use tower_sessions_sqlx_store::sqlx::{QueryBuilder, query, query_scalar, raw_sql};

use crate::{Tower, record};

pub(crate) const NAME: &str = "tower-sessions-sqlx-store-mysql";

/// Rows per statement of `fill`, which may have 65,535 parameters.
const BATCH: u64 = 500;

pub(crate) fn entry(url: &str) -> Entry {
    let engine = runtime().and_then(|runtime| {
        runtime.block_on(async {
            let pool = MySqlPool::connect(url).await?;
            Ok(query_scalar::<_, String>("SELECT VERSION()").fetch_one(&pool).await?)
        })
    });
    Entry {
        name: NAME.to_owned(),
        format: NAME.to_owned(),
        version: "0.15".to_owned(),
        engine: engine.unwrap_or_default(),
        settings: "a pool of 10 connections; its own table; a multi-thread runtime".to_owned(),
        is_on_server: true,
    }
}

async fn open(order: &Order) -> Result<(MySqlPool, MySqlStore)> {
    let url = url().ok_or("there is no server")?;
    let pool = MySqlPoolOptions::new().max_connections(10).connect(&url).await?;
    let store = MySqlStore::new(pool.clone()).with_schema_name(database(order)?)?;
    Ok((pool, store))
}

pub(crate) fn fill(order: &Order) -> Result {
    runtime()?.block_on(async {
        let (pool, store) = open(order).await?;
        store.migrate().await?;
        let text = "x".repeat(order.scenario.data_len);
        let begin = format!("INSERT INTO {}.session (id, data, expiry_date) ", database(order)?);
        let mut transaction = pool.begin().await?;
        for first in (0..order.scenario.rows).step_by(usize::try_from(BATCH)?) {
            let mut records = Vec::new();
            for key in first..order.scenario.rows.min(first + BATCH) {
                let record = record(key, &text);
                let data = rmp_serde::to_vec(&record)?;
                records.push((record.id.to_string(), data, record.expiry_date));
            }
            let mut insert = QueryBuilder::new(&begin);
            insert.push_values(records, |mut row, (id, data, expiry)| {
                row.push_bind(id).push_bind(data).push_bind(expiry);
            });
            insert.build().execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        // Makes the server write all of it now, instead of during the measurement.
        let flush = format!("FLUSH TABLES {}.session FOR EXPORT", database(order)?);
        let mut connection = pool.acquire().await?;
        raw_sql(&flush).execute(&mut *connection).await?;
        raw_sql("UNLOCK TABLES").execute(&mut *connection).await?;
        Ok(())
    })
}

pub(crate) fn measure(order: &Order) -> Result<Measurement> {
    let runtime = runtime()?;
    let store = runtime.block_on(async {
        let (pool, store) = open(order).await?;
        let durability = match order.scenario.durability {
            Durability::Full => "SET GLOBAL innodb_flush_log_at_trx_commit = 1",
            Durability::Normal => "SET GLOBAL innodb_flush_log_at_trx_commit = 2",
        };
        query(durability).execute(&pool).await?;
        Result::Ok(store)
    })?;
    measure_tasks(&runtime, Tower(store), order)
}

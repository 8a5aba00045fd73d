//! The store on SQLite, as `open` makes it, and with memory-mapped reads.

use std::num::NonZeroU32;

use bench_protocol::{Durability, Measurement, Order, Result, measure};
use store_sqlite::{CleanupOptions, SqliteOptions};

use crate::ours::Ours;
use crate::{Row, raw_sqlite};

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "store-sqlite",
        format: "classic-sqlite",
        version: "this tree",
        engine: raw_sqlite::engine,
        settings: "as SqliteOptions::open makes it, without a cleanup thread",
        fill: raw_sqlite::fill,
        is_on_server: false,
        measure: |order| run(order, SqliteOptions::new()),
    },
    Row {
        name: "store-sqlite-mmap",
        format: "classic-sqlite",
        version: "this tree",
        engine: raw_sqlite::engine,
        settings: "as store-sqlite, with_memory_map(1 GiB) and with_max_connections(8)",
        fill: raw_sqlite::fill,
        is_on_server: false,
        measure: |order| {
            let connections = NonZeroU32::new(8).ok_or("not zero")?;
            let options = SqliteOptions::new().with_memory_map(1 << 30);
            run(order, options.with_max_connections(connections))
        },
    },
];

fn run(order: &Order, options: SqliteOptions) -> Result<Measurement> {
    let durability = match order.scenario.durability {
        Durability::Full => store_sqlite::Durability::Full,
        Durability::Normal => store_sqlite::Durability::Normal,
    };
    let store = options
        .with_durability(durability)
        .with_cleanup(CleanupOptions::disabled())
        .open(&order.path)?;
    measure(Box::leak(Box::new(Ours(Box::new(store)))), order)
}

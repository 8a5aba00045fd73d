//! The store on SQLite, as `open` makes it, with its options, and on a SQLite that is built without
//! the locks that all connections share.

use std::num::NonZeroU32;

use bench_protocol::{Durability, Measurement, Order, Result, measure};
use store_sqlite::{CleanupOptions, SqliteOptions};

use crate::ours::Ours;
use crate::{Row, raw_sqlite};

const STORE: Row = Row {
    name: "store-sqlite",
    format: raw_sqlite::LEAN,
    version: "this tree",
    engine: raw_sqlite::engine,
    settings: "as SqliteOptions::open makes it, without a cleanup thread",
    fill: raw_sqlite::fill_lean,
    is_on_server: false,
    measure: |order| run(order, SqliteOptions::new()),
};

pub(crate) const ROWS: &[Row] = &[
    STORE,
    Row {
        name: "store-sqlite-indexed",
        settings: "as store-sqlite, with_expiry_index()",
        format: raw_sqlite::CLASSIC,
        fill: raw_sqlite::fill,
        ..STORE
    },
    Row {
        name: "store-sqlite-mmap",
        settings: "as store-sqlite, with_mmap_size(1 GiB) and with_max_connections(8)",
        measure: |order| {
            let options = SqliteOptions::new().with_mmap_size(1 << 30);
            run(order, options.with_max_connections(EIGHT))
        },
        ..STORE
    },
    Row {
        name: "store-sqlite-exclusive",
        settings: "as store-sqlite, with_exclusive_process()",
        measure: |order| run(order, SqliteOptions::new().with_exclusive_process()),
        ..STORE
    },
    Row {
        name: "store-sqlite-exclusive-mmap",
        settings: "as store-sqlite-mmap, with_exclusive_process()",
        measure: |order| {
            let options = SqliteOptions::new().with_exclusive_process().with_mmap_size(1 << 30);
            run(order, options.with_max_connections(EIGHT))
        },
        ..STORE
    },
];

/// The only contender of a program that is built with other flags for SQLite.
pub(crate) const UNLOCKED: &[Row] = &[Row {
    name: "store-sqlite-unlocked",
    settings: "as store-sqlite, with_max_connections(8), SQLite built with the LIBSQLITE3_FLAGS of store-sqlite/docs/guide.md",
    measure: |order| run(order, SqliteOptions::new().with_max_connections(EIGHT)),
    ..STORE
}];

const EIGHT: NonZeroU32 = NonZeroU32::new(8).expect("not zero");

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

//! The store in one file of redb, as `open` makes it.

use std::time::Duration;

use bench_protocol::{Durability, Measurement, Order, Result, measure};
use store_ql_compat::{CleanupOptions, QlOptions};

use crate::ours::Ours;
use crate::{Row, raw_redb};

pub(crate) const ROWS: &[Row] = &[Row {
    name: "store-ql",
    format: "redb",
    version: "this tree",
    engine: raw_redb::engine,
    settings: "as QlOptions::open makes it, without a cleanup thread",
    fill: raw_redb::fill,
    is_on_server: false,
    measure: run,
}];

fn run(order: &Order) -> Result<Measurement> {
    let durability = match order.scenario.durability {
        Durability::Full => store_ql_compat::Durability::Full,
        Durability::Normal => store_ql_compat::Durability::Relaxed(Duration::from_secs(1)),
    };
    let store = QlOptions::new()
        .with_durability(durability)
        .with_cleanup(CleanupOptions::disabled())
        .open(&order.path)?;
    measure(Box::leak(Box::new(Ours(Box::new(store)))), order)
}

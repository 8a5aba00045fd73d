//! The store on MySQL and MariaDB, as `connect` makes it.

use bench_protocol::{Measurement, Order, Result, database, measure, url};
use store_mysql::{CleanupOptions, MysqlOptions};

use crate::ours::Ours;
use crate::{Row, raw_mysql};

pub(crate) const ROWS: &[Row] = &[Row {
    name: "store-mysql",
    format: "store-mysql",
    version: "this tree",
    engine: raw_mysql::engine,
    settings: "as MysqlOptions::connect makes it (a pool of 10), without a cleanup thread; the hardened table",
    fill: raw_mysql::fill,
    is_on_server: true,
    measure: run,
}];

fn run(order: &Order) -> Result<Measurement> {
    raw_mysql::set_durability(order)?;
    let url = format!("{}/{}", url().ok_or("there is no server")?, database(order)?);
    let store = MysqlOptions::new().with_cleanup(CleanupOptions::disabled()).connect(&url)?;
    measure(Box::leak(Box::new(Ours(Box::new(store)))), order)
}

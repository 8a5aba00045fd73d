//! The database server, which `cargo xtask bench` starts for all programs.

use std::env;

use crate::order::Order;
use crate::program::Result;

/// The URL of the server in `DATABASE_URL`, as `mysql://root@127.0.0.1:15432`, if there is one.
#[must_use]
pub fn url() -> Option<String> {
    env::var("DATABASE_URL").ok()
}

/// The name of an order's database on the server. Every contender has databases of its own, so that
/// the background work that one causes on the server doesn't slow down another.
pub fn database(order: &Order) -> Result<String> {
    let name = order.path.file_stem().ok_or("the database has no name")?.to_string_lossy();
    Ok(name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_"))
}

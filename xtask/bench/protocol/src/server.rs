//! The server of the contenders that aren't embedded: one for all programs, which `cargo xtask bench` starts.

use std::env;

use crate::order::Order;
use crate::program::Result;

/// The URL of the server, `mysql://root@127.0.0.1:15432`, if there is one: what `DATABASE_URL` says.
#[must_use]
pub fn url() -> Option<String> {
    env::var("DATABASE_URL").ok()
}

/// The name of an order's database on the server. Every contender has databases of its own, so that
/// what one leaves behind for the server to do is no other's.
///
/// # Errors
/// If the path has no name.
pub fn database(order: &Order) -> Result<String> {
    let name = order.path.file_stem().ok_or("the database has no name")?.to_string_lossy();
    Ok(name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_"))
}

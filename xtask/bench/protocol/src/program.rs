//! The `main` of a program with contenders.

use std::env;
use std::process::ExitCode;

use serde::Serialize;

use crate::order::{Entry, Measurement, Order};

/// Any error; its message is for a person to read.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of whatever can fail in the benchmark.
pub type Result<T = ()> = std::result::Result<T, BoxError>;

/// What a contender fails with that the plan has for an operation that it doesn't implement.
pub(crate) const UNSUPPORTED: &str = "this contender doesn't implement the operation";

/// `list` prints the contenders, `fill` makes a database for an order, `measure` does the order.
///
/// Nothing is waited for at the end, because no cleanup thread runs.
pub fn main(
    list: impl FnOnce() -> Vec<Entry>,
    fill: impl FnOnce(&Order) -> Result,
    measure: impl FnOnce(&Order) -> Result<Measurement>,
) -> ExitCode {
    let run = || -> Result {
        let task = env::args().nth(1).unwrap_or_default();
        let order = || -> Result<Order> {
            Ok(serde_json::from_str(&env::args().nth(2).ok_or("no order")?)?)
        };
        match &*task {
            "list" => print(&list()),
            "fill" => fill(&order()?),
            "measure" => print(&measure(&order()?)?),
            _ => Err("list, fill or measure, and an order".into()),
        }
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn print(value: &impl Serialize) -> Result {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

//! Clause 29: each trouble is an error that names it and keeps its cause, nothing hangs or is lost,
//! and when the trouble is over the same store works again.

mod disk;

mod tables;

mod contention;

mod transactions;

mod stuck;

use std::error::Error as StdError;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{Change, CleanupOptions, Rotation};
use store_sqlite::{Error, SqliteOptions};

type TestResult = Result<(), Box<dyn StdError>>;

/// Short, because these tests wait for it.
const TIMEOUT: Duration = Duration::from_millis(50);

/// Opening a file takes a moment on a busy machine.
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(1);

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

fn options() -> SqliteOptions {
    SqliteOptions::new()
        .with_cleanup(CleanupOptions::disabled())
        .with_contention_timeout(TIMEOUT)
        .with_checkout_timeout(CHECKOUT_TIMEOUT)
}

/// A change of data alone.
fn new_data(data: &[u8]) -> Change<'_> {
    Change::new(data, in_an_hour())
}

/// A rotation that leaves the data as they are.
fn rotation<'a>(data: &'a [u8], new_token: &'a str) -> Change<'a> {
    new_data(data).with_rotation(Rotation::new(new_token))
}

/// Returns the driver's message, which must be kept.
fn cause(error: &Error) -> String {
    error.source().expect("the cause is kept").to_string()
}

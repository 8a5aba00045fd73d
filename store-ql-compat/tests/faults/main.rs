//! Clause 29: each failure returns an error that names it and keeps its cause, nothing hangs or is
//! lost, and the same store works again afterwards. Failing disks are tested within the crate.

mod opening;

mod replacing;

mod tables;

mod compaction;

mod sessions;

use std::error::Error as StdError;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::CleanupOptions;
use store_ql_compat::{Error, QlOptions};

type TestResult = Result<(), Box<dyn StdError>>;

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

fn options() -> QlOptions {
    QlOptions::new()
        .with_cleanup(CleanupOptions::disabled())
        .with_contention_timeout(Duration::from_millis(50))
}

/// Returns the errors of redb or the operating system, which must be kept.
fn causes(error: &Error) -> String {
    let mut causes = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes = format!("{causes}: {error}");
        cause = error.source();
    }
    assert!(!causes.is_empty(), "the cause is kept: {error:?}");
    causes
}

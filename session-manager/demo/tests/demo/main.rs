//! The demo as its visitors see it, over HTTP.

mod browser;

mod experiments;

#[cfg(feature = "metrics")]
mod metrics;

mod pages;

mod process;

#[cfg(feature = "ql")]
mod ql;

use std::error::Error;

type TestResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

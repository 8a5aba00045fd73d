//! Sessions that are bound to a device, with a browser that does what Chromium does.

#[path = "../counting_store/mod.rs"]
mod counting_store;

mod browser;

mod device_key;

mod fixture;

mod registering;

mod refreshing;

mod ending;

mod proving;

mod logging_in;

mod races;

mod endpoints;

mod everywhere;

#[cfg(feature = "dbsc-rs256")]
mod rsa_keys;

use session_manager::Error;

type TestResult = Result<(), Error>;

//! One request after the other, on a store in memory that counts and fails as told.

#[path = "../counting_store/mod.rs"]
mod counting_store;

mod fixture;

mod values;

mod writes;

mod lifetimes;

mod loading;

mod renewal;

mod logout;

mod merging;

mod separation;

mod going_over;

mod identity;

mod elsewhere;

mod forms;

use session_manager::Error;

type TestResult = Result<(), Error>;

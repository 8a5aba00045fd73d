//! What the programs of the benchmark agree upon: each is a process that is given an [`Order`] in
//! JSON, does it, and prints a [`Measurement`] in JSON. A process for each scenario keeps memory,
//! caches and locks of one contender out of the measurement of another, and lets several versions of
//! `SQLite`, and Go, take part.
//!
//! A contender on threads implements [`Contender`] and [`Handle`]; one that is async implements `Peer`.

mod keys;

mod load;

mod order;

mod process;

mod program;

mod server;

mod threads;

#[cfg(feature = "tokio")]
mod tasks;

pub use keys::{Random, data, is_live, token, words};
pub use load::{Kind, Load, Step};
pub use order::{Durability, Entry, Measurement, Operation, Order, Scenario};
pub use process::Process;
pub use program::{Result, main};
pub use server::{database, url};
#[cfg(feature = "tokio")]
pub use tasks::{Peer, measure_tasks, runtime};
pub use threads::{Contender, Handle, Login, measure};

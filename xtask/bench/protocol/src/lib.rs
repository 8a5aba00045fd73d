//! What the programs of the benchmark agree on: a program gets an [`Order`] in JSON, carries it out
//! and prints a [`Measurement`] in JSON. A process for each measurement keeps memory, caches and
//! locks of one contender out of the measurement of another, and allows several versions of
//! `SQLite`, and Go.
//!
//! A contender on threads implements [`Contender`] and [`Handle`]; one that is async implements
//! `Peer`.

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
pub use program::{BoxError, Result, main};
pub use server::{database, url};
#[cfg(feature = "tokio")]
pub use tasks::{Peer, measure_tasks, runtime};
pub use threads::{Contender, Handle, Login, measure};

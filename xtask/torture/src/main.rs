//! Kills processes that write into a store, opens its database again, and compares what is there
//! with what was acknowledged. `cargo xtask torture` runs it.
//!
//! `torture kill STORE DIRECTORY SEED SECONDS` makes databases in the directory, or on a server of
//! its own, and starts itself again as the processes that are killed. `torture lose-power …` opens
//! what losses of power could leave of a database.

mod workload;

mod observation;

mod stores;

mod child;

mod victim;

mod host;

mod run;

mod trace;

mod power_loss;

use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use store_core::ErrorChain;

use crate::child::Orders;

/// What fails has a message for a person at a terminal.
pub(crate) type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let outcome = match &*args {
        [role, orders @ ..] if role == "child" => {
            Orders::from_args(orders).and_then(|orders| child::run(&orders))
        }
        [role, store, location, seed, number] if role == "script" => {
            let numbers = seed.parse().and_then(|seed| Ok((seed, number.parse()?)));
            numbers
                .map_err(Into::into)
                .and_then(|(seed, number)| power_loss::script(store, location, seed, number))
        }
        [role, store, location] if role == "reopen" => power_loss::reopen(store, location),
        [role, store, directory, seed, seconds] if role == "kill" || role == "lose-power" => {
            torture(role, store, Path::new(directory), seed, seconds)
        }
        _ => Err("usage: torture kill|lose-power STORE DIRECTORY SEED SECONDS".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {}", ErrorChain(&*error)));
            ExitCode::FAILURE
        }
    }
}

fn torture(role: &str, store: &str, directory: &Path, seed: &str, seconds: &str) -> Result {
    let (seed, time) = (seed.parse()?, Duration::from_secs(seconds.parse()?));
    if role == "kill" {
        let tally = run::run(store, directory, seed, time)?;
        say(&format!("{store}: {tally}; nothing was lost"));
    } else if let Some(tally) = power_loss::run(store, directory, seed, time)? {
        say(&format!("{store}: {tally}; nothing was lost"));
    } else {
        say("!!! SKIPPED: losses of power. There is no strace, which shows what is written when.");
    }
    Ok(())
}

/// Prints a line for the person at the terminal.
fn say(line: &str) {
    // Without a terminal there is nobody to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

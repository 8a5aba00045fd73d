//! Loads the demo for a long time, kills it and its server, floods it, and checks what visitors
//! get. `cargo xtask soak` runs it.
//!
//! `soak run STORE DEMO DIRECTORY SEED SECONDS` starts the demo on a database in the directory, or
//! on a server of its own. `soak report DIRECTORY OUT` draws what such runs have measured. `soak
//! visit URL SEED SECONDS` visits an application that runs already.

mod model;

mod client;

mod site;

mod browser;

mod visitor;

mod process;

mod host;

mod samples;

mod run;

mod overload;

mod chart;

mod report;

use std::env;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::host::Host;
use crate::site::Site;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// What fails has a message for a person at a terminal.
pub(crate) type Result<T = (), E = Error> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = args.iter().map(String::as_str).collect();
    let outcome = match *words {
        ["run", store, demo, directory, seed, seconds] => {
            soak(store, Path::new(demo), Path::new(directory), seed, seconds)
        }
        ["report", directory, out] => report::write(Path::new(directory), Path::new(out)),
        ["visit", url, seed, seconds] => visit(url, seed, seconds),
        _ => Err("usage: soak run STORE DEMO DIRECTORY SEED SECONDS".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn visit(url: &str, seed: &str, seconds: &str) -> Result {
    let site = Site::new(1);
    site.is_up(0, url.to_owned());
    let time = Duration::from_secs(seconds.parse()?);
    run::visit(&site, seed.parse()?, || {
        site.wait_for_close(time);
        Ok(())
    })?;
    say(&format!("{}", site.tally));
    Ok(())
}

/// A run that is long enough to be judged is followed by a flood.
const JUDGED: Duration = Duration::from_secs(60);

fn soak(store: &str, demo: &Path, directory: &Path, seed: &str, seconds: &str) -> Result {
    let host = Host::new(store, demo, directory)?;
    let time = Duration::from_secs(seconds.parse()?);
    let site = Site::new(host.processes());
    let samples = run::run(&host, &site, seed.parse()?, time)?;
    say(&format!("{store}: {}; nobody saw anything wrong", site.tally));
    if time < JUDGED {
        return Ok(());
    }
    samples::write(&directory.join(format!("{store}.csv")), &samples)?;
    let halves = samples::halves(&samples).ok_or("no samples")?;
    samples::check_level(&halves)?;
    let flood = overload::run(store, demo, directory)?;
    report::keep(store, directory, time, &site.tally, &halves, &flood)
}

/// Prints a line for the person at the terminal.
fn say(line: &str) {
    // Without a terminal there is nobody to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

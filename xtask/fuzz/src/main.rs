//! `fuzz` lists its targets, `fuzz TARGET DIRECTORY SEED SECONDS` feeds a target for a while, and
//! `fuzz TARGET DIRECTORY INPUT` with the bytes of a file.
//!
//! `cargo xtask fuzz` runs it, once for each target, so that an
//! input which ends the process ends no other target. What happened, and how often, is in
//! `DIRECTORY/TARGET.outcomes`, and the inputs that made something new happen in
//! `DIRECTORY/TARGET.new`: those that are short are good seeds.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use fuzz::engine::{self, Limit};
use fuzz::{TARGETS, Target};

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let outcome = match &*args {
        [] => {
            let names = TARGETS.map(|target| target.name).join("\n");
            writeln!(io::stdout(), "{names}").map_err(Into::into)
        }
        [name, directory, rest @ ..] => {
            // Its stack is as small as those of servers' threads: what nests too deep ends it.
            thread::scope(|scope| {
                let run = scope.spawn(|| run(name, Path::new(directory), rest));
                run.join().unwrap_or_else(|_| Err("it panicked outside of the target".into()))
            })
        }
        _ => Err("usage: fuzz [TARGET DIRECTORY INPUT | TARGET DIRECTORY SEED SECONDS]".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, directory: &Path, how: &[String]) -> Result<(), Box<dyn Error + Send + Sync>> {
    let named = |target: &&Target| target.name == name;
    let target = TARGETS.iter().find(named).ok_or_else(|| {
        format!("the targets are: {}", TARGETS.map(|target| target.name).join(", "))
    })?;
    let outcome = match how {
        [input] => engine::replay(target, &fs::read(input)?, directory)?,
        [seed, seconds] => {
            let end = Instant::now() + Duration::from_secs(seconds.parse()?);
            engine::run(target, seed.parse()?, Limit::Until(end), directory)?
        }
        _ => return Err("an input, or a seed and seconds".into()),
    };
    let report = outcome.map_err(|failure| {
        format!("{name}: {}\nthe input is in {}", failure.message, failure.input.display())
    })?;
    say(&format!(
        "{name}: {} inputs, {} outcomes, at most {} KiB of memory",
        report.executions,
        report.outcomes.len(),
        report.peak_memory / 1024
    ));
    let outcomes =
        report.outcomes.iter().map(|(outcome, count)| format!("{count:>10} {outcome}\n"));
    fs::write(directory.join(format!("{name}.outcomes")), outcomes.collect::<String>())?;
    let new = directory.join(format!("{name}.new"));
    fs::create_dir_all(&new)?;
    for (number, input) in report.new.iter().enumerate() {
        fs::write(new.join(number.to_string()), input)?;
    }
    Ok(())
}

/// Prints a line for the person at the terminal.
fn say(line: &str) {
    // Without a terminal there is nobody to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

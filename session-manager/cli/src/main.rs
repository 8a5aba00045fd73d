//! The program `sessions`: looks at the sessions of an application from a shell, ends them, and
//! cleans up. `README.md` shows every command.

mod arguments;

mod commands;

mod store_url;

mod engines;

mod subject;

mod summary;

mod target;

mod failure;

mod output;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use log::LevelFilter;

use crate::arguments::Arguments;

/// How a command ended that didn't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done,
    /// There is something that a person should look at; what it is stands on standard error.
    Attention,
    /// Nobody has confirmed it, so nothing was done.
    Unconfirmed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // `arguments::EXIT_CODES` tells them.
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Attention => 3,
            Exit::Unconfirmed => 4,
        })
    }
}

fn main() -> ExitCode {
    // What the stores report as they work, to standard error.
    env_logger::builder()
        .filter_level(LevelFilter::Warn)
        .format(|line, record| writeln!(line, "sessions: note: {}", record.args()))
        .init();
    let arguments = Arguments::parse();
    let mut out = io::stdout().lock();
    let outcome = arguments.command.run(&arguments.place, &mut out);
    match outcome.and_then(|exit| Ok(out.flush().map(|()| exit)?)) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}

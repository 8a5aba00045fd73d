//! The program `sessions`: looks at the sessions of an application from a shell, ends them, and
//! cleans up. `README.md` shows every command.

mod arguments;

mod commands;

mod place;

mod exit;

mod store_url;

mod engine;

mod engines;

mod subject;

mod key_files;

mod summary;

mod target;

mod failure;

mod output;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use log::LevelFilter;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    // What the stores report as they work, to standard error.
    env_logger::builder()
        .filter_level(LevelFilter::Warn)
        .format(|line, record| writeln!(line, "sessions: note: {}", record.args()))
        .init();
    let arguments = Arguments::parse();
    let mut out = io::stdout().lock();
    let outcome = commands::run(&arguments, &mut out);
    match outcome.and_then(|exit| Ok(out.flush().map(|()| exit)?)) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}

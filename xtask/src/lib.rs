//! The parts of the tasks that tests use as well: [`mysql_server`] starts real MariaDB and MySQL servers.

pub mod mysql_server;

use std::error::Error;

/// What a task fails with: the message is for a person at a terminal.
pub type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// A line for the person at the terminal, beside the output of the programs that run.
#[expect(clippy::print_stderr, reason = "a command-line program speaks to its terminal")]
pub fn say(line: &str) {
    eprintln!("{line}");
}

//! The commands, one a file. Each is what it is called with, and knows how to run.

pub(crate) mod backup;

pub(crate) mod check;

pub(crate) mod compact;

pub(crate) mod completions;

pub(crate) mod copy;

pub(crate) mod create_table;

#[cfg(feature = "ql")]
pub(crate) mod import_ql;

pub(crate) mod list;

pub(crate) mod logout;

pub(crate) mod man;

pub(crate) mod stats;

pub(crate) mod sweep;

use std::io::Write;

use clap::CommandFactory;

use crate::arguments::{Arguments, Command};
use crate::exit::Exit;
use crate::failure::Failure;

/// Runs a command, which writes what it finds to `out`, and the rest to standard error.
pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Exit, Failure> {
    let Arguments { place, command } = arguments;
    match command {
        Command::Check(check) => check.run(place, out),
        Command::CreateTable(create_table) => create_table.run(place, out),
        Command::Stats(stats) => stats.run(place, out),
        Command::List(list) => list.run(place, out),
        Command::Logout(logout) => logout.run(place, out),
        Command::Sweep(sweep) => sweep.run(place, out),
        Command::Copy(copy) => copy.run(place, out),
        Command::Backup(backup) => backup.run(place, out),
        Command::Compact(compact) => compact.run(place, out),
        #[cfg(feature = "ql")]
        Command::ImportQl(import_ql) => import_ql.run(place, out),
        Command::Completions(completions) => completions.run(Arguments::command(), out),
        Command::Man(man) => man.run(Arguments::command(), out),
    }
}

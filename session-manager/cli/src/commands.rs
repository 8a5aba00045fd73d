//! The commands, one a file. Each is what it is called with, and knows how to run.

pub(crate) mod check;

pub(crate) mod completions;

pub(crate) mod create_table;

#[cfg(feature = "ql")]
pub(crate) mod import_ql;

pub(crate) mod list;

pub(crate) mod logout;

pub(crate) mod man;

pub(crate) mod stats;

pub(crate) mod sweep;

use std::io::Write;

use crate::Exit;
use crate::arguments::{Command, Place};
use crate::failure::Failure;

impl Command {
    pub(crate) fn run(&self, place: &Place, out: &mut dyn Write) -> Result<Exit, Failure> {
        match self {
            Self::Check(check) => check.run(place, out),
            Self::CreateTable(create_table) => create_table.run(place, out),
            Self::Stats(stats) => stats.run(place, out),
            Self::List(list) => list.run(place, out),
            Self::Logout(logout) => logout.run(place, out),
            Self::Sweep(sweep) => sweep.run(place, out),
            #[cfg(feature = "ql")]
            Self::ImportQl(import_ql) => import_ql.run(place, out),
            Self::Completions(completions) => completions.run(out),
            Self::Man(man) => man.run(out),
        }
    }
}

//! The commands, one a file. Each is what it is called with, and knows how to run.

pub(crate) mod check;

pub(crate) mod create_table;

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
            Self::Sweep(sweep) => sweep.run(place, out),
        }
    }
}

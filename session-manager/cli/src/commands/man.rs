//! `sessions man`: the manual pages.

use std::io::Write;

use clap::{Args, Command};
use clap_mangen::Man;

use crate::exit::Exit;
use crate::failure::Failure;

/// Print the manual page of the program, or of one of its commands
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sessions man > ~/.local/share/man/man1/sessions.1
  sessions man list | man -l -")]
pub(crate) struct ManPage {
    /// The command; without one, the page is that of the program
    command: Option<String>,
}

impl ManPage {
    /// `program` describes its arguments.
    pub(crate) fn run(&self, mut program: Command, out: &mut dyn Write) -> Result<Exit, Failure> {
        // It gives the commands their full names.
        program.build();
        let page = match &self.command {
            None => program,
            Some(name) => program
                .find_subcommand(name)
                .cloned()
                .ok_or_else(|| Failure::usage(format!("there is no command {name:?}")))?,
        };
        let mut text = Vec::new();
        Man::new(page).render(&mut text)?;
        out.write_all(&text)?;
        Ok(Exit::Done)
    }
}

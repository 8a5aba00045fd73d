//! `sessions man`: the manual pages.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use crate::Exit;
use crate::arguments::Arguments;
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
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<Exit, Failure> {
        let mut command = Arguments::command();
        // It gives the commands their full names.
        command.build();
        let page = match &self.command {
            None => command,
            Some(name) => command
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

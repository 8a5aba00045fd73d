//! `sessions completions`: what a shell needs to complete arguments.

use std::io::Write;

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::exit::Exit;
use crate::failure::Failure;

/// Print the completions for a shell
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sessions completions bash > ~/.local/share/bash-completion/completions/sessions
  sessions completions fish > ~/.config/fish/completions/sessions.fish")]
pub(crate) struct Completions {
    shell: Shell,
}

impl Completions {
    /// `program` describes its arguments.
    pub(crate) fn run(&self, mut program: Command, out: &mut dyn Write) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut program, "sessions", &mut script);
        out.write_all(&script)?;
        Ok(Exit::Done)
    }
}

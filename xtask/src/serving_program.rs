//! A program that serves HTTP while a task needs it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::Result;

/// A process that is killed when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error: it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that has said where it listens; killed when dropped.
pub(crate) struct ServingProgram {
    process: Running,
    /// Without a slash at the end.
    pub(crate) url: String,
}

impl ServingProgram {
    /// Runs a command that prints its URL in its first line.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let process = command.stdout(Stdio::piped()).spawn();
        let process = process.map_err(|error| format!("can't run {name}: {error}"))?;
        let mut program = Self { process: Running(process), url: String::new() };
        let mut line = String::new();
        if let Some(out) = program.process.0.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.ok_or_else(|| format!("{name} doesn't say where it listens: {line:?}"))?;
        url.trim_end_matches('/').clone_into(&mut program.url);
        Ok(program)
    }
}

//! Runs programs whose output matters only if they fail.

use std::process::Command;

use crate::Result;

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Result {
    read(command).map(drop)
}

/// Runs a program to its end, and returns what it wrote to its standard output.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name} can't be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let both = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    Err(format!("{name} failed ({}):\n{}", output.status, tail(&both)).into())
}

/// Returns the last lines of a text, indented: that is where programs say why they failed.
pub(crate) fn tail(text: &str) -> String {
    // MySQL 5.7 says in fifty that it has shut down what it hasn't started.
    const LINES: usize = 80;
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().flat_map(|line| ["    ", line, "\n"]).collect()
}

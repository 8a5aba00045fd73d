//! The program finds what stores lose that promise less.

use std::error::Error;
use std::path::Path;
use std::process::Command;

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

/// Only ends what finds nothing.
const SECONDS: &str = "60";

/// Runs the program, and returns whether it was content, and what it said.
fn torture(role: &str, store: &str, directory: &Path, seconds: &str) -> TestResult<(bool, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_torture"))
        .args([role, store])
        .arg(directory)
        .args(["1", seconds])
        .output()?;
    Ok((output.status.success(), String::from_utf8(output.stderr)?))
}

#[test]
fn commits_that_a_kill_loses_are_found() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (is_content, said) = torture("kill", "ql-relaxed", directory.path(), SECONDS)?;
    assert!(!is_content && said.contains("had acknowledged"), "{said}");
    Ok(())
}

#[test]
fn commits_that_a_loss_of_power_loses_are_found() -> TestResult {
    let directory = tempfile::tempdir()?;
    // A kill alone loses none of them.
    let (is_content, said) = torture("kill", "sqlite-normal", directory.path(), "0")?;
    assert!(is_content, "{said}");
    let (is_content, said) = torture("lose-power", "sqlite-normal", directory.path(), SECONDS)?;
    let is_skipped = said.contains("SKIPPED");
    let is_found = said.contains("should be") || said.contains("is lost");
    assert!(is_skipped || !is_content && is_found, "{said}");
    Ok(())
}

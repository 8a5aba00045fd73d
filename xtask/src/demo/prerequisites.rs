//! What the demo needs to be built, so that its lack is said before the build and not in its
//! middle. Which Rust it needs is said by cargo, before it builds the tasks.

use std::env;
use std::process::{Command, Stdio};

use crate::Result;

/// Compiles nothing, but with a header of the C library.
const ARGUMENTS: [&str; 6] = ["-fsyntax-only", "-include", "stdio.h", "-xc", "-", "-w"];

const HOW_TO_GET_IT: &str = "    Debian: apt-get install gcc libc6-dev    Fedora: dnf install gcc    macOS: xcode-select --install
    One store needs no C compiler: cargo xtask demo --store ql";

/// Fails if something is missing that the store's build needs.
pub(super) fn check(store: &str) -> Result {
    // On Windows compilers aren't in the PATH, and the build looks elsewhere.
    if store == "sqlite" && cfg!(unix) {
        let compiler = ["HOST_CC", "CC"].iter().find_map(|name| env::var(name).ok());
        check_c(compiler.as_deref().unwrap_or("cc"))?;
    }
    Ok(())
}

/// Checks a C compiler, which is named as in CC: perhaps with arguments.
fn check_c(compiler: &str) -> Result {
    let mut words = compiler.split_whitespace();
    let program = words.next().unwrap_or_default();
    let mut command = Command::new(program);
    let output = command.args(words).args(ARGUMENTS).stdin(Stdio::null()).output();
    let why = match output {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
        Err(error) => error.to_string(),
    };
    let problem = "SQLite is built with a C compiler, and this one doesn't work";
    Err(format!("{problem}: {compiler}: {why}\n{HOW_TO_GET_IT}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiler_that_works_is_enough_and_another_is_named() -> Result {
        check_c("cc")?;
        check_c("cc -O2")?;
        for compiler in ["/nonexistent/cc", "cc -nostdinc", "false", ""] {
            let error = check_c(compiler).expect_err("it can't compile").to_string();
            assert!(error.contains(&format!("doesn't work: {compiler}:")), "{error}");
            assert!(error.contains("apt-get install gcc") && error.contains("--store ql"));
        }
        Ok(())
    }
}

//! The smallest program of the README, in a crate of its own, as somebody who copies it has it.

use std::fs;
use std::path::{Path, PathBuf};

use xshell::Shell;

use super::Packages;
use crate::Result;

/// The section that has the program.
const SECTION: &str = "## The smallest program\n";

/// Makes a crate of the program and the dependencies that the README states.
pub(super) fn make(shell: &Shell, root: &Path, packages: &Packages<'_>) -> Result<PathBuf> {
    let readme = fs::read_to_string(root.join("README.md"))?;
    let (dependencies, program) = (block(&readme, "toml")?, block(&readme, "rust")?);
    packages.make_crate(shell, "smallest-program", dependencies, program)
}

/// The first block of code in this language in the section.
fn block<'a>(readme: &'a str, language: &str) -> Result<&'a str> {
    let missing = || format!("README.md: no block of {language} below {SECTION:?}");
    let section = readme.split_once(SECTION).ok_or_else(missing)?.1;
    let section = section.split("\n## ").next().unwrap_or_default();
    // The attributes of doctests follow the language.
    let after = section.split_once(&format!("```{language}")).ok_or_else(missing)?.1;
    let code = after.split_once('\n').ok_or_else(missing)?.1;
    Ok(code.split_once("```").ok_or_else(missing)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_of_the_section() {
        let readme = "```rust\nno\n```\n## The smallest program\n```toml\na = 1\n```\n```rust,no_run\nyes\n```\n## Next\n```sh\nls\n```\n";
        assert_eq!(block(readme, "toml").unwrap_or_default(), "a = 1\n");
        assert_eq!(block(readme, "rust").unwrap_or_default(), "yes\n");
        assert!(block(readme, "sh").is_err());
    }
}

//! The changelog is about this version, and about what is there.

use std::fs;
use std::path::Path;

use super::sources;
use crate::Result;

/// Changes to what nobody had before.
const NOT_IN_A_FIRST_RELEASE: [&str; 4] = ["Changed", "Deprecated", "Removed", "Fixed"];

/// Checks the entry for the version of the workspace.
pub(super) fn check(root: &Path, problems: &mut Vec<String>) -> Result {
    let changelog = fs::read_to_string(root.join("CHANGELOG.md"))?;
    let mut code = String::new();
    for path in sources(root)? {
        if path.extension().is_some_and(|own| own == "rs" || own == "toml") {
            code += &fs::read_to_string(path)?;
        }
    }
    let found = find_problems(&changelog, env!("CARGO_PKG_VERSION"), &code);
    problems.extend(found.into_iter().map(|problem| format!("CHANGELOG.md: {problem}")));
    Ok(())
}

fn find_problems(changelog: &str, version: &str, code: &str) -> Vec<String> {
    let releases: Vec<&str> = changelog
        .split("\n## ")
        .skip(1)
        .filter(|release| !release.starts_with("[Unreleased]"))
        .collect();
    let heading = format!("[{version}]");
    let Some(entry) = releases.iter().find(|release| release.starts_with(&heading)) else {
        return vec![format!("no entry for {version}")];
    };
    let mut problems = Vec::new();
    let title = entry.lines().next().unwrap_or_default();
    if !title[heading.len()..].strip_prefix(" - ").is_some_and(is_date) {
        problems.push(format!("{title:?} isn't followed by a date, as \"{heading} - 2001-02-03\""));
    }
    for section in NOT_IN_A_FIRST_RELEASE {
        if releases.len() == 1 && entry.contains(&format!("\n### {section}")) {
            problems.push(format!("{version} is the first release, and has a section {section:?}"));
        }
    }
    for name in entry.split('`').skip(1).step_by(2).flat_map(str::split_whitespace) {
        if !has_word(code, name) {
            problems.push(format!("{name} is nowhere in the code"));
        }
    }
    problems
}

/// Whether this is a date in the form of ISO 8601.
fn is_date(text: &str) -> bool {
    let is_shaped = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let number = |from: usize| text[from..from + 2].parse().unwrap_or(0);
    is_shaped && (1..=12).contains(&number(5)) && (1..=31).contains(&number(8))
}

/// Whether a text has this word, and not only as a part of another.
fn has_word(text: &str, word: &str) -> bool {
    let continues = |char: char| char.is_alphanumeric() || char == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(continues) && !text[at + word.len()..].starts_with(continues)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Changelog\n\n## [0.1.0] - 2026-11-26\n\n### Added\n- `Thing`\n";

    fn problems(changelog: &str) -> Vec<String> {
        find_problems(changelog, "0.1.0", "pub struct Thing; struct Others;")
    }

    #[test]
    fn an_entry_with_a_date_and_true_names_passes() {
        assert!(problems(GOOD).is_empty());
        // What changes after the first release may say so.
        let later = GOOD.replace("## [0", "## [Unreleased]\n\n### Changed\n- Much.\n\n## [0");
        assert!(problems(&later).is_empty());
        assert!(problems(&format!("{GOOD}### Fixed\n\n## [0.0.1] - 2026-11-20\n")).is_empty());
    }

    #[test]
    fn everything_else_is_a_problem() {
        for (text, other) in [
            ("0.1.0", "0.2.0"),
            (" - 2026-11-26", ""),
            ("2026-11-26", "2026-13-26"),
            ("2026-11-26", "26 November"),
            ("### Added", "### Changed"),
            ("Thing", "Other"),
        ] {
            assert_eq!(problems(&GOOD.replace(text, other)).len(), 1, "{other:?} for {text:?}");
        }
    }
}

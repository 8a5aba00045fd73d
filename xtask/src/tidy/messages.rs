//! `docs/troubleshooting.md` explains errors by their texts, so they must be the ones that are
//! printed, and none may be missing.

use std::fs;
use std::path::Path;

use super::files;
use crate::Result;

const PAGE: &str = "docs/troubleshooting.md";

/// Where the errors are whose messages are all explained.
const ERRORS: [&str; 2] = ["store-core/src/error.rs", "session-manager/src/error.rs"];

/// What stands for the part of a message that changes.
const PLACEHOLDER: char = '…';

pub(super) fn check(root: &Path, problems: &mut Vec<String>) -> Result {
    let page = fs::read_to_string(root.join(PAGE))?;
    for path in ERRORS {
        let source = fs::read_to_string(root.join(path))?;
        for message in display_messages(&source) {
            if !page.contains(&format!("`{message}`")) {
                problems.push(format!("{PAGE}: {message:?} of {path} isn't explained"));
            }
        }
    }
    let mut sources = String::new();
    for member in
        ["store-core", "store-sqlite", "store-mysql", "store-ql-compat", "session-manager"]
    {
        for path in files(&root.join(member).join("src"), "rs")? {
            sources += &literals(&fs::read_to_string(path)?).join("\n");
        }
    }
    for text in explained(&page) {
        if text.split(PLACEHOLDER).any(|part| !sources.contains(part.trim())) {
            problems.push(format!("{PAGE}: nothing prints {text:?}"));
        }
    }
    Ok(())
}

/// The texts in the first column of the page's tables.
fn explained(page: &str) -> Vec<&str> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split_once("` |").map(|(cell, _)| cell));
    cells.flat_map(|cell| cell.split("`, `")).collect()
}

/// The messages of the first `Display` in a source.
fn display_messages(source: &str) -> Vec<String> {
    let display = source.split_once("fmt::Display for Error {").map_or("", |(_, rest)| rest);
    let display = display.split("\n}\n").next().unwrap_or_default();
    // Attributes name features.
    let is_code = |line: &&str| !line.trim_start().starts_with("#[");
    let display = display.lines().filter(is_code).collect::<Vec<_>>().join("\n");
    // What is shorter is a separator.
    literals(&display).into_iter().filter(|literal| literal.len() > 3).collect()
}

/// The string literals of a source, with placeholders for what is formatted into them.
fn literals(source: &str) -> Vec<String> {
    let mut literals = Vec::new();
    let mut rest = source;
    while let Some((_, after)) = rest.split_once('"') {
        let mut literal = String::new();
        let mut chars = after.char_indices();
        let mut end = after.len();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match chars.next() {
                    // The text goes on after the next line's indentation.
                    Some((_, '\n')) => {
                        let indentation = chars.as_str().len() - chars.as_str().trim_start().len();
                        chars.by_ref().take(indentation).for_each(drop);
                    }
                    Some((_, escaped)) => literal.push(escaped),
                    None => {}
                },
                '{' => {
                    chars.by_ref().find(|(_, char)| *char == '}');
                    literal.push(PLACEHOLDER);
                }
                char => literal.push(char),
            }
        }
        literals.push(literal);
        rest = &after[end..];
    }
    literals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_joined_over_lines_and_have_placeholders() {
        let source =
            "write!(f, \"a {table:?} is \\\n            missing\", 1); f.write_str(\"b\\\"c\")";
        assert_eq!(literals(source), ["a … is missing", "b\"c"]);
    }

    #[test]
    fn messages_of_a_feature_count_and_its_name_does_not() {
        let source =
            "impl fmt::Display for Error {\n    #[cfg(feature = \"sealed\")]\n    \"closed\"\n}\n";
        assert_eq!(display_messages(source), ["closed"]);
    }

    #[test]
    fn explained_texts_are_those_of_the_first_column() {
        let page = "| text | why |\n|---|---|\n| `a`, `b …` | `c` |\n`d`\n";
        assert_eq!(explained(page), ["a", "b …"]);
    }
}

//! Comments are wrapped, which rustfmt leaves to people.

use std::fs;
use std::path::Path;

use super::sources;
use crate::Result;

/// The last column of a comment, in prose and in code that it shows.
const MAX_COLUMNS: usize = 100;

/// gofmt indents with tabs.
const TAB_COLUMNS: usize = 4;

/// Names the lines of the tree with comments that are too wide.
pub(super) fn check(root: &Path, problems: &mut Vec<String>) -> Result {
    for path in sources(root)? {
        let Some(marker) = marker(&path) else { continue };
        let place = path.strip_prefix(root).unwrap_or(&path).display();
        for (number, line) in (1..).zip(fs::read_to_string(&path)?.lines()) {
            if is_too_wide(line, marker) {
                let columns = columns(line);
                problems.push(format!(
                    "{place}:{number}: a comment of {columns} columns, more than {MAX_COLUMNS}"
                ));
            }
        }
    }
    Ok(())
}

/// What begins a comment in this kind of file, if it is one that has comments.
fn marker(path: &Path) -> Option<&'static str> {
    match path.extension()?.to_str()? {
        "rs" | "go" => Some("//"),
        "toml" | "sh" => Some("#"),
        _ => None,
    }
}

fn is_too_wide(line: &str, marker: &str) -> bool {
    columns(line) > MAX_COLUMNS && comment(line, marker).is_some_and(can_be_wrapped)
}

fn columns(line: &str) -> usize {
    line.chars().map(|char| if char == '\t' { TAB_COLUMNS } else { 1 }).sum()
}

/// The text of the comment that ends a line, if one does. Only the line's own strings are known: a
/// string that began on a line before may be taken for a comment if it looks like one.
fn comment<'a>(line: &'a str, marker: &str) -> Option<&'a str> {
    let mut in_string = false;
    let mut is_escaped = false;
    // A marker within a word is none: an address has slashes, and a shell's variable a number sign.
    let mut after_space = true;
    for (at, char) in line.char_indices() {
        if !in_string && after_space && line[at..].starts_with(marker) {
            // Rust's comments of documentation have one character more.
            return Some(line[at + marker.len()..].trim_start_matches(['/', '!']).trim());
        }
        let is_quote = char == '"' && !is_escaped && !line[..at].ends_with('\'');
        in_string ^= is_quote;
        is_escaped = char == '\\' && !is_escaped;
        after_space = char.is_whitespace();
    }
    None
}

/// A row of a table, the address that a link's name stands for, and a single word, as an address
/// is, have to stay on one line.
fn can_be_wrapped(text: &str) -> bool {
    let is_row = text.starts_with('|');
    let is_link = text.starts_with('[') && text.contains("]: ");
    !is_row && !is_link && text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many columns as a comment may have, and one more.
    fn prose() -> String {
        "word ".repeat(MAX_COLUMNS / 5 + 1)[..=MAX_COLUMNS].to_owned()
    }

    #[test]
    fn comments_that_are_too_wide_are_found() {
        for (begin, marker) in [
            ("// ", "//"),
            ("    /// ", "//"),
            ("//! ", "//"),
            ("let quote = '\"'; // ", "//"),
            ("let text = \"a\\\"b // c\"; // ", "//"),
            ("# ", "#"),
            ("key = \"a # b\" # ", "#"),
        ] {
            let line = format!("{begin}{}", prose());
            let fits: String = line.chars().take(MAX_COLUMNS).collect();
            assert!(is_too_wide(&line, marker), "{line}");
            assert!(!is_too_wide(&fits, marker), "{fits}");
        }
        // Letters are counted, not their bytes.
        assert!(!is_too_wide(&format!("// {} é", "é".repeat(MAX_COLUMNS - 5)), "//"));
        assert!(is_too_wide(&format!("\t// {} é", "é".repeat(MAX_COLUMNS - 5)), "//"));
    }

    #[test]
    fn what_cannot_be_wrapped_may_be_wide() {
        let word = "w".repeat(MAX_COLUMNS);
        for (line, marker) in [
            (format!("// <https://example.org/{word}>"), "//"),
            (format!("//! [name]: https://example.org/{word}"), "//"),
            (format!("/// | {} | row |", prose()), "//"),
            (format!("let text = \"// {}\";", prose()), "//"),
            (format!("see(https://example.org {word} {word});"), "//"),
            (format!("key = \"# {}\"", prose()), "#"),
            (format!("echo $# {}", prose()), "#"),
        ] {
            assert!(!is_too_wide(&line, marker), "{line}");
        }
    }
}

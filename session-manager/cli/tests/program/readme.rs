//! The README shows what the program prints.

use std::fmt::Write as _;
use std::fs;

use crate::TestResult;
use crate::place::Place;
use crate::program::{Run, command};

const README: &str = include_str!("../../README.md");

/// A command of the README, and what stands below it.
struct Example {
    command: String,
    shown: String,
}

fn examples() -> Vec<Example> {
    let blocks = README.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let commands = blocks.flat_map(|block| block.split("$ sessions ").skip(1));
    commands
        .map(|example| {
            let (command, shown) = example.split_once('\n').unwrap_or((example, ""));
            Example { command: command.to_owned(), shown: shown.to_owned() }
        })
        .collect()
}

/// Words, without what is another each time: ids, instants, numbers, and the versions of engines.
fn words(text: &str) -> Vec<String> {
    let mask = |word: &str| {
        let is_id = word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id {
            return "ID".to_owned();
        }
        word.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect()
    };
    // Numbers may have more digits another time.
    let merged = |word: String| {
        let mut merged = word;
        while merged.contains("00") {
            merged = merged.replace("00", "0");
        }
        merged
    };
    text.split(|char: char| char.is_whitespace() || ",\"".contains(char))
        .filter(|word| !word.is_empty())
        .map(|word| merged(mask(word)))
        .collect()
}

#[test]
fn readme_shows_what_the_program_prints() -> TestResult {
    let place = Place::sqlite();
    place.fill()?;
    let fixture = "/../../store-ql-compat/tests/fixtures/v1-small.db";
    let directory = place.directory();
    fs::copy(format!("{}{fixture}", env!("CARGO_MANIFEST_DIR")), directory.join("old.db"))?;
    let examples = examples();
    assert!(examples.len() > 12, "there are {}", examples.len());
    let mut wrong = String::new();
    for Example { command: line, shown } in examples {
        let output = command(line.split_whitespace()).current_dir(directory).output()?;
        let Run { out, err, .. } = Run::of(&output);
        let printed = format!("{out}{err}");
        let mut expected = words(&shown);
        let mut found = words(&printed);
        if line.ends_with(" list") {
            // They are in no particular order.
            expected.sort();
            found.sort();
        }
        if expected != found {
            write!(wrong, "$ sessions {line}\n{printed}")?;
        }
    }
    assert!(wrong.is_empty(), "README.md shows something else than these:\n{wrong}");
    Ok(())
}

//! The engine finds faults, keeps the inputs that show them, and repeats itself.

use std::error::Error;
use std::fs;

use fuzz::Target;
use fuzz::engine::{self, Limit};

/// A target on the corpus of another one.
fn target(test: fn(&[u8]) -> String) -> Target {
    Target {
        name: "table_names",
        words: &[b"sessions", b"\"", b"_"],
        seeds: Vec::new,
        max_len: 64,
        max_memory: |len| 1_000 + len,
        test,
    }
}

#[test]
fn faults_are_found_and_their_inputs_kept() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    // Step by step, so that only inputs made of those that did something new get there.
    let panics = target(|input| {
        let parts = input.split(|byte| *byte == b'"').count();
        assert!(parts < 5, "four quotes");
        parts.to_string()
    });
    let needs_memory = target(|input| {
        let is_long = input.len() > 60;
        drop(vec![0_u8; if is_long { 10_000 } else { 10 }]);
        is_long.to_string()
    });
    for (target, message) in [(panics, "four quotes"), (needs_memory, "bytes of memory")] {
        let mut inputs = Vec::new();
        for _ in 0..2 {
            let outcome = engine::run(&target, 7, Limit::Inputs(100_000), directory.path())?;
            let failure = outcome.err().ok_or("nothing was found")?;
            assert!(failure.message.contains(message), "{failure:?}");
            let input = fs::read(&failure.input)?;
            let again = engine::replay(&target, &input, directory.path())?;
            assert!(again.is_err_and(|failure| failure.message.contains(message)));
            inputs.push(input);
        }
        assert_eq!(inputs[0], inputs[1], "the seed decides");
    }
    Ok(())
}

//! The short form of `cargo xtask fuzz`, which the tests run: the corpus, and some thousand inputs
//! made of it.

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;

use fuzz::TARGETS;
use fuzz::engine::{self, Limit};

/// For all targets together; they differ in speed.
const INPUTS: [(&str, u64); 12] = [
    ("cookies", 500),
    ("tokens", 1_000),
    ("origins", 1_000),
    ("form_tokens", 1_000),
    ("cookie_policy", 1_000),
    ("codecs", 1_000),
    ("stored_data", 500),
    ("sealed", 1_000),
    ("device_proofs", 200),
    ("ql", 500),
    ("mysql_url", 1_000),
    ("table_names", 300),
];

/// One test, because the memory that an input needs is that of the process.
#[test]
fn nothing_breaks_and_every_target_reaches_far() -> Result<(), Box<dyn Error>> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz-inputs");
    let seed = RandomState::new().build_hasher().finish();
    for (target, (name, inputs)) in TARGETS.iter().zip(INPUTS) {
        assert_eq!(target.name, name);
        let report = engine::run(target, seed, Limit::Inputs(inputs), &directory)?;
        let report = report.unwrap_or_else(|failure| {
            panic!(
                "{name}: {}\nto repeat it: cargo xtask fuzz --target {name} --input {}",
                failure.message,
                failure.input.display()
            )
        });
        assert!(report.executions >= inputs);
        for far in reached(name) {
            let is_far = |outcome: &String| outcome.contains(far);
            assert!(report.outcomes.keys().any(is_far), "{name}: {far:?}: {report:?}");
        }
    }
    Ok(())
}

/// What happens only where inputs get through everything that a target reads.
fn reached(name: &str) -> &'static [&'static str] {
    match name {
        "cookies" => &["Session(", "Superseded", "Nothing, 5 tokens"],
        "tokens" => &["4 tokens"],
        "origins" => &["safe", "trusted", "the browser says so", "its host", "no browser", "None"],
        "form_tokens" => &["taken by 2", "taken by 1", "form true, taken by 0", "form false"],
        "cookie_policy" => &["accepted", "__Host- demands", "cookie domain"],
        "codecs" => &["3 values", "can't be encoded"],
        "stored_data" => &["loaded, 3 values, written", "fresh", "somebody, logged in"],
        "sealed" => &["opened", "unknown key", "newer", "undecodable", "a ring", "line 2"],
        "device_proofs" => {
            &["registers true", "refreshes true", "registers false, refreshes false"]
        }
        "ql" => &["9 rows", "Replayed", "Unfinished", "cycle", "damaged log", "overlap"],
        "mysql_url" => &["taken", "parameter", "scheme"],
        "table_names" => &["a table", "the same", "another kind", "begins with a digit"],
        _ => &[],
    }
}

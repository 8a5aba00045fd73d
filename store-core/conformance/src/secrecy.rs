//! Clause 30: tokens and data are secrets.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use chrono::{DateTime, Utc};
use log::{LevelFilter, Log, Metadata, Record};

use crate::Harness;
use crate::calls::{an_hour_ago, commit, in_an_hour, loaded, rotation, update};
use store_core::{Change, CleanupOptions, Error, Store};

/// What no output may contain.
const TOKEN: &str = "SECRETTOKEN";
const DATA: &str = "SECRETDATA";

/// Keeps what is logged, whatever thread logs it.
struct CapturingLog {
    lines: Mutex<String>,
}

static LOG: CapturingLog = CapturingLog { lines: Mutex::new(String::new()) };

impl Log for CapturingLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(lines, "{}: {}", record.target(), record.args());
    }

    fn flush(&self) {}
}

/// Starts an empty log, which is the caller's alone until the guard goes.
fn capture_log() -> MutexGuard<'static, ()> {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    static IN_USE: Mutex<()> = Mutex::new(());
    INSTALLED.get_or_init(|| {
        log::set_logger(&LOG).expect("the kit is the only logger of the test binary");
        log::set_max_level(LevelFilter::Trace);
    });
    let guard = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    LOG.lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
    guard
}

/// Clause 30: no error text, log line or `Debug` output contains a token or session data.
pub fn secrets_stay_out_of_errors_logs_and_debug_output<H: Harness>(harness: &H) {
    let _log = capture_log();
    let (cleanup, manual) = CleanupOptions::new().with_manual_cleanup();
    let store = harness.store(cleanup);
    let limits = harness.limits();
    let mut output = String::new();
    let mut errors: Vec<Error> = Vec::new();
    let mut note = |outcome: Result<(), Error>| errors.extend(outcome.err());

    let (token, other) = (format!("{TOKEN}-1"), format!("{TOKEN}-2"));
    commit(&store, &token, DATA.as_bytes(), in_an_hour());
    commit(&store, &other, DATA.as_bytes(), in_an_hour());
    commit(&store, &format!("{TOKEN}-3"), DATA.as_bytes(), an_hour_ago());
    let overlong = TOKEN.repeat(limits.max_token_len / TOKEN.len() + 1);
    let oversized = DATA.repeat(limits.max_data_len / DATA.len() + 1);
    note(store.commit(&overlong, DATA.as_bytes(), in_an_hour()));
    note(store.commit("", DATA.as_bytes(), in_an_hour()));
    note(store.commit(&token, oversized.as_bytes(), in_an_hour()));
    note(store.create(&overlong, DATA.as_bytes(), in_an_hour(), None));
    note(store.create(&token, DATA.as_bytes(), in_an_hour(), None));
    note(store.create(&format!("{TOKEN}-5"), oversized.as_bytes(), in_an_hour(), None));
    note(store.create(&format!("{TOKEN}-5"), DATA.as_bytes(), in_an_hour(), Some("")));
    let mut change = |change: &Change<'_>| {
        note(store.update(&token, DATA.as_bytes(), change).map(drop));
    };
    change(&Change::new(oversized.as_bytes(), in_an_hour()));
    change(&rotation(&other, DATA.as_bytes()));
    change(&rotation(&overlong, DATA.as_bytes()));
    change(&Change::new(DATA.as_bytes(), in_an_hour()).with_subject(Some("")));
    for odd in ["\0", "é", " ", "\n", "'"] {
        note(store.commit(&format!("{TOKEN}{odd}"), DATA.as_bytes(), in_an_hour()));
    }
    for expiry in [DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC] {
        note(store.commit(&token, DATA.as_bytes(), expiry));
        note(store.touch(&token, expiry).map(drop));
    }
    assert!(errors.len() >= 11, "the refusals are errors");

    // What succeeds must not be logged with its token or data either.
    let moved = format!("{TOKEN}-4");
    assert!(store.find(&other).expect("find succeeds").is_some());
    let same = Change::new(DATA.as_bytes(), in_an_hour());
    assert!(update(&store, &other, DATA.as_bytes(), &same));
    assert!(store.touch(&other, in_an_hour()).expect("touch succeeds"));
    let created = format!("{TOKEN}-6");
    store.create(&created, DATA.as_bytes(), in_an_hour(), None).expect("create succeeds");
    let change = rotation(&moved, DATA.as_bytes()).absorbing(&created, DATA.as_bytes());
    let _ = writeln!(output, "{change:?}");
    assert!(update(&store, &other, DATA.as_bytes(), &change));
    for token in [&other, &moved, &created] {
        let _ = writeln!(output, "{:?}", loaded(&store, token));
    }
    // An error, where there is no index of subjects; then no secret stands in it either.
    errors.extend(store.create(&created, DATA.as_bytes(), in_an_hour(), Some("subject")).err());
    match store.find_by_subject("subject") {
        Ok(records) => drop(writeln!(output, "{records:?}")),
        Err(error) => errors.push(error),
    }
    errors.extend(store.delete_by_subject("subject", Some(&moved)).err());
    for error in &errors {
        let mut cause: Option<&dyn StdError> = Some(error);
        while let Some(error) = cause {
            let _ = writeln!(output, "{error} {error:?}");
            cause = error.source();
        }
    }
    store.count().expect("count succeeds");
    store
        .for_each(&mut |record| {
            let _ = writeln!(output, "{record:?}");
            ControlFlow::Continue(())
        })
        .expect("the walk succeeds");
    assert!(manual.run() && manual.wait_until_idle(), "the thread runs");
    let _ = writeln!(output, "{store:?} {store:#?}");
    store.delete(&moved).expect("delete succeeds");
    store.stop_cleanup();

    let logged = LOG.lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for (place, text) in [("an error or Debug output", &output), ("the log", &logged)] {
        let bytes = format!("{:?}", DATA.as_bytes());
        for secret in [TOKEN, DATA, bytes.trim_matches(['[', ']'])] {
            assert!(!text.contains(secret), "{place} contains a secret:\n{text}");
        }
    }
}

//! A process that is killed in relaxed mode: what is lost are the last commits, and nobody comes back.

use std::env;
use std::error::Error as StdError;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use store_core::{CleanupOptions, Store};
use store_ql_compat::{Durability, QlOptions, QlStore};

type TestResult = Result<(), Box<dyn StdError>>;

const PATH_VARIABLE: &str = "RELAXED_CRASH_PATH";

/// A session is deleted after so many commits.
const DELETE_AFTER: usize = 40;

fn open(path: &Path, interval: Duration) -> Result<QlStore, store_ql_compat::Error> {
    QlOptions::new()
        .with_cleanup(CleanupOptions::disabled())
        .with_durability(Durability::Relaxed(interval))
        .open(path)
}

/// What the child does until it is killed.
fn write_for_ever(path: &Path) -> TestResult {
    let store = open(path, Duration::from_millis(20))?;
    for n in 0.. {
        store.commit(&format!("token-{n}"), b"data", Utc::now() + TimeDelta::hours(1))?;
        if n % DELETE_AFTER == 0 {
            store.delete(&format!("token-{n}"))?;
        }
        // Unlike `println!`, this passes the test runner's capture.
        let mut out = io::stdout().lock();
        writeln!(out, "\n@{n}")?;
        out.flush()?;
    }
    Ok(())
}

#[test]
fn killed_process_loses_the_last_commits_alone_and_revives_nobody() -> TestResult {
    if let Some(path) = env::var_os(PATH_VARIABLE) {
        return write_for_ever(Path::new(&path));
    }
    for told in [1, 30, 300, 1_000] {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("sessions.redb");
        let mut child = Command::new(env::current_exe()?)
            .args(["killed_process_loses_the_last_commits_alone_and_revives_nobody", "--exact"])
            .args(["--nocapture", "--test-threads=1"])
            .env(PATH_VARIABLE, &path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut last = 0;
        let numbers =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix('@')?.parse().ok());
        for n in numbers.take(told) {
            last = n;
        }
        child.kill()?;
        child.wait()?;

        let store = open(&path, Duration::from_secs(3_600))?;
        let is_there = |n: usize| store.find(&format!("token-{n}")).map(|found| found.is_some());
        // Deletions are durable, and so is all that was committed before them.
        let safe = last / DELETE_AFTER * DELETE_AFTER;
        for n in 0..=safe {
            assert_eq!(is_there(n)?, n % DELETE_AFTER != 0, "{n} of {last}");
        }
        let mut is_lost = false;
        for n in safe + 1..=last {
            let is_found = is_there(n)?;
            assert!(!(is_lost && is_found), "{n} is there, and one before it isn't");
            is_lost |= !is_found;
        }
        store.commit("after", b"the kill", Utc::now() + TimeDelta::hours(1))?;
    }
    Ok(())
}

//! A process that is killed in relaxed mode loses its last commits, and brings back no session.

use std::env;
use std::error::Error as StdError;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{Change, CleanupOptions, Loaded, Rotation, Store};
use store_ql_compat::{Durability, QlOptions, QlStore};

type TestResult = Result<(), Box<dyn StdError>>;

const PATH_VARIABLE: &str = "RELAXED_CRASH_PATH";

/// After this many commits, a session is deleted.
const DELETE_AFTER: usize = 40;

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

fn open(path: &Path, interval: Duration) -> Result<QlStore, store_ql_compat::Error> {
    QlOptions::new()
        .with_cleanup(CleanupOptions::disabled())
        .with_durability(Durability::Relaxed(interval))
        .open(path)
}

/// What the child does until it is killed.
fn write_forever(path: &Path) -> TestResult {
    let store = open(path, Duration::from_millis(20))?;
    for n in 0.. {
        store.commit(&format!("token-{n}"), b"data", in_an_hour())?;
        if n % DELETE_AFTER == 0 {
            store.delete(&format!("token-{n}"))?;
        }
        report(n)?;
    }
    Ok(())
}

/// As [`write_forever`], with all that one update can do.
fn log_in_forever(path: &Path) -> TestResult {
    let store = open(path, Duration::from_millis(20))?;
    for n in 0.. {
        let [visitor, other, user] = ["visitor", "other", "user"].map(|name| format!("{name}-{n}"));
        store.create(&visitor, b"cart", in_an_hour(), Some(&visitor))?;
        store.create(&other, b"more", in_an_hour(), None)?;
        let login = Change::new(b"cart and more", in_an_hour())
            .with_rotation(Rotation::new(&user).with_grace(Rotation::MAX_GRACE))
            .with_subject(Some("user"))
            .absorbing(&other, b"more");
        assert!(store.update(&visitor, b"cart", &login)?);
        report(n)?;
    }
    Ok(())
}

/// Unlike `println!`, this passes the test runner's capture.
fn report(n: usize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\n@{n}")?;
    out.flush()
}

/// Runs a test again as another process, kills it once it has reported this many numbers, and
/// returns the last one.
fn kill_after(reported: usize, test: &str, path: &Path) -> Result<usize, Box<dyn StdError>> {
    let mut child = Command::new(env::current_exe()?)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(PATH_VARIABLE, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut last = 0;
    let numbers =
        lines.map_while(Result::ok).filter_map(|line| line.strip_prefix('@')?.parse().ok());
    for n in numbers.take(reported) {
        last = n;
    }
    child.kill()?;
    child.wait()?;
    Ok(last)
}

#[test]
fn killed_process_loses_the_last_commits_alone_and_revives_nobody() -> TestResult {
    if let Some(path) = env::var_os(PATH_VARIABLE) {
        return write_forever(Path::new(&path));
    }
    for reported in [1, 30, 300, 1_000] {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("sessions.redb");
        let test = "killed_process_loses_the_last_commits_alone_and_revives_nobody";
        let last = kill_after(reported, test, &path)?;
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
        store.commit("after", b"the kill", in_an_hour())?;
    }
    Ok(())
}

#[test]
fn killed_process_has_done_each_login_as_a_whole_or_not_at_all() -> TestResult {
    if let Some(path) = env::var_os(PATH_VARIABLE) {
        return log_in_forever(Path::new(&path));
    }
    for reported in [1, 10, 50, 51, 52] {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("sessions.redb");
        let test = "killed_process_has_done_each_login_as_a_whole_or_not_at_all";
        let last = kill_after(reported, test, &path)?;

        let store = open(&path, Duration::from_secs(3_600))?;
        let mut logged_in = 0;
        // Some come after the last one that was reported.
        for n in 0..last + 1_000 {
            let [visitor, other, user] =
                ["visitor", "other", "user"].map(|name| format!("{name}-{n}"));
            let loaded = store.load(&visitor)?;
            let as_visitor = store.find_by_subject(&visitor)?.len();
            if store.find(&user)?.is_some() {
                assert_eq!(loaded, Loaded::Rotated { token: user, opens: false }, "{n} of {last}");
                assert_eq!(store.find(&other)?, None, "{n} of {last}");
                assert_eq!(as_visitor, 0, "{n} of {last}");
                logged_in += 1;
            } else {
                assert!(n > last, "{n} of {last} is lost");
                let is_there = matches!(loaded, Loaded::Live { .. });
                assert!(is_there || loaded == Loaded::Missing, "{n} of {last}: {loaded:?}");
                assert_eq!(as_visitor, usize::from(is_there), "{n} of {last}");
            }
        }
        assert_eq!(store.find_by_subject("user")?.len(), logged_in);
    }
    Ok(())
}

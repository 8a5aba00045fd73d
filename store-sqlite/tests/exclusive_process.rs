//! A file that is kept for one process. Other processes are this test's binary again.
#![cfg(unix)]

use std::error::Error as StdError;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, thread};

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;
use store_core::{CleanupOptions, Error, Store};
use store_sqlite::{Durability, SqliteOptions};

type TestResult = Result<(), Box<dyn StdError>>;

/// Tells another process where the database is, and what to expect there.
const PATH: &str = "STORE_SQLITE_TEST_PATH";
const ROLE: &str = "STORE_SQLITE_TEST_ROLE";

fn options() -> SqliteOptions {
    SqliteOptions::new()
        .with_cleanup(CleanupOptions::disabled())
        .with_contention_timeout(Duration::from_millis(50))
}

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

/// Runs this test in another process, in which [`role`] returns the same.
fn in_another_process(test: &str, role: &str, path: &Path) -> TestResult {
    let output = Command::new(env::current_exe()?)
        .args(["--exact", test, "--nocapture"])
        .env(PATH, path)
        .env(ROLE, role)
        .output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the test has run");
    Ok(())
}

fn role() -> Option<(String, PathBuf)> {
    Some((env::var(ROLE).ok()?, env::var_os(PATH)?.into()))
}

#[test]
fn other_processes_are_kept_out_until_the_last_store_is_dropped() -> TestResult {
    let test = "other_processes_are_kept_out_until_the_last_store_is_dropped";
    match role() {
        Some((role, path)) if role == "kept out" => return expect_to_be_kept_out(&path),
        Some((_, path)) => {
            assert_eq!(options().open(path)?.count()?, 2);
            return Ok(());
        }
        None => {}
    }
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let first = options().with_exclusive_process().open(&path)?;
    let second = options().with_exclusive_process().open(&path)?;
    first.commit("first", b"data", in_an_hour())?;
    in_another_process(test, "kept out", &path)?;
    drop(first);
    in_another_process(test, "kept out", &path)?;
    second.commit("second", b"data", in_an_hour())?;
    drop(second);
    in_another_process(test, "let in", &path)
}

fn expect_to_be_kept_out(path: &Path) -> TestResult {
    for options in [options(), options().with_exclusive_process()] {
        match options.open(path) {
            Err(Error::Contended { source }) => {
                assert_eq!(source.to_string(), "database is locked");
            }
            other => panic!("{other:?}"),
        }
    }
    let other = Connection::open(path)?;
    other.busy_timeout(Duration::ZERO)?;
    let tables = "SELECT count(*) FROM sqlite_schema";
    let read = other.query_row(tables, [], |row| row.get::<_, i64>(0));
    assert_eq!(read.expect_err("it is locked").to_string(), "database is locked");
    Ok(())
}

#[test]
fn file_that_another_process_has_open_is_not_taken() -> TestResult {
    let test = "file_that_another_process_has_open_is_not_taken";
    if let Some((_, path)) = role() {
        let taken = options().with_exclusive_process().open(path);
        assert!(matches!(taken, Err(Error::Contended { .. })), "{taken:?}");
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let store = options().open(&path)?;
    store.commit("token", b"data", in_an_hour())?;
    in_another_process(test, "kept out", &path)?;
    assert!(store.find("token")?.is_some());
    Ok(())
}

/// SQLite keeps one record of a file's locks for all connections of a process, however each was
/// opened.
#[test]
fn connections_of_the_same_process_share_the_file_however_they_are_opened() -> TestResult {
    const COMMITS: usize = 200;
    let test = "connections_of_the_same_process_share_the_file_however_they_are_opened";
    if let Some((_, path)) = role() {
        return expect_to_be_kept_out(&path);
    }
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let patient = || {
        options()
            .with_contention_timeout(Duration::from_secs(60))
            .with_durability(Durability::Normal)
    };
    let exclusive = patient().with_exclusive_process().open(&path)?;
    exclusive.commit("token", b"data", in_an_hour())?;
    let shared = patient().open(&path)?;
    thread::scope(|scope| {
        let threads = [("exclusive", &exclusive), ("shared", &shared)].map(|(name, store)| {
            scope.spawn(move || {
                (0..COMMITS)
                    .try_for_each(|n| store.commit(&format!("{name}-{n}"), b"data", in_an_hour()))
            })
        });
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    assert_eq!((exclusive.count()?, shared.count()?), (2 * COMMITS as u64 + 1, exclusive.count()?));
    drop(shared);
    in_another_process(test, "kept out", &path)?;

    // A backup by a connection of this process.
    let copy = directory.path().join("copy.db");
    Connection::open(&path)?.execute("VACUUM INTO ?1", [copy.to_str()])?;
    in_another_process(test, "kept out", &path)?;
    assert_eq!(options().open(copy)?.count()?, 2 * COMMITS as u64 + 1);
    Ok(())
}

#[test]
fn every_path_leads_to_the_same_file_as_without() -> TestResult {
    let directory = tempfile::tempdir()?;
    let mut twice = OsString::from("/");
    twice.push(directory.path());
    for name in [
        OsString::from("a?mode=memory"),
        OsString::from("b#c"),
        OsString::from("d%20e"),
        OsString::from_vec(b"f\xff".to_vec()),
    ] {
        let path = directory.path().join(&name);
        let store = options().with_exclusive_process().open(Path::new(&twice).join(&name))?;
        store.commit("token", b"data", in_an_hour())?;
        drop(store);
        assert!(options().open(&path)?.find("token")?.is_some(), "{path:?}");
    }
    assert_eq!(directory.path().read_dir()?.count(), 4, "no other file was made");
    Ok(())
}

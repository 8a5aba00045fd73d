//! What the system says of a disk, and SQLite keeps to itself. Each test runs again in a process of
//! its own, under limits and on file systems that a shell makes for it.
#![cfg(target_os = "linux")]

use std::error::Error as StdError;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, thread};

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{CleanupOptions, Store};
use store_sqlite::{Error, SqliteOptions};

type TestResult = Result<(), Box<dyn StdError>>;

/// The directory that a shell has prepared for the test that runs in it.
const DIRECTORY: &str = "STORE_SQLITE_TEST_DIRECTORY";

/// A private view of the file systems, in which the test may mount some.
const MOUNTING: &[&str] = &["unshare", "--user", "--map-root-user", "--mount"];

/// Runs a test in a shell after a script, which has the directory as `$1`. Returns the directory in
/// that process.
fn prepared(
    test: &str,
    wrapper: &[&str],
    script: &str,
) -> Result<Option<PathBuf>, Box<dyn StdError>> {
    if let Some(directory) = env::var_os(DIRECTORY) {
        return Ok(Some(directory.into()));
    }
    let directory = tempfile::tempdir()?;
    // So that there is a database already.
    options().open(directory.path().join("old.db"))?.commit("old", b"data", in_an_hour())?;
    let shell = |script: &str| {
        let mut words = wrapper.iter().chain(&["sh", "-c"]);
        let mut command = Command::new(words.next().unwrap_or(&"sh"));
        command.args(words).args([script, "sh"]).arg(directory.path());
        command
    };
    // A container may have no right to mount anything; then there is nothing to test.
    if !wrapper.is_empty() && !shell("mount -t tmpfs tmpfs \"$1\"").status()?.success() {
        return Ok(None);
    }
    let output = shell(&format!("{script} && shift && exec \"$@\""))
        .arg(env::current_exe()?)
        .args(["--exact", test, "--nocapture"])
        .env(DIRECTORY, directory.path())
        .output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the test has run");
    Ok(None)
}

fn options() -> SqliteOptions {
    SqliteOptions::new().with_cleanup(CleanupOptions::disabled())
}

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

#[test]
fn file_that_may_not_grow_is_a_full_disk() -> TestResult {
    // Without a trap the signal would end the process before SQLite saw an error.
    let script = "trap '' XFSZ && ulimit -f 1000";
    let Some(directory) = prepared("file_that_may_not_grow_is_a_full_disk", &[], script)? else {
        return Ok(());
    };
    let store = options().open(directory.join("old.db"))?;
    match store.commit("new", &vec![b'x'; 2_000_000], in_an_hour()) {
        Err(Error::StorageFull { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(store.find("old")?.is_some());
    Ok(())
}

#[test]
fn lack_of_file_descriptors_is_no_exhausted_pool() -> TestResult {
    let test = "lack_of_file_descriptors_is_no_exhausted_pool";
    let Some(directory) = prepared(test, &[], "ulimit -n 200")? else {
        return Ok(());
    };
    let store = options()
        .with_checkout_timeout(Duration::from_millis(500))
        .open(directory.join("old.db"))?;
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    let outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| store.find("old"))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    for outcome in outcomes {
        match outcome {
            Ok(found) => assert!(found.is_some()),
            Err(error @ Error::Unreachable { .. }) => {
                let cause = error.source().expect("the cause is kept").to_string();
                assert!(cause.contains("unable to open"), "{cause}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    drop(files);
    assert!(store.find("old")?.is_some());
    Ok(())
}

#[test]
fn read_only_medium_is_read_only() -> TestResult {
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"";
    let Some(directory) = prepared("read_only_medium_is_read_only", MOUNTING, script)? else {
        return Ok(());
    };
    for name in ["old.db", "new.db"] {
        match options().open(directory.join(name)) {
            Err(Error::ReadOnly { .. }) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
    Ok(())
}

#[test]
fn disk_that_is_full_while_a_database_is_made_is_full() -> TestResult {
    let test = "disk_that_is_full_while_a_database_is_made_is_full";
    let script = "mount -t tmpfs -o size=256k tmpfs \"$1\"";
    let Some(directory) = prepared(test, MOUNTING, script)? else {
        return Ok(());
    };
    let path = directory.join("app.db");
    let mut refused = 0;
    for kibibytes in (0..200).step_by(4) {
        let filler = directory.join("filler");
        fill(&filler)?;
        let len = fs::metadata(&filler)?.len();
        File::options().write(true).open(&filler)?.set_len(len.saturating_sub(kibibytes * 1024))?;
        match options().open(&path) {
            Ok(_) => {}
            Err(Error::StorageFull { .. }) => refused += 1,
            Err(other) => panic!("{kibibytes} KiB: {other:?}"),
        }
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut path = path.clone().into_os_string();
            path.push(suffix);
            let _ = fs::remove_file(path);
        }
        fs::remove_file(filler)?;
    }
    assert!((1..50).contains(&refused), "{refused}");
    Ok(())
}

/// Writes until there is no room.
fn fill(path: &Path) -> TestResult {
    let mut file = File::create(path)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    Ok(())
}

//! A thin volume that runs full and is enlarged later: a file system on a loop device whose file is
//! on a tmpfs of limited size. Writes succeed there, and syncs fail.

#![cfg(target_os = "linux")]

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{CleanupOptions, Store};
use store_ql_compat::{Error, QlOptions, QlStore};

type TestResult = Result<(), Box<dyn StdError>>;

/// How long a store may take to come back once its volume works again.
const PATIENCE: Duration = Duration::from_secs(60);

/// As large as the file system believes to be.
const VOLUME_LEN: u64 = 256 << 20;

fn run(program: &str, arguments: &[&str]) -> TestResult {
    let output = Command::new(program).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// A mounted volume, unmounted at the end of the test.
struct Volume {
    directory: tempfile::TempDir,
}

impl Volume {
    fn create(len: &str) -> Result<Self, Box<dyn StdError>> {
        let volume = Self { directory: tempfile::tempdir()? };
        fs::create_dir(volume.memory())?;
        fs::create_dir(volume.mounted())?;
        let memory = path_str(&volume.memory()).to_owned();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={len}"), "tmpfs", &memory])?;
        File::create(volume.image())?.set_len(VOLUME_LEN)?;
        run("mkfs.ext4", &["-q", "-F", path_str(&volume.image())])?;
        volume.mount()?;
        Ok(volume)
    }

    fn memory(&self) -> PathBuf {
        self.directory.path().join("memory")
    }

    fn image(&self) -> PathBuf {
        self.memory().join("image")
    }

    fn mounted(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    fn mount(&self) -> TestResult {
        run("mount", &["-o", "loop", path_str(&self.image()), path_str(&self.mounted())])
    }

    fn unmount(&self) -> TestResult {
        run("umount", &[path_str(&self.mounted())])
    }

    fn enlarge(&self, len: &str) -> TestResult {
        let options = format!("remount,size={len}");
        run("mount", &["-o", &options, path_str(&self.memory())])
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        for path in [self.mounted(), self.memory()] {
            let _ = run("umount", &["-l", path_str(&path)]);
        }
    }
}

fn path_str(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

fn open(path: &Path) -> Result<QlStore, Error> {
    QlOptions::new().with_cleanup(CleanupOptions::disabled()).open(path)
}

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

/// Commits a session that no other is like, and returns its data.
fn commit(store: &QlStore, n: usize) -> Result<Vec<u8>, Error> {
    let data = n.to_le_bytes().repeat(1_000);
    store.commit(&format!("token-{n}"), &data, in_an_hour()).map(|()| data)
}

#[test]
#[ignore = "needs root, loop devices and mkfs.ext4"]
fn volume_that_ran_full_and_was_enlarged_has_every_commit() -> TestResult {
    let volume = match Volume::create("24m") {
        Ok(volume) => volume,
        Err(error) => {
            println!("SKIPPED: no volume can be made here: {error}");
            return Ok(());
        }
    };
    let path = volume.mounted().join("sessions.redb");
    let store = open(&path)?;
    let mut acknowledged = HashMap::new();
    let mut failures = Vec::new();
    let mut n = 0;
    while failures.len() < 20 {
        match commit(&store, n) {
            Ok(data) => drop(acknowledged.insert(n, data)),
            Err(error @ (Error::StorageFull { .. } | Error::Backend { .. })) => {
                failures.push(error);
            }
            Err(other) => panic!("{n}: {other:?}"),
        }
        n += 1;
        assert!(n < 100_000, "the volume doesn't run full");
    }
    let before = acknowledged.len();
    volume.enlarge("512m")?;
    // The store tries again after a pause.
    let begun = Instant::now();
    while let Err(error) = store.count() {
        assert!(begun.elapsed() < PATIENCE, "it doesn't come back: {error:?}");
        thread::yield_now();
    }
    for n in n..n + 2_000 {
        acknowledged.insert(n, commit(&store, n)?);
    }
    drop(store);
    volume.unmount()?;
    volume.mount()?;
    let store = open(&path)?;
    for (n, data) in &acknowledged {
        let found = store.find(&format!("token-{n}"))?;
        assert_eq!(found.as_ref(), Some(data), "{n} of {}", acknowledged.len());
    }
    println!(
        "{before} commits before, and {} in all; first error: {:?}",
        acknowledged.len(),
        failures[0]
    );
    drop(store);
    Ok(())
}

//! A thin volume that runs full and is enlarged later: a file system on a loop device whose file is
//! on a tmpfs of limited size. Writes succeed there, and syncs fail.

#![cfg(target_os = "linux")]

use std::collections::HashMap;
use std::env;
use std::error::Error as StdError;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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

/// The data of a session, which no other has.
fn data(n: usize) -> Vec<u8> {
    n.to_le_bytes().repeat(1_000)
}

/// Commits a session, and returns its data.
fn commit(store: &QlStore, n: usize) -> Result<Vec<u8>, Error> {
    let data = data(n);
    store.commit(&format!("token-{n}"), &data, in_an_hour()).map(|()| data)
}

/// What has been committed, and must be in the file after the next mount.
#[derive(Default)]
struct Acknowledged(HashMap<usize, Vec<u8>>);

impl Acknowledged {
    /// Commits the sessions of these numbers.
    fn commit_all(&mut self, store: &QlStore, numbers: Range<usize>) -> Result<(), Error> {
        // The store tries again after a pause.
        let begun = Instant::now();
        while let Err(error) = store.count() {
            assert!(begun.elapsed() < PATIENCE, "it doesn't come back: {error:?}");
            thread::yield_now();
        }
        for n in numbers {
            self.0.insert(n, commit(store, n)?);
        }
        Ok(())
    }

    fn check_after_remount(&self, volume: &Volume, path: &Path) -> TestResult {
        volume.unmount()?;
        volume.mount()?;
        let store = open(path)?;
        for (n, data) in &self.0 {
            let found = store.find(&format!("token-{n}"))?;
            assert_eq!(found.as_ref(), Some(data), "{n} of {}", self.0.len());
        }
        Ok(())
    }
}

/// Returns a volume that is soon full, or says that there is none here.
fn small_volume() -> Option<Volume> {
    match Volume::create("24m") {
        Ok(volume) => Some(volume),
        Err(error) => {
            // Unlike `eprintln!`, this passes the test runner's capture.
            let _ = writeln!(std::io::stderr(), "SKIPPED: no volume can be made here: {error}");
            None
        }
    }
}

#[test]
#[ignore = "needs root, loop devices and mkfs.ext4"]
fn volume_that_ran_full_and_was_enlarged_has_every_commit() -> TestResult {
    let Some(volume) = small_volume() else { return Ok(()) };
    let path = volume.mounted().join("sessions.redb");
    let store = open(&path)?;
    let mut acknowledged = Acknowledged::default();
    let mut failures = 0;
    let mut n = 0;
    while failures < 20 {
        match commit(&store, n) {
            Ok(data) => drop(acknowledged.0.insert(n, data)),
            Err(Error::StorageFull { .. } | Error::Backend { .. }) => failures += 1,
            Err(other) => panic!("{n}: {other:?}"),
        }
        n += 1;
        assert!(n < 100_000, "the volume doesn't run full");
    }
    volume.enlarge("512m")?;
    acknowledged.commit_all(&store, n..n + 2_000)?;
    drop(store);
    acknowledged.check_after_remount(&volume, &path)
}

/// Commits until the volume is full, and waits to be killed.
fn fill(path: &Path) -> TestResult {
    let store = open(path)?;
    let mut out = std::io::stdout().lock();
    for n in 0.. {
        if commit(&store, n).is_err() {
            break;
        }
        writeln!(out, "\n@{n}")?;
    }
    writeln!(out, "\n@full")?;
    out.flush()?;
    let _ = std::io::stdin().read(&mut [0]);
    Ok(())
}

#[test]
#[ignore = "needs root, loop devices and mkfs.ext4"]
fn volume_that_ran_full_under_a_process_that_was_killed_has_every_commit() -> TestResult {
    const PATH_VARIABLE: &str = "FULL_VOLUME_PATH";
    if let Some(path) = env::var_os(PATH_VARIABLE) {
        return fill(Path::new(&path));
    }
    let Some(volume) = small_volume() else { return Ok(()) };
    let path = volume.mounted().join("sessions.redb");
    let test = "volume_that_ran_full_under_a_process_that_was_killed_has_every_commit";
    let mut child = Command::new(env::current_exe()?)
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(PATH_VARIABLE, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut acknowledged = Acknowledged::default();
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
        match line?.strip_prefix('@') {
            Some("full") => break,
            Some(n) => {
                let n = n.parse()?;
                acknowledged.0.insert(n, data(n));
            }
            None => {}
        }
    }
    child.kill()?;
    child.wait()?;
    assert!(acknowledged.0.len() > 100);
    volume.enlarge("512m")?;
    let store = open(&path)?;
    acknowledged.commit_all(&store, 100_000..100_500)?;
    drop(store);
    acknowledged.check_after_remount(&volume, &path)
}

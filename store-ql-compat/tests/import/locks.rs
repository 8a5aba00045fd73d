//! A database that a process has open is refused, and its lock is left alone.
#![cfg(unix)]

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::genuine::{Genuine, options, target};
use rustix::fs::{FlockOperation, fcntl_lock};
use store_ql_compat::{ImportError, import_ql};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Names the file that a child process is to lock.
const LOCK: &str = "STORE_QL_COMPAT_LOCK";

/// Not a test of its own: the child process that [`Holder`] starts. Locks of `fcntl` belong to
/// processes, so a process can't see its own.
#[test]
fn child_that_holds_a_lock() -> Result {
    let Some(path) = env::var_os(LOCK) else { return Ok(()) };
    let file = File::create(path)?;
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)?;
    let stdin = io::stdin();
    announce();
    stdin.lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn announce() {
    println!("\nlocked");
}

/// A process that holds a lock until it is dropped.
struct Holder {
    child: Child,
    /// Kept open, because the child goes on printing.
    _output: BufReader<ChildStdout>,
}

impl Holder {
    fn of(lock: &PathBuf) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["--exact", "locks::child_that_holds_a_lock", "--nocapture"])
            .env(LOCK, lock)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("it is piped")?;
        let mut output = BufReader::new(output);
        let locked = output.by_ref().lines().any(|line| line.is_ok_and(|line| line == "locked"));
        let holder = Self { child, _output: output };
        if locked { Ok(holder) } else { Err("the child didn't lock the file".into()) }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Closing its input ends it.
        drop(self.child.stdin.take());
        self.child.wait().expect("it was started");
    }
}

/// Where ql keeps the lock of a database of this name: the SHA-1 sum of "v1-small.dblockfile".
fn lock_of(genuine: &Genuine) -> PathBuf {
    genuine.path.with_file_name(".b1b003b5388feff79ae2c0643ff12fe1b3ca0456")
}

#[test]
fn locked_database_is_refused_until_it_is_free() -> Result {
    let genuine = Genuine::copy("v1-small.db");
    let lock = lock_of(&genuine);
    for _ in 0..2 {
        let holder = Holder::of(&lock)?;
        // Twice, because asking must not take the lock away.
        for _ in 0..2 {
            match import_ql(&genuine.path, &target(), &options()) {
                Err(ImportError::InUse { pid, lock: found }) => {
                    assert_eq!(pid, Some(holder.child.id()));
                    assert_eq!(found, lock);
                }
                other => panic!("{other:?}"),
            }
        }
        // The same under another name of the same file.
        let link = genuine.path.with_file_name("link.db");
        std::os::unix::fs::symlink(&genuine.path, &link)?;
        let refused = import_ql(&link, &target(), &options());
        assert!(matches!(refused, Err(ImportError::InUse { .. })), "{refused:?}");
        fs::remove_file(link)?;

        drop(holder);
        let before = genuine.snapshot();
        assert_eq!(import_ql(&genuine.path, &target(), &options())?.imported, 4);
        assert!(genuine.snapshot() == before, "asking changes nothing");
    }
    Ok(())
}

#[test]
fn database_that_is_opened_during_it_is_reported() {
    let genuine = Genuine::copy("v1-small.db");
    let lock = lock_of(&genuine);
    let holder = std::sync::Arc::new(std::sync::Mutex::new(None));
    let started = holder.clone();
    let options = options().with_progress_hook(7, move |_| {
        let mut holder = started.lock().expect("nobody panics");
        holder.get_or_insert_with(|| Holder::of(&lock).expect("a child locks it"));
    });
    let refused = import_ql(&genuine.path, &target(), &options);
    assert!(matches!(refused, Err(ImportError::InUse { .. })), "{refused:?}");
}

#[test]
fn database_that_is_written_to_during_it_is_reported() {
    let genuine = Genuine::copy("v1-small.db");
    let path = genuine.path.clone();
    let options = options().with_progress_hook(7, move |_| {
        let mut content = fs::read(&path).expect("readable");
        content.extend([0; 16]);
        fs::write(&path, content).expect("writable");
    });
    let refused = import_ql(&genuine.path, &target(), &options);
    assert!(matches!(refused, Err(ImportError::Changed)), "{refused:?}");
}

//! Clause 29 after a fork: the copy of a store in the child says what it is, and harms nothing.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::thread;
use std::time::Duration;

use store_core::{Change, CleanupOptions, Error, Store};

use crate::Harness;
use crate::calls::{HOUR, commit, found, in_an_hour, within};

/// Forks this process, and hands the child its copy of a value. Returns the parent's once the child
/// has ended.
///
/// The child has no other thread, and what other threads of the parent had locked at the time stays
/// locked in it. It ends by a signal that can't be caught, so nothing runs at its end.
///
/// # Panics
/// If the child panics, or takes longer than the patience.
///
/// # Examples
/// ```
/// use std::process;
/// use std::time::Duration;
/// use store_conformance::in_fork;
///
/// let parent = in_fork(process::id(), Duration::from_secs(60), |parent| {
///     assert_ne!(parent, process::id());
/// });
/// assert_eq!(parent, process::id());
/// ```
pub fn in_fork<T>(value: T, patience: Duration, child: impl FnOnce(T)) -> T {
    let (reader, mut writer) = io::pipe().expect("a pipe can be made");
    match fork::fork().expect("the process can be forked") {
        fork::Fork::Child => {
            let outcome = catch_unwind(AssertUnwindSafe(|| child(value)));
            let report = match &outcome {
                Ok(()) => "ended".to_owned(),
                Err(panic) => panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("it panicked")
                    .replace('\n', " "),
            };
            // If it fails, the parent sees the end of the pipe.
            let _ = writeln!(writer, "{report}").and_then(|()| writer.flush());
            // Its threads would be missed at an ordinary end.
            let _ = rustix::process::kill_process(rustix::process::getpid(), SIGKILL);
            process::abort()
        }
        fork::Fork::Parent(id) => {
            drop(writer);
            // Children that other tests have forked meanwhile have the writer, too, so it is the
            // line that counts, and not the end of the pipe.
            let report = catch_unwind(AssertUnwindSafe(|| {
                within(patience, "the forked process", move || {
                    let mut line = String::new();
                    BufReader::new(reader).read_line(&mut line).map(|_| line)
                })
            }));
            if let Some(id) = rustix::process::Pid::from_raw(id) {
                let _ = rustix::process::kill_process(id, SIGKILL);
            }
            fork::waitpid(id).expect("it is a child of this process");
            let report = report.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let report = report.expect("the pipe can be read");
            assert_eq!(report, "ended\n", "in the forked process");
            value
        }
    }
}

const SIGKILL: rustix::process::Signal = rustix::process::Signal::KILL;

/// Waits until this process has no more threads than `count`: those of a pool that was dropped end
/// a moment later. Where they can't be counted it doesn't wait.
///
/// # Examples
/// ```
/// use store_conformance::{count_threads, wait_for_threads};
///
/// let before = count_threads();
/// let thread = std::thread::spawn(|| {});
/// thread.join().expect("it doesn't panic");
/// wait_for_threads(before);
/// ```
pub fn wait_for_threads(count: Option<usize>) {
    while count_threads() > count {
        thread::yield_now();
    }
}

/// Returns how many threads this process has, if the system says so.
///
/// # Examples
/// ```
/// assert_ne!(store_conformance::count_threads(), Some(0));
/// ```
#[must_use]
pub fn count_threads() -> Option<usize> {
    fs::read_dir("/proc/self/task").ok().map(Iterator::count)
}

/// Clause 29: in a process that was forked since, each operation returns [`Error::Forked`], nothing
/// hangs or panics, and the parent goes on with its store.
pub fn forked_process_is_told_and_harms_nothing<H: Harness>(harness: &H) {
    let store = harness.store(CleanupOptions::new().with_interval(HOUR));
    commit(&store, "token", b"data", in_an_hour());
    let store = in_fork(store, harness.patience(), |store| {
        let change = Change::new(b"new", in_an_hour());
        for (operation, outcome) in [
            ("find", store.find("token").map(drop)),
            ("load", store.load("token").map(drop)),
            ("commit", store.commit("token", b"new", in_an_hour())),
            ("create", store.create("another", b"data", in_an_hour(), None)),
            ("update", store.update("token", b"data", &change).map(drop)),
            ("touch", store.touch("token", in_an_hour()).map(drop)),
            ("delete", store.delete("token")),
            ("delete_expired", store.delete_expired().map(drop)),
            ("all", store.all().map(drop)),
            ("count", store.count().map(drop)),
        ] {
            assert!(matches!(outcome, Err(Error::Forked)), "{operation} returned {outcome:?}");
        }
        for (operation, outcome) in [
            ("find_by_subject", store.find_by_subject("user").map(drop)),
            ("delete_by_subject", store.delete_by_subject("user", None).map(drop)),
        ] {
            // An index that the store doesn't have is missing in each process.
            let is_refused = matches!(outcome, Err(Error::Forked | Error::TableMissing { .. }));
            assert!(is_refused, "{operation} returned {outcome:?}");
        }
        let _ = format!("{store:?}");
        let _ = store.cleanup_statistics();
        store.stop_cleanup();
        store.stop_cleanup();
        drop(store);
    });
    assert_eq!(found(&store, "token").as_deref(), Some(&b"data"[..]));
    commit(&store, "token", b"new", in_an_hour());
    assert_eq!(store.count().expect("it counts"), 1);
    store.stop_cleanup();
    drop(store);
}

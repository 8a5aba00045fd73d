//! The application's processes, as visitors reach them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;

use crate::{Error, Result};

/// Only ends what hangs.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A number of processes, which serve the same sessions.
pub(crate) struct Site {
    status: Mutex<Status>,
    changed: Condvar,
    pub(crate) tally: Tally,
}

struct Status {
    processes: Vec<Process>,
    /// Whether visitors are to leave.
    is_closed: bool,
    violation: Option<Error>,
}

#[derive(Clone, Default)]
struct Process {
    /// Where it listens, while it does.
    url: Option<String>,
    /// How often it was started.
    generation: u64,
}

/// The process to which a request goes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) url: String,
    process: usize,
    generation: u64,
}

/// What was tried.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) answered: AtomicU64,
    pub(crate) log_ins: AtomicU64,
    pub(crate) log_outs: AtomicU64,
    pub(crate) bursts: AtomicU64,
    pub(crate) rotations: AtomicU64,
    pub(crate) expiries: AtomicU64,
    pub(crate) dead_cookies: AtomicU64,
    pub(crate) unanswered: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) kills: AtomicU64,
    pub(crate) server_kills: AtomicU64,
}

impl Tally {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

impl Site {
    pub(crate) fn new(processes: usize) -> Self {
        let status = Status {
            processes: vec![Process::default(); processes],
            is_closed: false,
            violation: None,
        };
        Self { status: Mutex::new(status), changed: Condvar::new(), tally: Tally::default() }
    }

    /// A process listens here from now on.
    pub(crate) fn is_up(&self, process: usize, url: String) {
        let mut status = self.lock();
        let process = &mut status.processes[process];
        process.url = Some(url);
        process.generation += 1;
        self.changed.notify_all();
    }

    /// A process is about to end.
    pub(crate) fn is_down(&self, process: usize) {
        self.lock().processes[process].url = None;
    }

    /// Chooses a process that listens, and waits for one if none does; none if visitors are to
    /// leave.
    pub(crate) fn choose(&self, random: &mut Rng) -> Result<Option<Target>> {
        let mut status = self.lock();
        loop {
            if status.is_closed {
                return Ok(None);
            }
            let up = status.processes.iter().enumerate().filter_map(|(number, process)| {
                let url = process.url.clone()?;
                Some(Target { url, process: number, generation: process.generation })
            });
            let up: Vec<_> = up.collect();
            if !up.is_empty() {
                return Ok(Some(up[random.usize(..up.len())].clone()));
            }
            status = self.wait(status)?;
        }
    }

    /// Waits until the process that didn't answer has a successor, before which nothing of the
    /// requests to it is under way any more. A process that lives answers.
    pub(crate) fn wait_for_successor(&self, target: &Target, problem: &str) -> Result {
        let mut status = self.lock();
        loop {
            let process = &status.processes[target.process];
            let has_successor = process.url.is_some() && process.generation > target.generation;
            if has_successor || status.is_closed {
                return Ok(());
            }
            if process.url.is_some() {
                return Err(format!("a process that lives didn't answer: {problem}").into());
            }
            status = self.wait(status)?;
        }
    }

    /// Sends the visitors away, for good. The first violation is kept.
    pub(crate) fn close(&self, violation: Option<Error>) {
        let mut status = self.lock();
        status.is_closed = true;
        if status.violation.is_none() {
            status.violation = violation;
        }
        self.changed.notify_all();
    }

    /// Waits until visitors are to leave, or for this time. Returns whether they are to leave.
    pub(crate) fn wait_for_close(&self, time: Duration) -> bool {
        let status = self.lock();
        let is_open = |status: &mut Status| !status.is_closed;
        let waited = self.changed.wait_timeout_while(status, time, is_open);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }

    /// What a visitor found.
    pub(crate) fn violation(&self) -> Result {
        self.lock().violation.take().map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, status: MutexGuard<'a, Status>) -> Result<MutexGuard<'a, Status>> {
        let waited = self.changed.wait_timeout(status, TIMEOUT);
        let (status, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            Err("no process of the application listens".into())
        } else {
            Ok(status)
        }
    }
}

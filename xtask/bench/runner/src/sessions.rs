//! The databases that are measured: filled once, copied for those who write.

use std::convert::Infallible;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use bench_protocol::{Operation, Order, Result, Scenario};

use crate::programs::Programs;

/// How often the length of files is read while they are written to.
const SAMPLED: Duration = Duration::from_millis(50);

/// The database for one measurement. A contender on a server has a database of its own, which isn't
/// copied: most operations leave number and size of the sessions as they are, so that it can be
/// used again; logins, of which each session has one, get a new one.
pub(crate) struct Database {
    pub(crate) path: PathBuf,
    is_copy: bool,
    size: u64,
}

impl Database {
    /// Returns a filled database, which is a copy if the scenario writes.
    pub(crate) fn open(
        scratch: &Path,
        programs: &Programs,
        contender: &str,
        scenario: &Scenario,
    ) -> Result<Self> {
        let Scenario { rows, data_len, half_expired, swept, operation, .. } = scenario;
        let format = programs.format(contender);
        let is_on_server = programs.is_on_server(contender);
        let owner = if is_on_server { contender } else { format };
        let is_used_up =
            is_on_server && matches!(operation, Operation::Login | Operation::DeleteAll);
        // These sessions have users.
        let kind = if *operation == Operation::DeleteAll { "-users" } else { "" };
        let kind = if is_used_up { "-used-up" } else { kind };
        let template = scratch.join(format!("{owner}-{rows}-{data_len}-{half_expired}{kind}.db"));
        if is_used_up || !template.exists() {
            programs.fill(&Order {
                contender: contender.to_owned(),
                scenario: scenario.clone(),
                path: template.clone(),
                warm_up_millis: 0,
                millis: 0,
            })?;
            if is_on_server && !is_used_up {
                // This file stands for it.
                File::create(&template)?;
            }
        }
        let reads =
            matches!(operation, Operation::FindHit | Operation::FindMiss | Operation::ForEach);
        let is_copy = !is_on_server && (!reads || *swept);
        let path = if is_copy { scratch.join("copy.db") } else { template.clone() };
        if is_copy {
            fs::copy(&template, &path)?;
            // The system would write the rest during the measurement.
            File::open(&path)?.sync_all()?;
        }
        Ok(Self { size: size(&path), path, is_copy })
    }

    /// Does some work with it, and returns how much longer its files were meanwhile, at most, than
    /// at the start. Those who close the database leave nothing of its log.
    pub(crate) fn watch<T>(&self, work: impl FnOnce() -> T) -> (T, i64) {
        let (working, is_over) = mpsc::channel::<Infallible>();
        thread::scope(|scope| {
            let watch = scope.spawn(move || {
                let mut growth = 0;
                while is_over.recv_timeout(SAMPLED) == Err(RecvTimeoutError::Timeout) {
                    growth = growth.max(size(&self.path).cast_signed() - self.size.cast_signed());
                }
                growth
            });
            let done = work();
            drop(working);
            (done, watch.join().expect("reading lengths doesn't panic"))
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.is_copy {
            for path in files(&self.path) {
                // If this fails, the directory is removed at the end anyway.
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn files(path: &Path) -> impl Iterator<Item = PathBuf> {
    ["", "-wal", "-shm", "-journal", "-lock"].into_iter().map(move |end| {
        let mut path = path.as_os_str().to_owned();
        path.push(end);
        PathBuf::from(path)
    })
}

fn size(path: &Path) -> u64 {
    files(path).filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum()
}

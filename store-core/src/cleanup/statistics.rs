//! What the cleanup thread has done.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// What a cleanup thread has done so far.
///
/// # Examples
/// ```
/// use store_core::{MemoryStore, Store};
///
/// let store = MemoryStore::new()?;
/// let statistics = store.cleanup_statistics();
/// println!("{} expired sessions removed in {} runs", statistics.removed, statistics.runs);
/// if let Some(last) = statistics.last_run.filter(|last| last.failed) {
///     eprintln!("the cleanup that started at {} failed", last.started_at);
/// }
/// # Ok::<(), store_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CleanupStatistics {
    /// Runs that have ended, failed ones included.
    pub runs: u64,
    /// Runs that returned an error or panicked.
    pub failures: u64,
    /// Expired sessions removed by all runs, failed ones included.
    pub removed: u64,
    /// The latest run that has ended.
    pub last_run: Option<LastRun>,
}

/// The latest run of a cleanup thread.
///
/// # Examples
/// ```
/// use store_core::{CleanupOptions, MemoryOptions, Store};
///
/// let (cleanup, manual) = CleanupOptions::new().with_manual_cleanup();
/// let store = MemoryOptions::new().with_cleanup(cleanup).build()?;
/// assert!(manual.run() && manual.wait_until_idle());
///
/// let last = store.cleanup_statistics().last_run.expect("it has run");
/// assert!(last.removed == 0 && !last.failed);
/// # Ok::<(), store_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastRun {
    /// When it started, by the clock of the process.
    pub started_at: DateTime<Utc>,
    /// How long it took, pauses included.
    pub duration: Duration,
    /// Expired sessions that it removed.
    pub removed: u64,
    /// Whether it returned an error or panicked.
    pub failed: bool,
}

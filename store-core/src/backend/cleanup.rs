//! The background thread that removes expired sessions, the same for every store.
//!
//! A store hands [`CleanupThread::start`] a closure that removes one batch of expired rows. The
//! closure owns the connection pool, never the store: a thread that held the store would keep it
//! alive forever, and one that dropped the last handle would join itself.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use chrono::Utc;

use super::lock::lock;
use super::thread::{BackgroundThread, StopSignal};
use crate::cleanup::{FailureHook, ManualSchedule, Schedule, Step};
use crate::sync::channel::recv_until_closed;
use crate::sync::{Arc, Instant, Mutex, thread};
use crate::{CleanupFailure, CleanupOptions, CleanupStatistics, Error, LastRun};

/// Name of the cleanup thread; Linux shows at most 15 bytes of it.
const THREAD_NAME: &str = "session-cleanup";

/// The longest pause between two batches of one run.
const MAX_PAUSE: Duration = Duration::from_millis(250);

/// What a store's closure did in one batch.
///
/// # Examples
/// ```
/// use store_core::backend::Batch;
///
/// let (removed, batch_size) = (1_000, 1_000);
/// let batch = Batch { removed, has_more: removed == batch_size };
/// assert!(batch.has_more);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Rows that were removed.
    pub removed: u64,
    /// Whether expired rows may be left.
    pub has_more: bool,
}

/// The handle of a cleanup thread. Dropping it stops the thread.
///
/// # Examples
/// A store keeps one next to its pool:
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use store_core::CleanupOptions;
/// use store_core::backend::{Batch, CleanupThread};
///
/// let expired = Arc::new(AtomicU64::new(3)); // stands for the pool
/// let cleanup = CleanupThread::start(CleanupOptions::new(), move || {
///     Ok(Batch { removed: expired.swap(0, Ordering::Relaxed), has_more: false })
/// })?;
/// cleanup.stop();
/// cleanup.stop(); // harmless
/// # Ok::<(), store_core::Error>(())
/// ```
pub struct CleanupThread {
    statistics: Arc<Mutex<CleanupStatistics>>,
    thread: BackgroundThread,
}

impl CleanupThread {
    /// Starts the thread, unless the interval is zero, with a closure that removes one batch of at
    /// most [`CleanupOptions::batch_size`] expired rows.
    ///
    /// The closure is called again, after a pause as long as the batch took (at most 250 ms), while
    /// it says that there is more.
    ///
    /// # Errors
    /// [`Error::SpawnThread`] if the operating system refuses a thread.
    ///
    /// # Examples
    /// ```
    /// use store_core::CleanupOptions;
    /// use store_core::backend::{Batch, CleanupThread};
    ///
    /// let nothing_left = || Ok(Batch { removed: 0, has_more: false });
    ///
    /// let cleanup = CleanupThread::start(CleanupOptions::new(), nothing_left)?;
    /// assert!(cleanup.is_running());
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn start(
        options: CleanupOptions,
        remove_batch: impl FnMut() -> Result<Batch, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let CleanupOptions { schedule, on_failure, .. } = options;
        let statistics = Arc::<Mutex<CleanupStatistics>>::default();
        let thread = if matches!(schedule, Schedule::Never) {
            BackgroundThread::inactive()
        } else {
            let statistics = Arc::clone(&statistics);
            BackgroundThread::start(THREAD_NAME, |stop| {
                Worker { schedule, stop, statistics, on_failure, remove_batch }.run();
            })?
        };
        Ok(Self { statistics, thread })
    }

    /// Ends the thread and returns once it has ended; a run that is under way ends
    /// after its current batch.
    ///
    /// It returns at once where there is no thread, may be called as often as one likes and from
    /// many threads at the same time, each of which returns when the thread has ended. Called on
    /// the cleanup thread, by the failure hook, it returns at once and the thread ends after the
    /// hook.
    ///
    /// # Examples
    /// ```
    /// use store_core::CleanupOptions;
    /// use store_core::backend::{Batch, CleanupThread};
    ///
    /// let nothing_left = || Ok(Batch { removed: 0, has_more: false });
    ///
    /// let cleanup = CleanupThread::start(CleanupOptions::new(), nothing_left)?;
    /// cleanup.stop();
    /// assert!(!cleanup.is_running());
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn stop(&self) {
        self.thread.stop();
    }

    /// Returns the thread itself, for a store that has other threads, too.
    ///
    /// # Examples
    /// ```
    /// use store_core::CleanupOptions;
    /// use store_core::backend::{Batch, CleanupThread};
    ///
    /// let nothing_left = || Ok(Batch { removed: 0, has_more: false });
    ///
    /// let cleanup = CleanupThread::start(CleanupOptions::new(), nothing_left)?;
    /// cleanup.thread().request_stop(); // doesn't wait for the end
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn thread(&self) -> &BackgroundThread {
        &self.thread
    }

    /// What the thread has done so far; nothing in a process that was forked since.
    ///
    /// # Examples
    /// ```
    /// use store_core::CleanupOptions;
    /// use store_core::backend::{Batch, CleanupThread};
    ///
    /// let nothing_left = || Ok(Batch { removed: 0, has_more: false });
    ///
    /// let (options, manual) = CleanupOptions::new().with_manual_cleanup();
    /// let cleanup = CleanupThread::start(options, nothing_left)?;
    /// assert!(manual.run() && manual.wait_until_idle());
    /// assert_eq!(cleanup.statistics().runs, 1);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn statistics(&self) -> CleanupStatistics {
        if self.thread.owner.is_forked() {
            // The parent's thread may have held the lock, which then stays locked forever.
            return CleanupStatistics::default();
        }
        lock(&self.statistics).clone()
    }

    /// Returns whether there is a thread that hasn't been asked to end.
    ///
    /// # Examples
    /// ```
    /// use store_core::CleanupOptions;
    /// use store_core::backend::{Batch, CleanupThread};
    ///
    /// let nothing_left = || Ok(Batch { removed: 0, has_more: false });
    ///
    /// let none = CleanupThread::start(CleanupOptions::disabled(), nothing_left)?;
    /// assert!(!none.is_running());
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.is_running()
    }
}

impl fmt::Debug for CleanupThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanupThread")
            .field("is_running", &self.is_running())
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

/// Removes everything that has expired, batch by batch, on the caller's thread, with the same
/// pauses as the cleanup thread: what a store's [`delete_expired`](crate::Store::delete_expired)
/// calls.
///
/// # Errors
/// The closure's first error; the batches before it stay removed.
///
/// # Examples
/// ```
/// use store_core::backend::{Batch, delete_in_batches};
///
/// let mut left = 5_u64;
/// let removed = delete_in_batches(|| {
///     let removed = left.min(2);
///     left -= removed;
///     Ok(Batch { removed, has_more: left > 0 })
/// })?;
/// assert_eq!(removed, 5);
/// # Ok::<(), store_core::Error>(())
/// ```
pub fn delete_in_batches(
    mut remove_batch: impl FnMut() -> Result<Batch, Error>,
) -> Result<u64, Error> {
    let mut total = 0;
    loop {
        let started = Instant::now();
        let Batch { removed, has_more } = remove_batch()?;
        total += removed;
        if !has_more {
            return Ok(total);
        }
        thread::sleep(pause_after(started.elapsed()));
    }
}

/// What the thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Run,
    Stop,
}

impl Schedule {
    fn wait_for_run(&self, signal: &StopSignal) -> Next {
        match self {
            Self::Never => Next::Stop,
            Self::Every(interval) => wait(signal, with_jitter(*interval)),
            Self::Manual(ManualSchedule { steps, .. }) => loop {
                match recv_until_closed(steps, &signal.0) {
                    Some(Ok(Step::Run)) => return Next::Run,
                    Some(Ok(Step::Idle)) => {}
                    // Nobody is left to ask for a run, only to stop.
                    Some(Err(_)) => {
                        let _ = signal.0.recv();
                        return Next::Stop;
                    }
                    None => return Next::Stop,
                }
            },
        }
    }

    fn wait_for_batch(&self, signal: &StopSignal, last: Batch, took: Duration) -> Next {
        match self {
            Self::Never | Self::Every(_) => wait(signal, pause_after(took)),
            // How far a store looks in one batch is its own affair.
            Self::Manual(_) if last.removed == 0 => wait(signal, Duration::ZERO),
            Self::Manual(ManualSchedule { batches, .. }) => {
                match recv_until_closed(batches, &signal.0) {
                    Some(Ok(())) => Next::Run,
                    Some(Err(_)) | None => Next::Stop,
                }
            }
        }
    }
}

fn wait(signal: &StopSignal, time: Duration) -> Next {
    if signal.wait_timeout(time) { Next::Stop } else { Next::Run }
}

/// As long as the batch took, so that at least half of the time belongs to requests.
fn pause_after(batch: Duration) -> Duration {
    batch.min(MAX_PAUSE)
}

/// One interval and up to a tenth more.
fn with_jitter(interval: Duration) -> Duration {
    interval.saturating_add(interval.mul_f64(fastrand::f64() / 10.0))
}

struct Worker<F> {
    schedule: Schedule,
    stop: StopSignal,
    statistics: Arc<Mutex<CleanupStatistics>>,
    on_failure: Option<FailureHook>,
    remove_batch: F,
}

impl<F: FnMut() -> Result<Batch, Error>> Worker<F> {
    fn run(&mut self) {
        while self.schedule.wait_for_run(&self.stop) == Next::Run {
            self.run_once();
        }
    }

    fn run_once(&mut self) {
        let started_at = Utc::now();
        let started = Instant::now();
        let mut removed = 0;
        // A panic leaves no state behind but `removed`, which is whole.
        let result = catch_unwind(AssertUnwindSafe(|| self.remove_batches(&mut removed)));
        let failure = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(CleanupFailure::Failed(error)),
            Err(_) => Some(CleanupFailure::Panicked),
        };

        {
            let mut statistics = lock(&self.statistics);
            statistics.runs += 1;
            statistics.failures += u64::from(failure.is_some());
            statistics.removed += removed;
            statistics.last_run = Some(LastRun {
                started_at,
                duration: started.elapsed(),
                removed,
                failed: failure.is_some(),
            });
        }
        if let Some(failure) = failure {
            self.report(&failure);
        } else if removed > 0 {
            log::debug!("removed {removed} expired sessions in {:?}", started.elapsed());
        }
    }

    fn remove_batches(&mut self, total: &mut u64) -> Result<(), Error> {
        loop {
            let started = Instant::now();
            let batch = (self.remove_batch)()?;
            *total += batch.removed;
            if !batch.has_more
                || self.schedule.wait_for_batch(&self.stop, batch, started.elapsed()) == Next::Stop
            {
                return Ok(());
            }
        }
    }

    fn report(&self, failure: &CleanupFailure) {
        let report = || {
            log::error!("cleanup of expired sessions failed: {failure}");
            if let Some(hook) = &self.on_failure {
                hook(failure);
            }
        };
        // The hook and the logger are the application's; the thread outlives their panics.
        let _ = catch_unwind(AssertUnwindSafe(report));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU64, Ordering};

    use crossbeam_channel::bounded;

    use super::*;

    const NOTHING_LEFT: Batch = Batch { removed: 1, has_more: false };

    #[test]
    fn default_interval_is_five_minutes() {
        let CleanupOptions { schedule, .. } = CleanupOptions::default();
        assert!(matches!(schedule, Schedule::Every(interval) if interval.as_secs() == 300));
    }

    #[test]
    fn run_by_hand_waits_after_a_batch_that_has_removed_something_alone() -> Result<(), Error> {
        let (options, manual) = CleanupOptions::new().with_manual_cleanup();
        // Nothing is found at first, then a batch of which there is more, and at the end nothing.
        let mut batches = [(0, true), (0, true), (1, true), (0, true), (0, false)].into_iter();
        let cleanup = CleanupThread::start(options, move || {
            let (removed, has_more) = batches.next().expect("one run");
            Ok(Batch { removed, has_more })
        })?;
        assert!(manual.run() && manual.next_batch() && manual.wait_until_idle());
        assert_eq!(cleanup.statistics().removed, 1);
        Ok(())
    }

    #[test]
    fn jitter_adds_at_most_a_tenth_and_takes_nothing() {
        let interval = Duration::from_secs(300);
        for _ in 0..1_000 {
            let delay = with_jitter(interval);
            assert!(delay >= interval && delay <= interval + interval / 10, "{delay:?}");
        }
        assert_eq!(with_jitter(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn pause_is_as_long_as_the_batch_took_and_at_most_a_quarter_of_a_second() {
        for (batch, pause) in [(0, 0), (1, 1), (250, 250), (251, 250), (60_000, 250)] {
            let (batch, pause) = (Duration::from_millis(batch), Duration::from_millis(pause));
            assert_eq!(pause_after(batch), pause);
        }
    }

    #[test]
    fn zero_interval_starts_no_thread() -> Result<(), Error> {
        let cleanup = CleanupThread::start(CleanupOptions::disabled(), || Ok(NOTHING_LEFT))?;
        assert!(!cleanup.is_running());
        cleanup.stop();
        Ok(())
    }

    #[test]
    fn timer_runs_the_cleanup_again_and_again() -> Result<(), Error> {
        let (ran, runs) = bounded(0);
        let options = CleanupOptions::new().with_interval(Duration::from_millis(1));
        let cleanup = CleanupThread::start(options, move || {
            // The receiver goes first when the test ends; the run then has nobody to tell.
            let _ = ran.send(thread::current().name().map(str::to_owned));
            Ok(NOTHING_LEFT)
        })?;
        for _ in 0..3 {
            assert_eq!(runs.recv(), Ok(Some(THREAD_NAME.to_owned())));
        }
        drop(runs);
        cleanup.stop();
        assert!(cleanup.statistics().removed >= 3);
        Ok(())
    }

    #[test]
    fn stop_wakes_a_thread_that_waits_for_a_distant_tick() -> Result<(), Error> {
        let options = CleanupOptions::new().with_interval(Duration::MAX);
        let cleanup = CleanupThread::start(options, || Ok(NOTHING_LEFT))?;
        assert!(cleanup.is_running());
        cleanup.stop();
        assert!(!cleanup.is_running());
        assert_eq!(cleanup.statistics().runs, 0);
        Ok(())
    }

    #[test]
    fn failures_and_panics_are_reported_and_the_next_run_comes() -> Result<(), Error> {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let (options, manual) = CleanupOptions::new().with_manual_cleanup();
        let options = options.with_failure_hook({
            let reports = Arc::clone(&reports);
            move |failure| {
                lock(&reports).push(failure.to_string());
                assert!(matches!(failure, CleanupFailure::Failed(_)), "a hook may panic, too");
            }
        });
        let calls = AtomicU64::new(0);
        let cleanup =
            CleanupThread::start(options, move || match calls.fetch_add(1, Ordering::Relaxed) {
                0 => Err(Error::backend("disk on fire")),
                1 => panic!("a token must not be repeated"),
                _ => Ok(NOTHING_LEFT),
            })?;
        for _ in 0..3 {
            assert!(manual.run());
        }
        assert!(manual.wait_until_idle());
        assert_eq!(*lock(&reports), ["the database failed: disk on fire", "the cleanup panicked"]);
        let statistics = cleanup.statistics();
        assert_eq!((statistics.runs, statistics.failures, statistics.removed), (3, 2, 1));
        assert!(!statistics.last_run.expect("there were three").failed);
        Ok(())
    }

    /// Keeps what is logged by all tests.
    struct Lines(Mutex<Vec<String>>);

    impl log::Log for Lines {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            lock(&self.0).push(format!("{} {}", record.level(), record.args()));
        }

        fn flush(&self) {}
    }

    #[test]
    fn what_a_run_removed_is_logged_unless_it_is_nothing() -> Result<(), Error> {
        static LINES: Lines = Lines(Mutex::new(Vec::new()));
        log::set_logger(&LINES).expect("it is the only logger of these tests");
        log::set_max_level(log::LevelFilter::Debug);
        let (options, manual) = CleanupOptions::new().with_manual_cleanup();
        // No other test removes as many.
        let mut expired = 123_456;
        let cleanup = CleanupThread::start(options, move || {
            Ok(Batch { removed: std::mem::take(&mut expired), has_more: false })
        })?;
        for _ in 0..2 {
            assert!(manual.run());
        }
        assert!(manual.wait_until_idle());
        assert!(!manual.is_finished());
        assert_eq!(cleanup.statistics().runs, 2);
        let lines = lock(&LINES.0).clone();
        let count = |start| lines.iter().filter(|line| line.starts_with(start)).count();
        assert_eq!(count("DEBUG removed 123456 expired sessions in "), 1, "{lines:?}");
        assert_eq!(count("DEBUG removed 0 "), 0, "{lines:?}");
        Ok(())
    }

    #[test]
    fn batches_before_a_failure_are_counted() -> Result<(), Error> {
        let (options, manual) = CleanupOptions::new().with_manual_cleanup();
        let calls = AtomicU64::new(0);
        let cleanup =
            CleanupThread::start(options, move || match calls.fetch_add(1, Ordering::Relaxed) {
                0 => Ok(Batch { removed: 10, has_more: true }),
                _ => Err(Error::backend("gone")),
            })?;
        assert!(manual.run() && manual.next_batch() && manual.wait_until_idle());
        assert_eq!(cleanup.statistics().removed, 10);
        assert_eq!(cleanup.statistics().failures, 1);
        Ok(())
    }

    #[test]
    fn hook_may_stop_the_thread_it_runs_on_while_others_wait_for_it() -> Result<(), Error> {
        let slot = Arc::new(Mutex::new(None::<Arc<CleanupThread>>));
        let gate = Arc::new(Barrier::new(2));
        let (options, manual) = CleanupOptions::new().with_manual_cleanup();
        let options = options.with_failure_hook({
            let (slot, gate) = (Arc::clone(&slot), Arc::clone(&gate));
            move |_| {
                gate.wait();
                // Stops its own thread, and may even be the one that drops the last handle.
                let cleanup = lock(&slot).take();
                cleanup.expect("filled below").stop();
            }
        });
        let cleanup = Arc::new(CleanupThread::start(options, || Err(Error::backend("gone")))?);
        *lock(&slot) = Some(Arc::clone(&cleanup));
        assert!(manual.run());
        let waiter = thread::spawn(move || cleanup.stop());
        gate.wait();
        waiter.join().expect("stop returns");
        assert!(!manual.wait_until_idle(), "the thread has ended");
        Ok(())
    }

    #[test]
    fn dropping_the_last_handle_in_the_hook_ends_the_thread() -> Result<(), Error> {
        let slot = Arc::new(Mutex::new(None::<CleanupThread>));
        let (options, manual) = CleanupOptions::new().with_manual_cleanup();
        let options = options.with_failure_hook({
            let slot = Arc::clone(&slot);
            move |_| drop(lock(&slot).take())
        });
        *lock(&slot) = Some(CleanupThread::start(options, || Err(Error::backend("gone")))?);
        assert!(manual.run());
        assert!(!manual.wait_until_idle(), "the thread has ended");
        Ok(())
    }
}

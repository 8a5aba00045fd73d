//! The background thread that removes expired sessions, the same for every store.
//!
//! A store hands [`Cleanup::start`] a closure that removes one batch of expired rows. The closure owns
//! the connection pool, never the store: a thread that held the store would keep it alive for ever, and
//! one that dropped the last handle would join itself.

use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select_biased};

use crate::background::{BackgroundThread, StopSignal};
use crate::lock::lock;
use crate::{Error, Report};

/// Name of the cleanup thread; Linux shows at most 15 bytes of it.
const THREAD_NAME: &str = "session-cleanup";

/// The longest pause between two batches of one sweep.
const MAX_PAUSE: Duration = Duration::from_millis(250);

type FailureHook = Arc<dyn Fn(&SweepFailure) + Send + Sync>;

/// When a store sweeps, how much at once, and whom it tells when that fails.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use store_core::CleanupOptions;
///
/// let options = CleanupOptions::new()
///     .with_interval(Duration::from_secs(60))
///     .with_failure_hook(|failure| eprintln!("sessions are not being cleaned up: {failure}"));
/// # drop(options);
/// ```
#[derive(Clone)]
#[must_use]
pub struct CleanupOptions {
    schedule: Schedule,
    batch_size: NonZeroUsize,
    on_failure: Option<FailureHook>,
}

impl CleanupOptions {
    /// Five minutes, as in the Go stores.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(5 * 60);

    /// Rows that one batch removes at the most.
    pub const DEFAULT_BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(1_000).expect("not zero");

    /// A sweep every five minutes, in batches of 1,000, failures reported through the `log` crate.
    pub fn new() -> Self {
        Self {
            schedule: Schedule::Every(Self::DEFAULT_INTERVAL),
            batch_size: Self::DEFAULT_BATCH_SIZE,
            on_failure: None,
        }
    }

    /// No cleanup thread: expired sessions stay until [`delete_expired`](crate::Store::delete_expired)
    /// is called. They are never found, whoever cleans up and when.
    pub fn disabled() -> Self {
        Self::new().with_interval(Duration::ZERO)
    }

    /// Sweeps after each `interval`, the first time one interval after the start; zero means no
    /// thread. Up to a tenth is added at random each time, so that many processes on one database
    /// don't sweep in step. Default: [`DEFAULT_INTERVAL`](Self::DEFAULT_INTERVAL).
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.schedule =
            if interval.is_zero() { Schedule::Never } else { Schedule::Every(interval) };
        self
    }

    /// Removes at most this many rows in one statement. Default:
    /// [`DEFAULT_BATCH_SIZE`](Self::DEFAULT_BATCH_SIZE).
    pub fn with_batch_size(mut self, batch_size: NonZeroUsize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Calls `hook` on the cleanup thread for each sweep that fails or panics, after it was logged.
    /// A hook that panics harms nothing. A hook that calls its own store should hold it by a
    /// [`Weak`](std::sync::Weak): the thread keeps the hook, so an `Arc` in it would keep the store for ever.
    pub fn with_failure_hook(
        mut self,
        hook: impl Fn(&SweepFailure) + Send + Sync + 'static,
    ) -> Self {
        self.on_failure = Some(Arc::new(hook));
        self
    }

    /// Sweeps when the returned [`ManualSweeps`] says so, and not by time: for tests, which must not
    /// sleep.
    pub fn with_manual_sweeps(mut self) -> (Self, ManualSweeps) {
        let (sweep_sender, sweeps) = bounded(0);
        let (batch_sender, batches) = bounded(0);
        self.schedule = Schedule::Manual { sweeps, batches };
        (self, ManualSweeps { sweeps: sweep_sender, batches: batch_sender })
    }

    /// Rows that one batch removes at the most; stores read it.
    #[must_use]
    pub fn batch_size(&self) -> NonZeroUsize {
        self.batch_size
    }
}

impl Default for CleanupOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CleanupOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanupOptions")
            .field("schedule", &self.schedule)
            .field("batch_size", &self.batch_size)
            .finish_non_exhaustive()
    }
}

/// Starts the sweeps, and the batches after the first, of a store whose time a test controls.
///
/// # Examples
/// ```
/// use store_core::{CleanupOptions, MemoryOptions, Store};
///
/// let (cleanup, sweeps) = CleanupOptions::new().with_manual_sweeps();
/// let store = MemoryOptions::new().with_cleanup(cleanup).build()?;
/// store.commit("token", b"data", chrono::DateTime::UNIX_EPOCH)?;
///
/// assert!(sweeps.sweep());
/// assert!(sweeps.wait_until_idle(), "the thread is back from its sweep");
/// assert_eq!(store.cleanup_statistics().removed, 1);
///
/// store.stop_cleanup();
/// assert!(sweeps.has_ended());
/// # Ok::<(), store_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ManualSweeps {
    sweeps: Sender<Step>,
    batches: Sender<()>,
}

impl ManualSweeps {
    /// Starts a sweep and returns once it has begun; `false` if the thread has ended.
    ///
    /// The sweep runs its first batch at once. If there is more to remove it waits for
    /// [`batch`](Self::batch).
    #[must_use]
    pub fn sweep(&self) -> bool {
        self.sweeps.send(Step::Sweep).is_ok()
    }

    /// Waits until the thread has finished its sweep; `false` if the thread has ended.
    ///
    /// A sweep with more than one batch doesn't finish before [`batch`](Self::batch) was called for each
    /// further one.
    #[must_use]
    pub fn wait_until_idle(&self) -> bool {
        self.sweeps.send(Step::Idle).is_ok()
    }

    /// Whether the thread has ended. Unlike the other questions, this one doesn't wait for it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.sweeps.try_send(Step::Idle), Err(TrySendError::Disconnected(_)))
    }

    /// Waits until a sweep has finished a batch with more to remove, and lets it go on with the next;
    /// `false` if the thread has ended.
    #[must_use]
    pub fn batch(&self) -> bool {
        self.batches.send(()).is_ok()
    }
}

/// What a store's closure did in one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Rows that were removed.
    pub removed: u64,
    /// Whether expired rows may be left.
    pub more: bool,
}

/// Why a sweep didn't finish. The next one comes all the same.
///
/// # Examples
/// ```
/// use store_core::{Error, SweepFailure};
///
/// let failure = SweepFailure::Failed(Error::backend("no such column: expiry"));
/// assert_eq!(failure.to_string(), "the database failed: no such column: expiry");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SweepFailure {
    /// The store gave an error.
    Failed(Error),
    /// The sweep panicked. What the panic said went to the panic hook alone: it could quote a token.
    Panicked,
}

impl fmt::Display for SweepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked => f.write_str("the sweep panicked"),
            Self::Failed(error) => fmt::Display::fmt(&Report(error), f),
        }
    }
}

/// What the cleanup thread has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CleanupStatistics {
    /// Sweeps that were begun and have ended, failed ones included.
    pub sweeps: u64,
    /// Sweeps that gave an error or panicked.
    pub failures: u64,
    /// Expired sessions removed by all sweeps, failed ones included.
    pub removed: u64,
    /// The latest sweep that has ended.
    pub last_sweep: Option<LastSweep>,
}

/// The latest sweep of a cleanup thread.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastSweep {
    /// When it began, by the clock of the process.
    pub started: DateTime<Utc>,
    /// How long it took, pauses included.
    pub took: Duration,
    /// Expired sessions that it removed.
    pub removed: u64,
    /// Whether it gave an error or panicked.
    pub failed: bool,
}

/// The handle of a cleanup thread. Dropping it stops the thread.
///
/// # Examples
/// A store keeps one beside its pool:
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use store_core::{Batch, Cleanup, CleanupOptions};
///
/// let expired = Arc::new(AtomicU64::new(3)); // stands for the pool
/// let cleanup = Cleanup::start(CleanupOptions::new(), move || {
///     Ok(Batch { removed: expired.swap(0, Ordering::Relaxed), more: false })
/// })?;
/// cleanup.stop();
/// cleanup.stop(); // harmless
/// # Ok::<(), store_core::Error>(())
/// ```
pub struct Cleanup {
    statistics: Arc<Mutex<CleanupStatistics>>,
    thread: BackgroundThread,
}

impl Cleanup {
    /// Starts the thread, unless the interval is zero, with a closure that removes one batch of at
    /// most [`CleanupOptions::batch_size`] expired rows.
    ///
    /// The closure is called again, after a pause as long as the batch took (250 ms at the most), while
    /// it says that there is more.
    ///
    /// # Errors
    /// [`Error::CleanupThread`] if the operating system gives no thread.
    pub fn start(
        options: CleanupOptions,
        remove_batch: impl FnMut() -> Result<Batch, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let CleanupOptions { schedule, on_failure, .. } = options;
        let statistics = Arc::<Mutex<CleanupStatistics>>::default();
        let thread = if matches!(schedule, Schedule::Never) {
            BackgroundThread::none()
        } else {
            let statistics = Arc::clone(&statistics);
            BackgroundThread::start(THREAD_NAME, |stop| {
                Sweeper { schedule, stop, statistics, on_failure, remove_batch }.run();
            })?
        };
        Ok(Self { statistics, thread })
    }

    /// Ends the thread and returns once it has ended; a sweep under way ends after its current batch.
    ///
    /// It returns at once where there is no thread, may be called as often as one likes and from many
    /// threads at the same time, each of which returns when the thread has ended. Called on the cleanup
    /// thread, by the failure hook, it returns at once and the thread ends after the hook.
    pub fn stop(&self) {
        self.thread.stop();
    }

    /// The thread itself, for a store that has others beside it.
    #[must_use]
    pub fn thread(&self) -> &BackgroundThread {
        &self.thread
    }

    /// What the thread has done so far.
    #[must_use]
    pub fn statistics(&self) -> CleanupStatistics {
        lock(&self.statistics).clone()
    }

    /// Whether there is a thread that hasn't been asked to end.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.is_running()
    }
}

impl fmt::Debug for Cleanup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cleanup")
            .field("is_running", &self.is_running())
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

/// Removes everything that has expired, batch by batch, on the caller's thread, with the same pauses
/// as the cleanup thread: what a store's [`delete_expired`](crate::Store::delete_expired) calls.
///
/// # Errors
/// The closure's first error; the batches before it stay removed.
///
/// # Examples
/// ```
/// use store_core::{Batch, sweep};
///
/// let mut left = 5_u64;
/// let removed = sweep(|| {
///     let removed = left.min(2);
///     left -= removed;
///     Ok(Batch { removed, more: left > 0 })
/// })?;
/// assert_eq!(removed, 5);
/// # Ok::<(), store_core::Error>(())
/// ```
pub fn sweep(mut remove_batch: impl FnMut() -> Result<Batch, Error>) -> Result<u64, Error> {
    let mut total = 0;
    loop {
        let started = Instant::now();
        let Batch { removed, more } = remove_batch()?;
        total += removed;
        if !more {
            return Ok(total);
        }
        thread::sleep(pause_after(started.elapsed()));
    }
}

/// As long as the batch took, so that at least half of the time belongs to requests.
fn pause_after(batch: Duration) -> Duration {
    batch.min(MAX_PAUSE)
}

/// One interval and up to a tenth more.
fn with_jitter(interval: Duration) -> Duration {
    interval.saturating_add(interval.mul_f64(fastrand::f64() / 10.0))
}

#[derive(Clone, Debug)]
enum Schedule {
    Never,
    Every(Duration),
    Manual { sweeps: Receiver<Step>, batches: Receiver<()> },
}

#[derive(Debug)]
enum Step {
    Sweep,
    Idle,
}

/// What the thread is asked to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}

impl Schedule {
    fn wait_for_sweep(&self, signal: &StopSignal) -> Next {
        match self {
            Self::Never => Next::Stop,
            Self::Every(interval) => wait(signal, with_jitter(*interval)),
            Self::Manual { sweeps, .. } => loop {
                select_biased! {
                    recv(signal.0) -> _ => return Next::Stop,
                    recv(sweeps) -> step => match step {
                        Ok(Step::Sweep) => return Next::Go,
                        Ok(Step::Idle) => {}
                        // Nobody is left to ask for a sweep, only to stop.
                        Err(_) => {
                            let _ = signal.0.recv();
                            return Next::Stop;
                        }
                    },
                }
            },
        }
    }

    fn wait_for_batch(&self, signal: &StopSignal, last_batch: Duration) -> Next {
        match self {
            Self::Never | Self::Every(_) => wait(signal, pause_after(last_batch)),
            Self::Manual { batches, .. } => select_biased! {
                recv(signal.0) -> _ => Next::Stop,
                recv(batches) -> step => if step.is_ok() { Next::Go } else { Next::Stop },
            },
        }
    }
}

fn wait(signal: &StopSignal, time: Duration) -> Next {
    if signal.comes_within(time) { Next::Stop } else { Next::Go }
}

struct Sweeper<F> {
    schedule: Schedule,
    stop: StopSignal,
    statistics: Arc<Mutex<CleanupStatistics>>,
    on_failure: Option<FailureHook>,
    remove_batch: F,
}

impl<F: FnMut() -> Result<Batch, Error>> Sweeper<F> {
    fn run(&mut self) {
        while self.schedule.wait_for_sweep(&self.stop) == Next::Go {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        let started = Utc::now();
        let begun = Instant::now();
        let mut removed = 0;
        // A panic leaves no state of ours behind but `removed`, which is whole.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.remove_batches(&mut removed)));
        let failure = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(SweepFailure::Failed(error)),
            Err(_) => Some(SweepFailure::Panicked),
        };

        {
            let mut statistics = lock(&self.statistics);
            statistics.sweeps += 1;
            statistics.failures += u64::from(failure.is_some());
            statistics.removed += removed;
            statistics.last_sweep = Some(LastSweep {
                started,
                took: begun.elapsed(),
                removed,
                failed: failure.is_some(),
            });
        }
        if let Some(failure) = failure {
            self.report(&failure);
        } else if removed > 0 {
            log::debug!("removed {removed} expired sessions in {:?}", begun.elapsed());
        }
    }

    fn remove_batches(&mut self, total: &mut u64) -> Result<(), Error> {
        loop {
            let started = Instant::now();
            let Batch { removed, more } = (self.remove_batch)()?;
            *total += removed;
            if !more || self.schedule.wait_for_batch(&self.stop, started.elapsed()) == Next::Stop {
                return Ok(());
            }
        }
    }

    fn report(&self, failure: &SweepFailure) {
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

    use super::*;

    const NOTHING_LEFT: Batch = Batch { removed: 1, more: false };

    #[test]
    fn default_interval_is_five_minutes() {
        let CleanupOptions { schedule, .. } = CleanupOptions::default();
        assert!(matches!(schedule, Schedule::Every(interval) if interval.as_secs() == 300));
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
    fn zero_interval_starts_no_thread() -> Result<(), Error> {
        let cleanup = Cleanup::start(CleanupOptions::disabled(), || Ok(NOTHING_LEFT))?;
        assert!(!cleanup.is_running());
        cleanup.stop();
        Ok(())
    }

    #[test]
    fn timer_sweeps_again_and_again() -> Result<(), Error> {
        let (swept, sweeps) = bounded(0);
        let options = CleanupOptions::new().with_interval(Duration::from_millis(1));
        let cleanup = Cleanup::start(options, move || {
            // The receiver goes first when the test ends; the sweep then has nobody to tell.
            let _ = swept.send(thread::current().name().map(str::to_owned));
            Ok(NOTHING_LEFT)
        })?;
        for _ in 0..3 {
            assert_eq!(sweeps.recv(), Ok(Some(THREAD_NAME.to_owned())));
        }
        drop(sweeps);
        cleanup.stop();
        assert!(cleanup.statistics().removed >= 3);
        Ok(())
    }

    #[test]
    fn stop_wakes_a_thread_that_waits_for_a_distant_tick() -> Result<(), Error> {
        let options = CleanupOptions::new().with_interval(Duration::MAX);
        let cleanup = Cleanup::start(options, || Ok(NOTHING_LEFT))?;
        cleanup.stop();
        assert_eq!(cleanup.statistics().sweeps, 0);
        Ok(())
    }

    #[test]
    fn failures_and_panics_are_reported_and_the_next_sweep_comes() -> Result<(), Error> {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let (options, sweeps) = CleanupOptions::new().with_manual_sweeps();
        let options = options.with_failure_hook({
            let reports = Arc::clone(&reports);
            move |failure| {
                lock(&reports).push(failure.to_string());
                assert!(matches!(failure, SweepFailure::Failed(_)), "a hook may panic, too");
            }
        });
        let calls = AtomicU64::new(0);
        let cleanup =
            Cleanup::start(options, move || match calls.fetch_add(1, Ordering::Relaxed) {
                0 => Err(Error::backend("disk on fire")),
                1 => panic!("a token must not be repeated"),
                _ => Ok(NOTHING_LEFT),
            })?;
        for _ in 0..3 {
            assert!(sweeps.sweep());
        }
        assert!(sweeps.wait_until_idle());
        assert_eq!(*lock(&reports), ["the database failed: disk on fire", "the sweep panicked"]);
        let statistics = cleanup.statistics();
        assert_eq!((statistics.sweeps, statistics.failures, statistics.removed), (3, 2, 1));
        assert!(!statistics.last_sweep.expect("there were three").failed);
        Ok(())
    }

    #[test]
    fn batches_before_a_failure_are_counted() -> Result<(), Error> {
        let (options, sweeps) = CleanupOptions::new().with_manual_sweeps();
        let calls = AtomicU64::new(0);
        let cleanup =
            Cleanup::start(options, move || match calls.fetch_add(1, Ordering::Relaxed) {
                0 => Ok(Batch { removed: 10, more: true }),
                _ => Err(Error::backend("gone")),
            })?;
        assert!(sweeps.sweep() && sweeps.batch() && sweeps.wait_until_idle());
        assert_eq!(cleanup.statistics().removed, 10);
        assert_eq!(cleanup.statistics().failures, 1);
        Ok(())
    }

    #[test]
    fn hook_may_stop_the_thread_it_runs_on_while_others_wait_for_it() -> Result<(), Error> {
        let slot = Arc::new(Mutex::new(None::<Arc<Cleanup>>));
        let gate = Arc::new(Barrier::new(2));
        let (options, sweeps) = CleanupOptions::new().with_manual_sweeps();
        let options = options.with_failure_hook({
            let (slot, gate) = (Arc::clone(&slot), Arc::clone(&gate));
            move |_| {
                gate.wait();
                // Stops its own thread, and may even be the one that drops the last handle.
                let cleanup = lock(&slot).take();
                cleanup.expect("filled below").stop();
            }
        });
        let cleanup = Arc::new(Cleanup::start(options, || Err(Error::backend("gone")))?);
        *lock(&slot) = Some(Arc::clone(&cleanup));
        assert!(sweeps.sweep());
        let waiter = thread::spawn(move || cleanup.stop());
        gate.wait();
        waiter.join().expect("stop returns");
        assert!(!sweeps.wait_until_idle(), "the thread has ended");
        Ok(())
    }

    #[test]
    fn dropping_the_last_handle_in_the_hook_ends_the_thread() -> Result<(), Error> {
        let slot = Arc::new(Mutex::new(None::<Cleanup>));
        let (options, sweeps) = CleanupOptions::new().with_manual_sweeps();
        let options = options.with_failure_hook({
            let slot = Arc::clone(&slot);
            move |_| drop(lock(&slot).take())
        });
        *lock(&slot) = Some(Cleanup::start(options, || Err(Error::backend("gone")))?);
        assert!(sweeps.sweep());
        assert!(!sweeps.wait_until_idle(), "the thread has ended");
        Ok(())
    }
}

//! What an application says of the cleanup of expired sessions.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::failure::CleanupFailure;
use super::manual::{ManualCleanup, ManualSchedule};

pub(crate) type FailureHook = Arc<dyn Fn(&CleanupFailure) + Send + Sync>;

/// When a store removes expired sessions, how many at once, and what hears of a failure.
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
    pub(crate) schedule: Schedule,
    batch_size: NonZeroUsize,
    pub(crate) on_failure: Option<FailureHook>,
}

#[derive(Clone, Debug)]
pub(crate) enum Schedule {
    Never,
    Every(Duration),
    Manual(ManualSchedule),
}

impl CleanupOptions {
    /// Five minutes, as in the Go stores.
    ///
    /// # Examples
    /// ```
    /// use store_core::CleanupOptions;
    ///
    /// assert_eq!(CleanupOptions::DEFAULT_INTERVAL.as_secs(), 300);
    /// ```
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(5 * 60);

    /// The most rows that one batch removes.
    ///
    /// # Examples
    /// ```
    /// use store_core::CleanupOptions;
    ///
    /// assert_eq!(CleanupOptions::new().batch_size(), CleanupOptions::DEFAULT_BATCH_SIZE);
    /// ```
    pub const DEFAULT_BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(1_000).expect("not zero");

    /// A run every five minutes, in batches of 1,000 rows, with failures reported through the `log`
    /// crate.
    ///
    /// # Examples
    /// ```
    /// use store_core::{CleanupOptions, MemoryOptions};
    ///
    /// let store = MemoryOptions::new().with_cleanup(CleanupOptions::new()).build()?;
    /// # drop(store);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn new() -> Self {
        Self {
            schedule: Schedule::Every(Self::DEFAULT_INTERVAL),
            batch_size: Self::DEFAULT_BATCH_SIZE,
            on_failure: None,
        }
    }

    /// No cleanup thread: expired sessions stay until
    /// [`delete_expired`](crate::Store::delete_expired) is called. They are never found, however
    /// long they stay.
    ///
    /// # Examples
    /// ```
    /// use store_core::{CleanupOptions, MemoryOptions, Store};
    ///
    /// let store = MemoryOptions::new().with_cleanup(CleanupOptions::disabled()).build()?;
    /// store.delete_expired()?; // at a moment of your own
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn disabled() -> Self {
        Self::new().with_interval(Duration::ZERO)
    }

    /// Runs after each `interval`, the first time one interval after the start; zero means no
    /// thread. Up to a tenth is added at random each time, so that many processes on one database
    /// don't run in step. Default: [`DEFAULT_INTERVAL`](Self::DEFAULT_INTERVAL).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_core::CleanupOptions;
    ///
    /// let each_minute = CleanupOptions::new().with_interval(Duration::from_secs(60));
    /// # drop(each_minute);
    /// ```
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.schedule =
            if interval.is_zero() { Schedule::Never } else { Schedule::Every(interval) };
        self
    }

    /// Removes at most this many rows in one statement. Default:
    /// [`DEFAULT_BATCH_SIZE`](Self::DEFAULT_BATCH_SIZE).
    ///
    /// # Examples
    /// ```
    /// use std::num::NonZeroUsize;
    /// use store_core::CleanupOptions;
    ///
    /// let small = NonZeroUsize::new(100).expect("not zero");
    /// assert_eq!(CleanupOptions::new().with_batch_size(small).batch_size(), small);
    /// ```
    pub fn with_batch_size(mut self, batch_size: NonZeroUsize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Calls `hook` on the cleanup thread for each run that fails or panics, after it was logged.
    ///
    /// A hook that panics harms nothing. A hook that calls its own store should hold it by a
    /// [`Weak`](std::sync::Weak): the thread keeps the hook, so an `Arc` in it would keep the store
    /// forever.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use store_core::CleanupOptions;
    ///
    /// let failures = Arc::new(AtomicU64::new(0));
    /// let options = CleanupOptions::new().with_failure_hook({
    ///     let failures = Arc::clone(&failures);
    ///     move |_| {
    ///         failures.fetch_add(1, Ordering::Relaxed);
    ///     }
    /// });
    /// # drop(options);
    /// ```
    pub fn with_failure_hook(
        mut self,
        hook: impl Fn(&CleanupFailure) + Send + Sync + 'static,
    ) -> Self {
        self.on_failure = Some(Arc::new(hook));
        self
    }

    /// Runs when the returned [`ManualCleanup`] says so, and not by time: for tests, which must not
    /// sleep.
    ///
    /// # Examples
    /// ```
    /// use store_core::{CleanupOptions, MemoryOptions, Store};
    ///
    /// let (cleanup, manual) = CleanupOptions::new().with_manual_cleanup();
    /// let store = MemoryOptions::new().with_cleanup(cleanup).build()?;
    /// assert!(manual.run() && manual.wait_until_idle());
    /// # drop(store);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn with_manual_cleanup(mut self) -> (Self, ManualCleanup) {
        let (manual, schedule) = ManualCleanup::new();
        self.schedule = Schedule::Manual(schedule);
        (self, manual)
    }

    /// Returns the most rows that one batch removes; stores read it.
    ///
    /// # Examples
    /// ```
    /// use store_core::CleanupOptions;
    ///
    /// assert_eq!(CleanupOptions::new().batch_size().get(), 1_000);
    /// ```
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

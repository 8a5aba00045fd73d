//! Runs of the cleanup that a test starts.

use crate::sync::channel::{Receiver, Sender, TrySendError, rendezvous};

/// What the thread of a [`ManualCleanup`] waits for.
#[derive(Clone, Debug)]
pub(crate) struct ManualSchedule {
    pub(crate) steps: Receiver<Step>,
    pub(crate) batches: Receiver<()>,
}

#[derive(Debug)]
pub(crate) enum Step {
    Run,
    /// Nothing: the thread takes it once it is back from its run.
    Idle,
}

/// Starts the runs of a cleanup thread, and their batches after the first, for tests, which must
/// not sleep.
///
/// # Examples
/// ```
/// use store_core::{CleanupOptions, MemoryOptions, Store};
///
/// let (cleanup, manual) = CleanupOptions::new().with_manual_cleanup();
/// let store = MemoryOptions::new().with_cleanup(cleanup).build()?;
/// store.commit("token", b"data", chrono::DateTime::UNIX_EPOCH)?;
///
/// assert!(manual.run());
/// assert!(manual.wait_until_idle(), "the thread is back from its run");
/// assert_eq!(store.cleanup_statistics().removed, 1);
///
/// store.stop_cleanup();
/// assert!(manual.is_finished());
/// # Ok::<(), store_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ManualCleanup {
    steps: Sender<Step>,
    batches: Sender<()>,
}

impl ManualCleanup {
    pub(super) fn new() -> (Self, ManualSchedule) {
        let (step_sender, steps) = rendezvous();
        let (batch_sender, batches) = rendezvous();
        (Self { steps: step_sender, batches: batch_sender }, ManualSchedule { steps, batches })
    }

    /// Starts a run and returns once it has started; `false` if the thread has ended.
    ///
    /// The run removes its first batch at once. If there is more to remove it waits for
    /// [`next_batch`](Self::next_batch).
    ///
    /// # Examples
    /// ```
    /// use store_core::{CleanupOptions, MemoryOptions, Store};
    ///
    /// let (cleanup, manual) = CleanupOptions::new().with_manual_cleanup();
    /// let store = MemoryOptions::new().with_cleanup(cleanup).build()?;
    ///
    /// assert!(manual.run());
    /// store.stop_cleanup();
    /// assert!(!manual.run(), "the thread has ended");
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn run(&self) -> bool {
        self.steps.send(Step::Run).is_ok()
    }

    /// Waits until the thread has finished its run; `false` if the thread has ended.
    ///
    /// A run with more than one batch doesn't finish before [`next_batch`](Self::next_batch) was
    /// called for each further one.
    ///
    /// # Examples
    /// ```
    /// use store_core::{CleanupOptions, MemoryOptions, Store};
    ///
    /// let (cleanup, manual) = CleanupOptions::new().with_manual_cleanup();
    /// let store = MemoryOptions::new().with_cleanup(cleanup).build()?;
    ///
    /// assert!(manual.run() && manual.wait_until_idle());
    /// assert_eq!(store.cleanup_statistics().runs, 1);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn wait_until_idle(&self) -> bool {
        self.steps.send(Step::Idle).is_ok()
    }

    /// Returns whether the thread has ended. Unlike the other methods, this one doesn't wait for
    /// it.
    ///
    /// # Examples
    /// ```
    /// use store_core::{CleanupOptions, MemoryOptions, Store};
    ///
    /// let (cleanup, manual) = CleanupOptions::new().with_manual_cleanup();
    /// let store = MemoryOptions::new().with_cleanup(cleanup).build()?;
    ///
    /// assert!(!manual.is_finished());
    /// drop(store);
    /// assert!(manual.is_finished());
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.steps.try_send(Step::Idle), Err(TrySendError::Disconnected(_)))
    }

    /// Waits until a run has removed a batch and may have more to remove, and lets it go on with
    /// the next; `false` if the thread has ended.
    ///
    /// # Examples
    /// ```
    /// use std::num::NonZeroUsize;
    /// use store_core::{CleanupOptions, MemoryOptions, Store};
    ///
    /// let one = NonZeroUsize::MIN;
    /// let (cleanup, manual) = CleanupOptions::new().with_batch_size(one).with_manual_cleanup();
    /// let store = MemoryOptions::new().with_cleanup(cleanup).build()?;
    /// store.commit("expired", b"data", chrono::DateTime::UNIX_EPOCH)?;
    ///
    /// assert!(manual.run());
    /// assert!(manual.next_batch(), "the first was full, so there is a second");
    /// assert!(manual.wait_until_idle());
    /// assert_eq!(store.cleanup_statistics().removed, 1);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn next_batch(&self) -> bool {
        self.batches.send(()).is_ok()
    }
}

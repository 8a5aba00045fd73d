//! The thread that makes relaxed commits durable.

use std::convert::Infallible;
use std::error::Error as _;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use store_core::Error;

/// Name of the thread; Linux shows at most 15 bytes of it.
const THREAD_NAME: &str = "session-flush";

/// Who hears of failures; they are logged as well.
pub(crate) type FailureHook = Arc<dyn Fn(&Error) + Send + Sync>;

/// The handle of the thread. Dropping it stops the thread.
pub(crate) struct Flusher {
    stop: Mutex<Option<Sender<Infallible>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: Option<ThreadId>,
}

impl Flusher {
    /// No thread.
    pub(crate) fn none() -> Self {
        Self { stop: Mutex::new(None), thread: Mutex::new(None), thread_id: None }
    }

    /// Calls `flush` after each interval and once more at the end. `is_running` tells writers whether they may leave the
    /// durability of their commits to the thread.
    pub(crate) fn start(
        interval: Duration,
        is_running: &Arc<AtomicBool>,
        on_failure: Option<FailureHook>,
        flush: impl Fn() -> Result<(), Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let (stop, stopped) = mpsc::channel::<Infallible>();
        is_running.store(true, Ordering::Release);
        let thread = thread::Builder::new().name(THREAD_NAME.to_owned()).spawn({
            let is_running = Arc::clone(is_running);
            move || {
                while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    report(&flush, on_failure.as_ref());
                }
                // What is committed from now on is durable by itself, so nothing is left behind by the last flush.
                is_running.store(false, Ordering::Release);
                report(&flush, on_failure.as_ref());
            }
        });
        let thread = thread.map_err(|source| {
            is_running.store(false, Ordering::Release);
            Error::CleanupThread { source }
        })?;
        let thread_id = Some(thread.thread().id());
        Ok(Self { stop: Mutex::new(Some(stop)), thread: Mutex::new(Some(thread)), thread_id })
    }

    /// Ends the thread, and returns once everything that was committed before is durable. Called on the thread itself, by
    /// the hook, it returns at once, and the thread ends after the hook.
    pub(crate) fn stop(&self) {
        drop(lock(&self.stop).take());
        if self.thread_id == Some(thread::current().id()) {
            return;
        }
        // Held while joining, so that every caller waits for the end, not only the first.
        let mut thread = lock(&self.thread);
        if let Some(thread) = thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread that makes sessions durable ended by a panic");
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Flusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flusher")
            .field("is_running", &lock(&self.stop).is_some())
            .finish_non_exhaustive()
    }
}

fn report(flush: &impl Fn() -> Result<(), Error>, on_failure: Option<&FailureHook>) {
    let error = match catch_unwind(AssertUnwindSafe(flush)) {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(_) => Error::backend("the thread panicked"),
    };
    let report = || {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        log::error!("sessions could not be made durable: {error}{cause}");
        if let Some(hook) = on_failure {
            hook(&error);
        }
    };
    // The hook and the logger are the application's; the thread outlives their panics.
    let _ = catch_unwind(AssertUnwindSafe(report));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that these locks guard can be left half-changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

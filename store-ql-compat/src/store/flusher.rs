//! The thread that makes relaxed commits durable.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use store_core::backend::BackgroundThread;
use store_core::{Error, ErrorChain};

use crate::sync::{Arc, AtomicBool, Ordering};

const THREAD_NAME: &str = "session-flush";

/// Called for each failure, after it was logged.
pub(super) type FailureHook = Arc<dyn Fn(&Error) + Send + Sync>;

/// What writers and the thread tell each other.
#[derive(Debug, Default)]
pub(super) struct FlushState {
    /// Whether the thread makes durable what was committed without waiting for the disk.
    pub(super) is_flushed_later: AtomicBool,
    /// Whether something was committed that way since the last flush. Without writes nothing is
    /// flushed.
    pub(super) is_flush_due: AtomicBool,
}

impl FlushState {
    /// Returns whether a transaction in progress may leave its durability to the thread.
    pub(super) fn defer(&self) -> bool {
        let is_flushed_later = self.is_flushed_later.load(Ordering::Acquire);
        if is_flushed_later {
            self.is_flush_due.store(true, Ordering::Release);
        }
        is_flushed_later
    }

    /// Calls `flush`, if a transaction has left its durability to the thread.
    fn flush_if_due(&self, flush: impl Fn() -> Result<(), Error>) -> Result<(), Error> {
        // Reset before the flush: what is committed while the flush is queued may come after it,
        // and sets it again.
        if !self.is_flush_due.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let flushed = flush();
        if flushed.is_err() {
            self.is_flush_due.store(true, Ordering::Release);
        }
        flushed
    }
}

/// Starts a thread that calls `flush` after each interval, if that is due, and at the end. A flush
/// waits for a transaction that is in progress.
///
/// When the thread has stopped, everything that was committed before is durable.
pub(super) fn start(
    interval: Duration,
    state: &Arc<FlushState>,
    on_failure: Option<FailureHook>,
    flush: impl Fn() -> Result<(), Error> + Send + 'static,
) -> Result<BackgroundThread, Error> {
    state.is_flushed_later.store(true, Ordering::Release);
    let thread = BackgroundThread::start(THREAD_NAME, {
        let state = Arc::clone(state);
        move |stop| {
            while !stop.wait_timeout(interval) {
                report(&|| state.flush_if_due(&flush), on_failure.as_ref());
            }
            // A transaction that begins from now on is durable by itself. One that is in progress
            // may not be, and may not have said yet that a flush is due. The last flush doesn't
            // ask: it comes after that transaction, and leaves nothing behind.
            state.is_flushed_later.store(false, Ordering::Release);
            report(&flush, on_failure.as_ref());
        }
    });
    thread.inspect_err(|_| state.is_flushed_later.store(false, Ordering::Release))
}

fn report(flush: &impl Fn() -> Result<(), Error>, on_failure: Option<&FailureHook>) {
    let error = match catch_unwind(AssertUnwindSafe(flush)) {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(_) => Error::backend("the thread panicked"),
    };
    let report = || {
        log::error!("sessions could not be made durable: {}", ErrorChain(&error));
        if let Some(hook) = on_failure {
            hook(&error);
        }
    };
    // The hook and the logger are the application's; the thread outlives their panics.
    let _ = catch_unwind(AssertUnwindSafe(report));
}

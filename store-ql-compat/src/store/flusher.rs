//! The thread that makes relaxed commits durable.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use store_core::backend::BackgroundThread;
use store_core::{Error, ErrorChain};

const THREAD_NAME: &str = "session-flush";

/// Called for each failure, after it was logged.
pub(super) type FailureHook = Arc<dyn Fn(&Error) + Send + Sync>;

/// Starts a thread that calls `flush_if_due` after each interval, and `flush` at the end.
/// `is_running` tells writers whether they may leave the durability of their commits to the thread.
///
/// When the thread has stopped, everything that was committed before is durable.
pub(super) fn start(
    interval: Duration,
    is_running: &Arc<AtomicBool>,
    on_failure: Option<FailureHook>,
    flush_if_due: impl Fn() -> Result<(), Error> + Send + 'static,
    flush: impl Fn() -> Result<(), Error> + Send + 'static,
) -> Result<BackgroundThread, Error> {
    is_running.store(true, Ordering::Release);
    let thread = BackgroundThread::start(THREAD_NAME, {
        let is_running = Arc::clone(is_running);
        move |stop| {
            while !stop.wait_timeout(interval) {
                report(&flush_if_due, on_failure.as_ref());
            }
            // A transaction that begins from now on is durable by itself. One that is in progress
            // may not be, and may not have said yet that a flush is due. The last flush doesn't
            // ask: it comes after that transaction, and leaves nothing behind.
            is_running.store(false, Ordering::Release);
            report(&flush, on_failure.as_ref());
        }
    });
    thread.inspect_err(|_| is_running.store(false, Ordering::Release))
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

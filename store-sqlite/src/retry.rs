//! Contention is waited out by trying again.

use std::time::{Duration, Instant};

use backon::{BlockingRetryable, ExponentialBuilder};
use rusqlite::Result as SqliteResult;
use store_core::Error;

use crate::error;

/// Repeats an operation while other connections hold a lock that it needs, until the timeout.
pub(crate) fn retry<T>(
    timeout: Duration,
    operation: impl FnMut() -> SqliteResult<T>,
) -> SqliteResult<T> {
    retry_if(timeout, error::is_contention, operation)
}

/// The same for an operation whose errors have been mapped.
pub(crate) fn retry_contended<T>(
    timeout: Duration,
    operation: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    retry_if(timeout, |error| matches!(error, Error::Contended { .. }), operation)
}

/// The end of a wait that several operations share.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// Returns the one that comes first.
    pub(crate) fn earlier(self, other: Self) -> Self {
        Self(match (self.0, other.0) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        })
    }

    /// Returns how long the next operation may wait.
    pub(crate) fn left(self) -> Duration {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        self.0.map_or(Duration::MAX, left)
    }
}

fn retry_if<T, E>(
    timeout: Duration,
    is_contention: impl Fn(&E) -> bool,
    mut operation: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    // Nearly always the first attempt is the last one, and needs no clock.
    match operation() {
        Err(error) if is_contention(&error) => {}
        result => return result,
    }
    let started = Instant::now();
    // Often, because another process may leave the lock free for microseconds only; and cheap,
    // because only one of a store's writers at a time waits like this.
    let backoff = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(1))
        .with_max_delay(Duration::from_millis(5))
        .without_max_times()
        .with_jitter();
    operation
        .retry(backoff)
        .when(|error| is_contention(error) && started.elapsed() < timeout)
        .call()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_that_share_a_deadline_wait_once() {
        let deadline = Deadline::after(Duration::from_millis(20));
        let attempts = || {
            let mut attempts = 0;
            let contended = retry_contended(deadline.left(), || {
                attempts += 1;
                Err::<(), _>(Error::Contended { source: "locked".into() })
            });
            assert!(contended.is_err());
            attempts
        };
        assert!(attempts() > 1);
        // The one that is always made, and its only repetition, which finds the time over.
        assert!(attempts() <= 2);
    }
}

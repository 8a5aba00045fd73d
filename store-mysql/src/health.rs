//! The health of one server, as all connections to it see it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a server that couldn't be reached is tried last, at first and at most.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// How long one lost connection doesn't invalidate the others again.
const INVALIDATION_INTERVAL: Duration = Duration::from_secs(1);

/// The health of one server.
#[derive(Default)]
pub(crate) struct Health {
    /// The generation of the connections that are made now. Those of an earlier one aren't used.
    generation: AtomicU64,
    invalidated_at: Mutex<Option<Instant>>,
    backoff: Mutex<Backoff>,
}

/// How long a server is tried last.
#[derive(Default)]
struct Backoff {
    until: Option<Instant>,
    length: Duration,
}

impl Health {
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Begins a new generation if a connection of the given one was lost.
    ///
    /// Usually the server has restarted, and all connections are lost with the first. If it hasn't,
    /// and connections are lost one by one, replacing all of them each time would cost too much, so
    /// this happens once a second at most.
    pub(crate) fn invalidate_connections(&self, generation: u64) {
        let mut invalidated_at = lock(&self.invalidated_at);
        let is_recent = invalidated_at.is_some_and(|at| at.elapsed() < INVALIDATION_INTERVAL);
        if generation == self.generation() && !is_recent {
            self.generation.store(generation + 1, Ordering::Release);
            *invalidated_at = Some(Instant::now());
        }
    }

    /// Backs off from the server, twice as long each time.
    pub(crate) fn record_failure(&self) {
        let mut backoff = lock(&self.backoff);
        backoff.length = (backoff.length * 2).clamp(MIN_BACKOFF, MAX_BACKOFF);
        backoff.until = Some(Instant::now() + backoff.length);
    }

    pub(crate) fn record_success(&self) {
        *lock(&self.backoff) = Backoff::default();
    }

    pub(crate) fn is_backing_off(&self, now: Instant) -> bool {
        lock(&self.backoff).until.is_some_and(|until| now < until)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic can leave nothing half-changed that these locks guard.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_connection_invalidates_its_generation_once() {
        let health = Health::default();
        health.invalidate_connections(0);
        assert_eq!(health.generation(), 1);
        // Others of the old generation, and one of the new one within the interval.
        health.invalidate_connections(0);
        health.invalidate_connections(1);
        assert_eq!(health.generation(), 1);
    }

    #[test]
    fn success_ends_the_backoff() {
        let health = Health::default();
        assert!(!health.is_backing_off(Instant::now()));
        health.record_failure();
        assert!(health.is_backing_off(Instant::now()));
        assert!(!health.is_backing_off(Instant::now() + MAX_BACKOFF));
        health.record_success();
        assert!(!health.is_backing_off(Instant::now()));
    }
}

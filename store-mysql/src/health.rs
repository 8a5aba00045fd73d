//! The health of one server, as all connections to it see it.

use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::lock::lock;

/// How long a server that couldn't be reached is tried last, at least and at most.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// How long one lost connection doesn't invalidate the others again.
const INVALIDATION_INTERVAL: Duration = Duration::from_secs(1);

/// The most orphans that are kept; the oldest are given up.
const MAX_ORPHANS: usize = 64;

/// The health of one server.
#[derive(Default)]
pub(crate) struct Health {
    /// The generation of the connections that are made now. Those of an earlier one aren't used.
    generation: AtomicU64,
    invalidated_at: Mutex<Option<Instant>>,
    backoff: Mutex<Backoff>,
    orphans: Mutex<Vec<Orphan>>,
}

/// A connection that this side has given up, and whose transaction the server may go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Orphan {
    /// The server's number of the connection.
    pub(crate) id: u32,
    /// The client's address, as the server sees it: numbers come back after a restart.
    pub(crate) host: String,
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

    /// Backs off from the server, twice as long each time, and for no less than the failure took:
    /// a server that doesn't answer costs each new connection a timeout.
    pub(crate) fn record_failure(&self, took: Duration) {
        let mut backoff = lock(&self.backoff);
        backoff.length = (backoff.length * 2).max(took).clamp(MIN_BACKOFF, MAX_BACKOFF);
        backoff.until = Some(Instant::now() + backoff.length);
    }

    /// Remembers a connection whose transaction is to be ended by the next connection.
    pub(crate) fn record_orphan(&self, orphan: Orphan) {
        let mut orphans = lock(&self.orphans);
        if orphans.len() >= MAX_ORPHANS {
            orphans.remove(0);
        }
        orphans.push(orphan);
    }

    pub(crate) fn take_orphans(&self) -> Vec<Orphan> {
        mem::take(&mut *lock(&self.orphans))
    }

    pub(crate) fn record_success(&self) {
        *lock(&self.backoff) = Backoff::default();
    }

    pub(crate) fn is_backing_off(&self, now: Instant) -> bool {
        lock(&self.backoff).until.is_some_and(|until| now < until)
    }
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
    fn backoff_is_as_long_as_the_failure() {
        let health = Health::default();
        health.record_failure(Duration::from_secs(8));
        assert!(health.is_backing_off(Instant::now() + Duration::from_secs(7)));
        health.record_failure(Duration::from_secs(3));
        assert!(health.is_backing_off(Instant::now() + Duration::from_secs(15)));
        health.record_failure(Duration::from_secs(3_600));
        assert!(!health.is_backing_off(Instant::now() + MAX_BACKOFF));
    }

    #[test]
    fn success_ends_the_backoff() {
        let health = Health::default();
        assert!(!health.is_backing_off(Instant::now()));
        health.record_failure(Duration::ZERO);
        assert!(health.is_backing_off(Instant::now()));
        assert!(!health.is_backing_off(Instant::now() + MAX_BACKOFF));
        health.record_success();
        assert!(!health.is_backing_off(Instant::now()));
    }
}

//! How a request waits that writes a session which others write, too.
//!
//! Requests that write the same session at the same time would each find, again and again, that
//! another one was quicker. So a request that has met a conflict takes a lock before it tries
//! again, and the requests of this process that have met one queue for it. The lock is an
//! optimization: correctness depends on the conditional `update` of the store alone.

use std::fmt;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::error::Error;
use crate::session_key::SessionKey;
use crate::sync::{Mutex, MutexGuard, thread};

/// How often a request tries to write a session that other requests change, before it gives up.
const MAX_ATTEMPTS: usize = 64;

/// Sessions share a lock with one in this many others: few enough not to matter, at a byte a lock.
/// In models all share one, because keys are random.
const STRIPES: usize = if cfg!(shuttle) { 1 } else { 1_024 };

/// A request that has waited this long tries without its lock.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Locks of sessions that several requests of this process want to write.
pub(crate) struct StripedLocks {
    locks: Box<[Mutex<()>]>,
}

impl StripedLocks {
    fn lock(&self, key: &SessionKey) -> Option<MutexGuard<'_, ()>> {
        self.locks[key.first_id().index(STRIPES)].try_lock_for(MAX_WAIT)
    }
}

impl Default for StripedLocks {
    fn default() -> Self {
        Self { locks: (0..STRIPES).map(|_| Mutex::new(())).collect() }
    }
}

impl fmt::Debug for StripedLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripedLocks").finish_non_exhaustive()
    }
}

/// The conflicts of one request.
pub(crate) struct Conflicts<'m> {
    locks: &'m StripedLocks,
    count: usize,
    /// Held until the request is done.
    lock: Option<MutexGuard<'m, ()>>,
    backoff: Option<ExponentialBackoff>,
}

impl<'m> Conflicts<'m> {
    pub(crate) fn new(locks: &'m StripedLocks) -> Self {
        Self { locks, count: 0, lock: None, backoff: None }
    }

    /// Waits as long as it helps. Call it before the newer session is loaded, not after, so that
    /// what is loaded is as new as possible when it is written.
    ///
    /// # Errors
    /// [`Error::Conflict`] after too many attempts.
    pub(crate) fn wait(&mut self, key: Option<&SessionKey>) -> Result<(), Error> {
        self.count += 1;
        if self.count >= MAX_ATTEMPTS {
            return Err(Error::Conflict { attempts: MAX_ATTEMPTS });
        }
        if self.count == 1 {
            self.lock = key.and_then(|key| self.locks.lock(key));
        } else if let Some(delay) = self.backoff.get_or_insert_with(backoff).next() {
            // A conflict in spite of the lock: with another process, or with a request that took
            // none.
            thread::sleep(delay);
        }
        Ok(())
    }
}

/// Short and random delays, so that requests that collided once don't collide again.
fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_micros(100))
        .with_max_delay(Duration::from_millis(10))
        .with_max_times(MAX_ATTEMPTS)
        .with_jitter()
        .build()
}

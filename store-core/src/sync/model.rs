//! The primitives that a model runs on: shuttle's, and what shuttle doesn't have.
//!
//! Time is a choice like the next thread: each look at the clock may find that some has passed, and
//! a wait with a timeout may end by it. So both ways are tried, and nothing depends on how long a
//! schedule takes. A wait that isn't chosen to time out never does: a lost notification is a
//! deadlock, which shuttle reports, and no timeout hides it.

pub(crate) mod channel;

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, PoisonError};
use std::time::Duration;

use shuttle::rand::{Rng as _, thread_rng};
pub(crate) use shuttle::sync::atomic::AtomicBool;
pub(crate) use shuttle::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub(crate) use shuttle::thread;

thread_local! {
    /// The time, which goes on from one schedule to the next: only differences count. All threads
    /// of a model are one thread of the system.
    static NOW: Cell<Duration> = const { Cell::new(MAX_WAIT) };
}

/// How much time may have passed at a look at the clock, each with the same chance.
const STEPS: [Duration; 4] =
    [Duration::ZERO, Duration::ZERO, Duration::from_micros(500), Duration::from_millis(3)];

/// A wait never takes longer, so that the time never reaches its end.
const MAX_WAIT: Duration = Duration::from_secs(60 * 60);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        pass(STEPS[thread_rng().gen_range(0..STEPS.len())]);
        Self(NOW.get())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Self::now().saturating_duration_since(*self)
    }

    pub(crate) fn saturating_duration_since(&self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub(crate) fn checked_add(&self, time: Duration) -> Option<Self> {
        self.0.checked_add(time).map(Self)
    }
}

fn pass(time: Duration) {
    NOW.set(NOW.get().saturating_add(time.min(MAX_WAIT)));
}

/// Chooses whether a wait is to end by its timeout.
fn times_out() -> bool {
    thread_rng().gen_bool(0.5)
}

/// Waits until the timeout, while others run.
fn wait_out(time: Duration) {
    thread::yield_now();
    pass(time);
}

/// shuttle's, with a guard that knows its lock.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    guard: shuttle::sync::MutexGuard<'a, T>,
    mutex: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.guarded(self.0.lock())
    }

    pub(crate) fn get_mut(&mut self) -> LockResult<&mut T> {
        self.0.get_mut()
    }

    fn guarded<'a>(
        &'a self,
        locked: LockResult<shuttle::sync::MutexGuard<'a, T>>,
    ) -> LockResult<MutexGuard<'a, T>> {
        locked.map(|guard| MutexGuard { guard, mutex: self }).map_err(|error| {
            PoisonError::new(MutexGuard { guard: error.into_inner(), mutex: self })
        })
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// shuttle's, with waits that time out, which shuttle's never do.
#[derive(Debug)]
pub(crate) struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(shuttle::sync::Condvar::new())
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        guard.mutex.guarded(self.0.wait(guard.guard))
    }

    /// Returns the guard and whether the wait timed out.
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let mutex = guard.mutex;
        let (result, has_timed_out) = if times_out() {
            drop(guard);
            wait_out(time);
            (mutex.lock(), true)
        } else {
            (self.wait(guard), false)
        };
        result
            .map(|guard| (guard, has_timed_out))
            .map_err(|error| PoisonError::new((error.into_inner(), has_timed_out)))
    }
}

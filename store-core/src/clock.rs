//! The clock that decides whether a session is live.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::sync::{Mutex, PoisonError};

/// Where an embedded store takes the time from.
///
/// Applications leave it at [`SystemClock`]; tests that need an expiry to come put a
/// [`ManualClock`] in its place instead of sleeping.
///
/// # Examples
/// ```
/// use chrono::{DateTime, TimeDelta, Utc};
/// use store_core::Clock;
///
/// /// A clock that is a minute slow.
/// #[derive(Debug)]
/// struct Slow;
///
/// impl Clock for Slow {
///     fn now(&self) -> DateTime<Utc> {
///         Utc::now() - TimeDelta::minutes(1)
///     }
/// }
///
/// assert!(Slow.now() < Utc::now());
/// ```
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present instant.
    fn now(&self) -> DateTime<Utc>;
}

/// The operating system's wall clock, in UTC.
///
/// # Examples
/// ```
/// use store_core::{Clock, SystemClock};
///
/// assert!(SystemClock.now() > chrono::DateTime::UNIX_EPOCH);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A clock that stands still until it is moved, for tests.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use chrono::{DateTime, TimeDelta};
/// use store_core::{ManualClock, MemoryOptions, Store};
///
/// let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
/// let store = MemoryOptions::new().with_clock(clock.clone()).build()?;
/// store.commit("token", b"data", DateTime::UNIX_EPOCH + TimeDelta::hours(1))?;
///
/// clock.advance(TimeDelta::minutes(59));
/// assert!(store.find("token")?.is_some());
/// clock.advance(TimeDelta::minutes(1));
/// assert!(store.find("token")?.is_none());
/// # Ok::<(), store_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<DateTime<Utc>>,
}

impl ManualClock {
    /// A clock that shows this instant.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::{Clock, ManualClock};
    ///
    /// assert_eq!(ManualClock::new(DateTime::UNIX_EPOCH).now(), DateTime::UNIX_EPOCH);
    /// ```
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        Self { now: Mutex::new(now) }
    }

    /// Moves the clock by this much; a negative amount moves it back.
    ///
    /// # Panics
    /// If the result is outside the range of `DateTime<Utc>`.
    ///
    /// # Examples
    /// ```
    /// use chrono::{DateTime, TimeDelta};
    /// use store_core::{Clock, ManualClock};
    ///
    /// let clock = ManualClock::new(DateTime::UNIX_EPOCH);
    /// clock.advance(TimeDelta::seconds(1));
    /// clock.advance(TimeDelta::seconds(-2));
    /// assert_eq!(clock.now().timestamp(), -1);
    /// ```
    pub fn advance(&self, by: TimeDelta) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

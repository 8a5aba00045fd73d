//! How long sessions and their tokens live.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::codec::Codec;
use crate::content::metadata::Metadata;
use crate::error::Error;

/// The longest of all times. It is far beyond what applications need, and what all columns but a
/// `TIMESTAMP` of MySQL can hold.
const MAX_LIFETIME: TimeDelta = TimeDelta::days(100 * 365);

/// The last whole second that RFC 3339 can represent, and so every codec.
const LATEST: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(latest) => latest,
    None => DateTime::<Utc>::MAX_UTC,
};

/// The year 2000: long ago, and an instant that every store can represent.
const EARLIEST: DateTime<Utc> = match DateTime::from_timestamp(946_684_800, 0) {
    Some(earliest) => earliest,
    None => DateTime::<Utc>::UNIX_EPOCH,
};

/// A manager's lifetime, idle timeout and rotation interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    pub(crate) lifetime: TimeDelta,
    pub(crate) idle_timeout: Option<TimeDelta>,
    pub(crate) rotation: Option<TimeDelta>,
}

impl Lifetimes {
    /// 24 hours, without an idle timeout and without rotation.
    pub(crate) const DEFAULT: Self =
        Self { lifetime: TimeDelta::hours(24), idle_timeout: None, rotation: None };

    /// Returns the deadline of a session that begins now.
    pub(crate) fn fresh_deadline(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let deadline = now.checked_add_signed(self.lifetime);
        deadline.map_or(LATEST, |deadline| deadline.min(LATEST))
    }

    /// Returns the lifetimes of a session that may have an idle timeout of its own.
    pub(crate) fn of<C: Codec>(self, session: &Metadata<'_, C>) -> Self {
        Self { idle_timeout: session.idle_timeout(self.idle_timeout), ..self }
    }

    /// Returns when a session with this deadline expires if it is used now.
    pub(crate) fn expiry(&self, deadline: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let idle = self.idle_timeout.and_then(|timeout| now.checked_add_signed(timeout));
        idle.map_or(deadline, |idle| idle.min(deadline))
    }

    /// Returns whether a tenth of the idle timeout has passed since the expiry was moved last.
    /// After a clock went back it hasn't.
    pub(crate) fn is_touch_due(&self, expiry: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.idle_timeout.is_some_and(|timeout| expiry - now <= timeout - timeout / 10)
    }

    /// Returns when a session was used last, as far as its expiry tells.
    pub(crate) fn last_use(
        &self,
        expiry: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let used = expiry.checked_sub_signed(self.idle_timeout?)?;
        // The timeout may have been longer once.
        Some(used.min(now))
    }
}

/// Limits a deadline to instants that every codec and store can represent. Of a leap second, which
/// Go doesn't read and MessagePack doesn't have, that is the end of the second before.
pub(crate) fn clamp_deadline(deadline: DateTime<Utc>) -> DateTime<Utc> {
    let deadline = deadline.clamp(EARLIEST, LATEST);
    // In a leap second chrono counts on past the last nanosecond.
    let nanoseconds = deadline.timestamp_subsec_nanos().min(999_999_999);
    DateTime::from_timestamp(deadline.timestamp(), nanoseconds).unwrap_or(deadline)
}

/// Converts the value of an option.
///
/// # Errors
/// [`Error::InvalidOption`] for zero and for more than 100 years.
pub(crate) fn check(option: &'static str, time: Duration) -> Result<TimeDelta, Error> {
    match TimeDelta::from_std(time) {
        Ok(delta) if delta > TimeDelta::zero() && delta <= MAX_LIFETIME => Ok(delta),
        _ => {
            let problem = "it must be longer than zero and at most 100 years".to_owned();
            Err(Error::InvalidOption { option, problem })
        }
    }
}

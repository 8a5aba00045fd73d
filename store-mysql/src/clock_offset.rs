//! How far the server's clock is from this process's.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use mysql::prelude::Queryable;
use mysql::{Conn, Result as DriverResult};

use crate::engine::Engine;

/// From which difference on a person wants to know.
const NOTABLE: TimeDelta = TimeDelta::seconds(1);

/// How far the server's clock was ahead of this process's when the latest connection was made.
#[derive(Default)]
pub(crate) struct ClockOffset {
    micros: AtomicI64,
    /// The notable difference that was told last, in whole seconds.
    told: AtomicU64,
}

impl ClockOffset {
    /// Records what a server's clock showed.
    pub(crate) fn record(&self, reading: Reading) {
        let (elapsed, offset) = (reading.after - reading.before, reading.offset());
        self.micros.store(offset.num_microseconds().unwrap_or(0), Ordering::Relaxed);
        let seconds = offset.abs().num_seconds().unsigned_abs();
        if offset.abs() <= NOTABLE + elapsed / 2 {
            self.told.store(0, Ordering::Relaxed);
        } else if self.told.swap(seconds, Ordering::Relaxed).abs_diff(seconds) > 1 {
            log::warn!(
                "the database server's clock is {} s {} this machine's; sessions go by the server's",
                seconds,
                if offset > TimeDelta::zero() { "ahead of" } else { "behind" },
            );
        }
    }

    /// Returns what the server's clock shows by now.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        let offset = TimeDelta::microseconds(self.micros.load(Ordering::Relaxed));
        Utc::now().checked_add_signed(offset).unwrap_or_else(Utc::now)
    }
}

/// What the server's clock showed between two moments of this process's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    before: DateTime<Utc>,
    server: DateTime<Utc>,
    after: DateTime<Utc>,
}

impl Reading {
    /// Reads the clock of a server, whose session has the time zone +00:00.
    pub(crate) fn take(driver: &mut Conn, engine: Engine) -> DriverResult<Option<Self>> {
        let sql = format!("SELECT UNIX_TIMESTAMP(NOW(6)){}", engine.clock_source());
        let before = Utc::now();
        let server: Option<String> = driver.query_first(sql)?;
        let after = Utc::now();
        Ok(server.as_deref().and_then(instant).map(|server| Self { before, server, after }))
    }

    /// How far the server's clock was ahead.
    ///
    /// The server has looked at it somewhere between the two moments, and is taken to have done so
    /// in the middle. So the error is half of a round trip at most.
    pub(crate) fn offset(self) -> TimeDelta {
        self.server - (self.before + (self.after - self.before) / 2)
    }
}

/// Reads seconds since the epoch, with six digits of the next one.
fn instant(seconds: &str) -> Option<DateTime<Utc>> {
    let (seconds, micros) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let micros = format!("{micros:0<6}").get(..6)?.parse::<i64>().ok()?;
    DateTime::from_timestamp_micros(seconds.parse::<i64>().ok()?.checked_mul(1_000_000)? + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_seconds_with_a_fraction() {
        let micros = |text| instant(text).map(|instant| instant.timestamp_micros());
        assert_eq!(micros("1764000000.123456"), Some(1_764_000_000_123_456));
        assert_eq!(micros("1764000000.5"), Some(1_764_000_000_500_000));
        assert_eq!(micros("1764000000"), Some(1_764_000_000_000_000));
        assert_eq!(micros("now"), None);
    }

    #[test]
    fn now_is_as_far_ahead_as_the_server_was() {
        let offset = ClockOffset::default();
        let before = Utc::now();
        for ahead in [20, -60, 0] {
            let server = before + TimeDelta::minutes(ahead) + TimeDelta::milliseconds(10);
            offset.record(Reading { before, server, after: before + TimeDelta::milliseconds(20) });
            let difference = offset.now() - Utc::now() - TimeDelta::minutes(ahead);
            assert!(difference.abs() < TimeDelta::seconds(30), "{difference}");
        }
    }
}

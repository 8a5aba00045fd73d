//! Instants as Julian days, the form in which SQLite's `julianday()` and the Go store keep an expiry.
//!
//! SQLite computes with whole milliseconds since noon in Greenwich on 24 November 4714 BC and gives
//! them as days in a double ([Date And Time Functions](https://sqlite.org/lang_datefunc.html)). The same
//! arithmetic here gives the same doubles: two instants compare in the database as their milliseconds
//! do, because a double near today tells 0.04 ms apart.

use chrono::{DateTime, Utc};
use store_core::Error;

const MS_PER_DAY: f64 = 86_400_000.0;

/// The Unix epoch, Julian day 2,440,587.5, in milliseconds.
const UNIX_EPOCH_MS: i64 = 210_866_760_000_000;

/// The last millisecond of the year 9999, where SQLite's date functions end.
const MAX_MS: i64 = 464_269_060_799_999;

/// The Julian day of an expiry, rounded down to the millisecond.
///
/// # Errors
/// [`Error::ExpiryOutOfRange`] before Julian day 0 and after the year 9999.
pub(crate) fn from_expiry(expiry: DateTime<Utc>) -> Result<f64, Error> {
    match milliseconds(expiry) {
        ms @ 0..=MAX_MS => Ok(days(ms)),
        _ => Err(Error::ExpiryOutOfRange { expiry, earliest: instant(0), latest: instant(MAX_MS) }),
    }
}

/// The Julian day of the present; a clock outside the range stands at its end.
pub(crate) fn from_now(now: DateTime<Utc>) -> f64 {
    days(milliseconds(now).clamp(0, MAX_MS))
}

/// The instant that a stored Julian day means.
pub(crate) fn to_instant(julian_day: f64) -> DateTime<Utc> {
    // Only days of live rows come here, which are within the range; the cast saturates.
    #[expect(clippy::cast_possible_truncation, reason = "rounded to a whole number before")]
    let ms = (julian_day * MS_PER_DAY).round() as i64;
    instant(ms.clamp(0, MAX_MS))
}

/// Milliseconds since Julian day 0, rounded down.
fn milliseconds(instant: DateTime<Utc>) -> i64 {
    instant.timestamp_millis() + UNIX_EPOCH_MS
}

fn days(ms: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53, as checked by the callers")]
    let ms = ms as f64;
    ms / MS_PER_DAY
}

fn instant(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms - UNIX_EPOCH_MS)
        .expect("chrono's range contains SQLite's years")
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn known_days() -> Result<(), Error> {
        assert_eq!(from_expiry(DateTime::UNIX_EPOCH)?.to_bits(), 2_440_587.5_f64.to_bits());
        assert_eq!(instant(0).to_rfc3339(), "-4713-11-24T12:00:00+00:00");
        assert_eq!(instant(MAX_MS).to_rfc3339(), "9999-12-31T23:59:59.999+00:00");
        Ok(())
    }

    #[test]
    fn range_ends_where_sqlites_does() {
        for (ms, fits) in [(-1, false), (0, true), (MAX_MS, true), (MAX_MS + 1, false)] {
            assert_eq!(from_expiry(instant(ms)).is_ok(), fits, "{ms} ms");
        }
        for extreme in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert!(matches!(from_expiry(extreme), Err(Error::ExpiryOutOfRange { .. })));
            from_now(extreme);
        }
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300] {
            to_instant(odd);
        }
    }

    proptest! {
        #[test]
        fn same_double_as_sqlite_and_back(ms in -62_167_219_200_000_i64..253_402_300_800_000, ns in 0..1_000_000_u32) {
            let given = DateTime::from_timestamp_millis(ms).expect("in range")
                + TimeDelta::nanoseconds(i64::from(ns));
            let ours = from_expiry(given).expect("in range");
            // The Go store's form: milliseconds, rounded down.
            let text = given.format("%Y-%m-%dT%H:%M:%S%.3f").to_string();
            thread_local!(static SQLITE: Connection = Connection::open_in_memory().expect("memory"));
            let sqlites: f64 = SQLITE.with(|sqlite| {
                sqlite.query_row("SELECT julianday(?1)", [&text], |row| row.get(0)).expect("a day")
            });
            prop_assert_eq!(ours.to_bits(), sqlites.to_bits(), "{}", text);
            prop_assert_eq!(to_instant(ours), DateTime::from_timestamp_millis(ms).expect("in range"));
        }
    }
}

//! Instants as Julian days, the form in which SQLite's `julianday()` and the Go store keep an
//! expiry.
//!
//! SQLite computes with whole milliseconds since noon in Greenwich on 24 November 4714 BC and
//! returns them as days in a double ([Date And Time
//! Functions](https://sqlite.org/lang_datefunc.html)). The same arithmetic here results in the same
//! doubles. Two instants compare in the database as their milliseconds do, because the resolution
//! of a double is 0.04 ms in this century.

use chrono::{DateTime, Utc};
use store_core::Error;

const MS_PER_DAY: f64 = 86_400_000.0;

/// The Unix epoch, Julian day 2,440,587.5, in milliseconds.
const UNIX_EPOCH_MS: i64 = 210_866_760_000_000;

/// The last millisecond of the year 9999, where SQLite's date functions end.
const MAX_MS: i64 = 464_269_060_799_999;

/// Checks that an expiry is in the range, before anything is written.
///
/// # Errors
/// [`Error::ExpiryOutOfRange`] before Julian day 0 and after the year 9999.
pub(crate) fn check_expiry(expiry: DateTime<Utc>) -> Result<(), Error> {
    match milliseconds(expiry) {
        0..=MAX_MS => Ok(()),
        _ => Err(Error::ExpiryOutOfRange { expiry, earliest: instant(0), latest: instant(MAX_MS) }),
    }
}

/// Returns the latest expiry.
pub(crate) fn latest() -> DateTime<Utc> {
    instant(MAX_MS)
}

/// Returns the Julian day of an instant, rounded down to the millisecond. An instant outside the
/// range, which only a clock can show, becomes the nearest one in it.
pub(crate) fn from_instant(instant: DateTime<Utc>) -> f64 {
    let ms = milliseconds(instant).clamp(0, MAX_MS);
    #[expect(clippy::cast_precision_loss, reason = "MAX_MS is below 2^53")]
    let ms = ms as f64;
    ms / MS_PER_DAY
}

/// Returns the instant that a stored Julian day stands for.
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
    fn known_days() {
        assert_eq!(from_instant(DateTime::UNIX_EPOCH).to_bits(), 2_440_587.5_f64.to_bits());
        assert_eq!(instant(0).to_rfc3339(), "-4713-11-24T12:00:00+00:00");
        assert_eq!(instant(MAX_MS).to_rfc3339(), "9999-12-31T23:59:59.999+00:00");
    }

    #[test]
    fn range_ends_where_sqlites_does() {
        for (ms, fits) in [(-1, false), (0, true), (MAX_MS, true), (MAX_MS + 1, false)] {
            assert_eq!(check_expiry(instant(ms)).is_ok(), fits, "{ms} ms");
        }
        for extreme in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert!(matches!(check_expiry(extreme), Err(Error::ExpiryOutOfRange { .. })));
            from_instant(extreme);
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
            prop_assert!(check_expiry(given).is_ok());
            let ours = from_instant(given);
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

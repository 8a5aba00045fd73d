//! Instants in MySQL's columns: dates and times of day in UTC, with up to six digits of a second.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Timelike, Utc};
use mysql::Value;
use store_core::Error;

/// What a column of instants can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InstantRange {
    pub(crate) earliest: DateTime<Utc>,
    pub(crate) latest: DateTime<Utc>,
    /// Digits of a second that the column keeps, from 3 to 6.
    pub(crate) digits: u8,
}

impl InstantRange {
    /// `DATETIME`: the years in MySQL's manual.
    pub(crate) fn datetime(digits: u8) -> Self {
        Self {
            earliest: instant(1000, 1, 1, 0),
            latest: end_of_second(instant(9999, 12, 31, 86_399)),
            digits,
        }
    }

    /// `TIMESTAMP` as a signed number of 32 bits: until 19 January 2038.
    pub(crate) fn timestamp(digits: u8) -> Self {
        Self { earliest: seconds(1), latest: end_of_second(seconds(i64::from(i32::MAX))), digits }
    }

    /// `TIMESTAMP` as an unsigned one, in MariaDB from 11.5: until 7 February 2106.
    pub(crate) fn unsigned_timestamp(digits: u8) -> Self {
        Self { latest: end_of_second(seconds(i64::from(u32::MAX))), ..Self::timestamp(digits) }
    }

    /// An expiry for a statement, rounded down to the column's digits: MySQL would round it up, and
    /// MariaDB down.
    ///
    /// # Errors
    /// [`Error::ExpiryOutOfRange`].
    pub(crate) fn expiry(&self, expiry: DateTime<Utc>) -> Result<Value, Error> {
        let Self { earliest, latest, digits } = *self;
        if expiry < earliest || expiry > latest + TimeDelta::nanoseconds(999) {
            return Err(Error::ExpiryOutOfRange { expiry, earliest, latest });
        }
        let step = 10_u32.pow(6 - u32::from(digits));
        // In a leap second chrono counts on past 1,000,000.
        let micros = (expiry.timestamp_subsec_micros().min(999_999) / step) * step;
        Ok(Value::Date(
            u16::try_from(expiry.year()).expect("within the range"),
            expiry.month().try_into().expect("a month"),
            expiry.day().try_into().expect("a day"),
            expiry.hour().try_into().expect("an hour"),
            expiry.minute().try_into().expect("a minute"),
            expiry.second().try_into().expect("a second"),
            micros,
        ))
    }
}

/// The instant that a column of a live session holds.
pub(crate) fn to_instant(value: &Value) -> Option<DateTime<Utc>> {
    let Value::Date(year, month, day, hour, minute, second, micros) = *value else { return None };
    NaiveDate::from_ymd_opt(year.into(), month.into(), day.into())?
        .and_hms_micro_opt(hour.into(), minute.into(), second.into(), micros)
        .map(|instant| instant.and_utc())
}

fn instant(year: i32, month: u32, day: u32, second_of_day: i64) -> DateTime<Utc> {
    let midnight = NaiveDate::from_ymd_opt(year, month, day)
        .and_then(|date| date.and_hms_opt(0, 0, 0))
        .expect("the days of this file exist");
    midnight.and_utc() + TimeDelta::seconds(second_of_day)
}

fn seconds(since_epoch: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(since_epoch, 0).expect("within chrono's range")
}

fn end_of_second(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant + TimeDelta::microseconds(999_999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_where_the_manual_says() {
        let last = |range: InstantRange| range.latest.to_rfc3339();
        assert_eq!(last(InstantRange::timestamp(6)), "2038-01-19T03:14:07.999999+00:00");
        assert_eq!(last(InstantRange::unsigned_timestamp(6)), "2106-02-07T06:28:15.999999+00:00");
        assert_eq!(last(InstantRange::datetime(6)), "9999-12-31T23:59:59.999999+00:00");
        for range in [
            InstantRange::timestamp(6),
            InstantRange::unsigned_timestamp(6),
            InstantRange::datetime(6),
        ] {
            for fits in [range.earliest, range.latest, range.latest + TimeDelta::nanoseconds(999)] {
                assert!(range.expiry(fits).is_ok(), "{fits}");
            }
            let just_outside = [
                range.earliest - TimeDelta::nanoseconds(1),
                range.latest + TimeDelta::microseconds(1),
            ];
            for out in
                just_outside.into_iter().chain([DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC])
            {
                assert!(matches!(range.expiry(out), Err(Error::ExpiryOutOfRange { .. })), "{out}");
            }
        }
    }

    #[test]
    fn expiries_are_rounded_down_and_come_back() {
        let given = seconds(1_900_000_000) + TimeDelta::nanoseconds(123_456_789);
        for (digits, kept) in
            [(6, 123_456_000), (5, 123_450_000), (4, 123_400_000), (3, 123_000_000)]
        {
            let value = InstantRange::datetime(digits).expiry(given).expect("in range");
            let back = seconds(1_900_000_000) + TimeDelta::nanoseconds(kept);
            assert_eq!(to_instant(&value), Some(back), "{digits} digits");
        }
        let leap = NaiveDate::from_ymd_opt(2016, 12, 31)
            .and_then(|date| date.and_hms_nano_opt(23, 59, 59, 1_500_000_000))
            .expect("a leap second")
            .and_utc();
        let value = InstantRange::datetime(6).expiry(leap).expect("in range");
        assert!(to_instant(&value).is_some_and(|back| back <= leap));
        for none in [Value::NULL, Value::Int(7), Value::Date(0, 0, 0, 0, 0, 0, 0)] {
            assert_eq!(to_instant(&none), None);
        }
    }
}

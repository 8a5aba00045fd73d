//! Deadlines at the ends of what stores and codecs can represent.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use session_manager::{Codec, Error, SessionManager};
use store_core::Store;

use crate::TestResult;
use crate::counting_store::token;

on_every_store! {
    deadline_that_was_accepted_can_be_written_again
}

/// Deadlines around which something ends: a type of a column, a form of a date, a calendar.
fn deadlines() -> Vec<DateTime<Utc>> {
    let at = |text: &str| text.parse::<DateTime<Utc>>().expect("it is a date");
    let ends = [
        // Signed and unsigned seconds in 32 bits.
        at("2038-01-19T03:14:08Z"),
        at("2106-02-07T06:28:16Z"),
        // Signed nanoseconds in 64 bits.
        at("2262-04-11T23:47:16.854775808Z"),
        // A leap second.
        NaiveDate::from_ymd_opt(2076, 12, 31)
            .and_then(|date| date.and_hms_nano_opt(23, 59, 59, 1_500_000_000))
            .expect("it has a leap second")
            .and_utc(),
        at("2077-01-01T00:00:00Z"),
        at("9999-12-31T23:59:59Z"),
        at("9999-12-31T23:59:59.999999999Z"),
    ];
    let steps =
        [0, 1, 999, 1_000, 500_000, 999_999, 1_000_000, 500_000_000, 999_999_999, 1_000_000_000];
    let around = |end: DateTime<Utc>| {
        steps.into_iter().flat_map(move |step| {
            let step = TimeDelta::nanoseconds(step);
            [end - step, end + step]
        })
    };
    ends.into_iter().flat_map(around).chain([DateTime::<Utc>::MAX_UTC]).collect()
}

fn check<C: Codec>(sessions: &SessionManager<C>, deadline: DateTime<Utc>) -> TestResult {
    let mut session = sessions.load([])?;
    session.insert("n", 1)?;
    session.set_deadline(deadline);
    let mut current = match session.finish() {
        Ok(headers) => token(&headers).expect("it is new"),
        Err(Error::Store(store_core::Error::ExpiryOutOfRange { .. })) => return Ok(()),
        Err(error) => return Err(error),
    };
    for n in 2..5 {
        let mut session = sessions.load([&*current])?;
        assert_eq!(session.get("n")?, Some(n - 1), "{deadline:?}");
        assert!(session.deadline() <= deadline, "{deadline:?}");
        session.insert("n", n)?;
        if n == 3 {
            session.renew()?;
        }
        let headers = session.finish().unwrap_or_else(|error| panic!("{deadline:?}: {error:?}"));
        current = token(&headers).unwrap_or(current);
    }
    sessions.load([&*current])?.destroy()
}

fn deadline_that_was_accepted_can_be_written_again(store: &Arc<dyn Store>) -> TestResult {
    let idle = Duration::from_secs(60);
    let manager = || SessionManager::new(Arc::clone(store));
    for deadline in deadlines() {
        check(&manager(), deadline)?;
        check(
            &manager().with_rotation(Duration::from_nanos(1))?.with_idle_timeout(idle)?,
            deadline,
        )?;
        #[cfg(feature = "messagepack")]
        check(&manager().with_codec(session_manager::MessagePack), deadline)?;
    }
    Ok(())
}

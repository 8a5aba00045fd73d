//! What the sessions of a file come to.

use redb::{Error as RedbError, ReadTransaction, ReadableTable};
use store_core::backend::SubjectCounts;
use store_core::{Error, StoreStatistics};

use super::QlStore;
use super::format::{Instant, split};
use super::read::{Order, find_live};
use super::tables::Tables;

/// # Statistics
impl QlStore {
    /// Counts the sessions, and names the `max_top` subjects that have the most.
    ///
    /// It reads all sessions, in a snapshot, for which nobody waits.
    ///
    /// # Errors
    /// Only for faults of the system.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_ql_compat::{QlStore, Store};
    ///
    /// let store = QlStore::in_memory()?;
    /// store.create("token", b"data", Utc::now() + TimeDelta::hours(1), Some("user 7"))?;
    /// let statistics = store.statistics(10)?;
    /// assert_eq!((statistics.live, statistics.expired, statistics.bytes), (1, 0, 4));
    /// assert_eq!(statistics.top_subjects, [("user 7".to_owned(), 1)]);
    /// # Ok::<(), store_ql_compat::Error>(())
    /// ```
    pub fn statistics(&self, max_top: usize) -> Result<StoreStatistics, Error> {
        let shared = &self.shared;
        shared.engine.read(|snapshot| read(&shared.tables, snapshot, shared.now(), max_top))
    }
}

fn read(
    tables: &Tables,
    snapshot: &ReadTransaction,
    now: Instant,
    max_top: usize,
) -> Result<StoreStatistics, RedbError> {
    let mut statistics = StoreStatistics::default();
    let mut order = Order::default();
    for row in snapshot.open_table(tables.sessions())?.iter()? {
        let (token, value) = row?;
        order.check(token.value())?;
        let (expiry, data) = split(value.value())?;
        if expiry > now {
            statistics.live += 1;
            statistics.bytes += data.len() as u64;
        } else {
            statistics.expired += 1;
        }
    }

    let mut counts = SubjectCounts::new(max_top);
    // The keys of a subject stand next to each other.
    let (mut subject, mut sessions) = (Vec::new(), 0);
    let mut order = Order::default();
    for row in snapshot.open_table(tables.by_subject())?.iter()? {
        let key = row?.0;
        order.check(key.value())?;
        let (of, token) = split_key(key.value())?;
        if *of != *subject {
            counts.add(&String::from_utf8_lossy(&subject), sessions);
            (subject, sessions) = (of.to_vec(), 0);
        }
        let is_live = find_live(tables, snapshot, token, now, |_, _| ())?.is_some();
        sessions += u64::from(is_live);
    }
    counts.add(&String::from_utf8_lossy(&subject), sessions);
    let (subjects, top) = counts.finish();
    (statistics.subjects, statistics.top_subjects) = (Some(subjects), top);
    Ok(statistics)
}

/// Returns the subject and the token of a key.
fn split_key(key: &[u8]) -> Result<(&[u8], &[u8]), RedbError> {
    let parts = key.split_first().and_then(|(len, rest)| rest.split_at_checked((*len).into()));
    parts.ok_or_else(|| RedbError::Corrupted("a key is shorter than its subject".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::{DateTime, TimeDelta};
    use store_core::{CleanupOptions, ManualClock, Store};

    use super::*;
    use crate::QlOptions;

    #[test]
    fn statistics_count_what_is_live_and_what_is_not() -> Result<(), Error> {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let options = QlOptions::new().with_cleanup(CleanupOptions::disabled());
        let store = options.with_clock(clock.clone()).in_memory()?;
        let at = |hours| DateTime::UNIX_EPOCH + TimeDelta::hours(hours);
        for (token, hours, subject) in
            [("a", 1, "ada"), ("b", 9, "bob"), ("c", 9, "bob"), ("d", 9, "eve"), ("e", 9, "eve")]
        {
            store.create(token, b"1234", at(hours), Some(subject))?;
        }
        store.commit("f", b"12345678", at(9))?;
        clock.advance(TimeDelta::hours(1));
        let statistics = store.statistics(1)?;
        assert_eq!((statistics.live, statistics.expired, statistics.bytes), (5, 1, 24));
        assert_eq!(statistics.subjects, Some(2));
        assert_eq!(statistics.top_subjects, [("bob".to_owned(), 2)]);
        assert_eq!(statistics.live, store.count()?);
        Ok(())
    }

    #[test]
    fn damaged_keys_are_an_error() {
        assert!(split_key(b"\x02ab").is_ok());
        assert!(matches!(split_key(b"\x03ab"), Err(RedbError::Corrupted(_))));
        assert!(matches!(split_key(b""), Err(RedbError::Corrupted(_))));
    }
}

//! What the sessions of a table come to.

use rusqlite::{Connection, Result as SqliteResult, Transaction, TransactionBehavior};
use store_core::backend::SubjectCounts;
use store_core::{Error, StoreStatistics};

use crate::statements::IS_EXPIRED;
use crate::store::SqliteStore;
use crate::table;
use crate::tables::Tables;

// SQLite tells the length of a blob without reading it; text, which others have written, is
// converted.
const TOTALS: &str = "SELECT count(*) FILTER (WHERE NOT {expired}), \
    count(*) FILTER (WHERE {expired}), \
    coalesce(sum(CASE typeof(data) WHEN 'blob' THEN length(data) \
        ELSE length(CAST(data AS BLOB)) END) FILTER (WHERE NOT {expired}), 0) \
    FROM {table}";

// In the order of the index, so that the groups come one by one.
const SUBJECTS: &str = "SELECT link.subject, count(*) FROM {subjects} AS link \
    CROSS JOIN {table} AS session ON session.token = link.token COLLATE BINARY \
    WHERE NOT {expired} GROUP BY link.subject";

/// # Statistics
impl SqliteStore {
    /// Counts the sessions, and names the `max_top` subjects that have the most.
    ///
    /// It reads the table once, in one transaction, for which nobody waits in WAL mode. In other
    /// journal modes writers wait until it is done.
    ///
    /// # Errors
    /// Only for faults of the system.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_sqlite::{SqliteStore, Store};
    ///
    /// let store = SqliteStore::in_memory()?;
    /// store.create("token", b"data", Utc::now() + TimeDelta::hours(1), Some("user 7"))?;
    /// let statistics = store.statistics(10)?;
    /// assert_eq!((statistics.live, statistics.expired, statistics.bytes), (1, 0, 4));
    /// assert_eq!(statistics.top_subjects, [("user 7".to_owned(), 1)]);
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    pub fn statistics(&self, max_top: usize) -> Result<StoreStatistics, Error> {
        self.shared.read(|tables, connection, now| read(tables, connection, now, max_top))
    }
}

fn read(
    tables: &Tables,
    connection: &Connection,
    now: f64,
    max_top: usize,
) -> SqliteResult<StoreStatistics> {
    // One snapshot for both statements; it ends when this is dropped.
    let snapshot = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    let on_tables = |template: &str| {
        template
            .replace("{expired}", &IS_EXPIRED.replace("?2", "?1"))
            .replace("{subjects}", &table::qualified(&table::subjects_name(&tables.name)))
            .replace("{table}", &table::qualified(tables.name.as_str()))
    };
    let mut statistics = StoreStatistics::default();
    (statistics.live, statistics.expired, statistics.bytes) =
        snapshot.query_row(&on_tables(TOTALS), [now], |row| {
            let number = |index| row.get::<_, i64>(index).map(i64::unsigned_abs);
            Ok((number(0)?, number(1)?, number(2)?))
        })?;
    if tables.subjects.is_some() {
        let mut counts = SubjectCounts::new(max_top);
        let mut statement = snapshot.prepare(&on_tables(SUBJECTS))?;
        let mut groups = statement.query([now])?;
        while let Some(group) = groups.next()? {
            counts.add(&group.get::<_, String>(0)?, group.get::<_, i64>(1)?.unsigned_abs());
        }
        let (subjects, top) = counts.finish();
        (statistics.subjects, statistics.top_subjects) = (Some(subjects), top);
    }
    Ok(statistics)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::{DateTime, TimeDelta};
    use store_core::{CleanupOptions, ManualClock, Store};

    use super::*;
    use crate::SqliteOptions;

    #[test]
    fn statistics_count_what_is_live_and_what_is_not() -> Result<(), Error> {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH + TimeDelta::days(1)));
        let options = SqliteOptions::new().with_cleanup(CleanupOptions::disabled());
        let store = options.with_clock(clock.clone()).in_memory()?;
        let at = |hours| DateTime::UNIX_EPOCH + TimeDelta::days(1) + TimeDelta::hours(hours);
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
}

//! What the sessions of a table come to.

use mysql::prelude::Queryable;
use mysql::{Result as DriverResult, Row, from_value_opt};
use store_core::backend::SubjectCounts;
use store_core::{Error, StoreStatistics};

use crate::connection::Connection;
use crate::ddl;
use crate::retry::RetrySafety;
use crate::rows::bytes;
use crate::shared::Shared;
use crate::sql::{quoted, token_bytes};
use crate::store::MysqlStore;

const TOTALS: &str = "SELECT \
    COUNT(CASE WHEN expiry > UTC_TIMESTAMP(6) THEN 1 END), \
    COUNT(CASE WHEN expiry <= UTC_TIMESTAMP(6) THEN 1 END), \
    CAST(COALESCE(SUM(CASE WHEN expiry > UTC_TIMESTAMP(6) THEN LENGTH(data) END), 0) AS UNSIGNED) \
    FROM {table}";

// The column may take another token for the same, so bytes are compared, too.
const SUBJECTS: &str = "SELECT link.subject, COUNT(*) \
    FROM {subjects} AS link JOIN {table} AS session ON session.token = {link_token} \
    WHERE session.expiry > UTC_TIMESTAMP(6) AND {session_bytes} = CAST(link.token AS BINARY) \
    GROUP BY link.subject";

/// # Statistics
impl MysqlStore {
    /// Counts the sessions, and names the `max_top` subjects that have the most.
    ///
    /// It reads the table and the index of subjects one after the other, without locks. What takes
    /// the server longer than the [network
    /// timeout](crate::MysqlOptions::with_network_timeout) fails.
    ///
    /// # Errors
    /// Only for faults of the system.
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::MysqlStore;
    ///
    /// let store = MysqlStore::connect("mysql://app:secret@db.example/app")?;
    /// for (subject, sessions) in store.statistics(10)?.top_subjects {
    ///     println!("{subject}: {sessions}");
    /// }
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
    pub fn statistics(&self, max_top: usize) -> Result<StoreStatistics, Error> {
        let shared = &self.shared;
        shared.run(RetrySafety::ReadOnly, |connection| read(shared, connection, max_top))
    }
}

fn read(
    shared: &Shared,
    connection: &mut Connection,
    max_top: usize,
) -> DriverResult<StoreStatistics> {
    let name = &shared.table.name;
    let on_tables = |template: &str| {
        template
            .replace("{subjects}", &quoted(&ddl::subjects_name(name)))
            .replace("{table}", &quoted(name.as_str()))
            .replace("{session_bytes}", &token_bytes("session.token"))
            .replace("{link_token}", &shared.table.convert_token("link.token"))
    };
    let mut statistics = StoreStatistics::default();
    let totals: Option<Row> = connection.driver().query_first(on_tables(TOTALS))?;
    if let Some(mut row) = totals {
        statistics.live = number(&mut row, 0);
        statistics.expired = number(&mut row, 1);
        statistics.bytes = number(&mut row, 2);
    }
    if shared.subjects.is_some() {
        let mut counts = SubjectCounts::new(max_top);
        let groups = connection.driver().query_iter(on_tables(SUBJECTS))?;
        for group in groups {
            let mut group = group?;
            let subject = bytes(&mut group, 0).unwrap_or_default();
            counts.add(&String::from_utf8_lossy(&subject), number(&mut group, 1));
        }
        let (subjects, top) = counts.finish();
        (statistics.subjects, statistics.top_subjects) = (Some(subjects), top);
    }
    Ok(statistics)
}

/// A column of counts, which are never NULL.
fn number(row: &mut Row, index: usize) -> u64 {
    row.take(index).and_then(|value| from_value_opt(value).ok()).unwrap_or_default()
}

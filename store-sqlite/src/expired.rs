//! How a cleanup run finds the sessions that have expired: outside the writers' lock, so that the
//! search delays nobody.

use rusqlite::{Connection, Result as SqliteResult, params};

use crate::statements::Statements;
use crate::walk;

/// A step of a walk ends after this many rows, so that no snapshot stays open for long: the log
/// can't begin again meanwhile.
const MAX_STEP: usize = 10_000;

/// Where a search for expired sessions has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    /// In the index on expiry, at its beginning: what was found is removed, or passed over.
    Index,
    /// In a table without the index, after this rowid.
    Walk { after: i64 },
}

/// What a step of a search has found.
pub(crate) struct Found {
    pub(crate) rows: Vec<i64>,
    /// Where the search goes on.
    pub(crate) next: Search,
    /// Whether nothing comes after them.
    pub(crate) is_last: bool,
}

impl Search {
    pub(crate) fn start(has_expiry_index: bool) -> Self {
        if has_expiry_index { Self::Index } else { Self::Walk { after: walk::START } }
    }

    /// Finds this many sessions at most. In the index the first ones are those that couldn't be
    /// removed, and are passed over.
    pub(crate) fn find(
        self,
        statements: &Statements,
        connection: &Connection,
        now: f64,
        limit: usize,
        stuck: i64,
    ) -> SqliteResult<Found> {
        match self {
            Self::Index => Self::find_by_index(statements, connection, now, limit, stuck),
            Self::Walk { after } => Self::walk(statements, connection, now, limit, after),
        }
    }

    fn find_by_index(
        statements: &Statements,
        connection: &Connection,
        now: f64,
        limit: usize,
        stuck: i64,
    ) -> SqliteResult<Found> {
        let mut statement = connection.prepare_cached(&statements.expired)?;
        let limit_and_offset = params![now, i64::try_from(limit).unwrap_or(i64::MAX), stuck];
        let found = statement.query_map(limit_and_offset, |row| row.get(0))?;
        let rows = found.collect::<SqliteResult<Vec<_>>>()?;
        let is_last = rows.len() < limit;
        Ok(Found { rows, next: Self::Index, is_last })
    }

    fn walk(
        statements: &Statements,
        connection: &Connection,
        now: f64,
        limit: usize,
        mut after: i64,
    ) -> SqliteResult<Found> {
        let mut statement = connection.prepare_cached(&statements.step)?;
        let mut found = statement.query(params![after, now])?;
        let (mut rows, mut seen) = (Vec::new(), 0);
        let is_last = loop {
            if rows.len() >= limit || seen >= MAX_STEP {
                break false;
            }
            let Some(row) = found.next()? else { break true };
            after = row.get(0)?;
            if row.get(1)? {
                rows.push(after);
            }
            seen += 1;
        };
        Ok(Found { rows, next: Self::Walk { after }, is_last })
    }
}

#[cfg(test)]
mod tests {
    use store_core::backend::TableName;

    use super::*;
    use crate::table;

    const NOW: f64 = 2_460_000.5;

    /// More rows than a step of a walk sees, of which every seventh has expired, and the last one
    /// is no day.
    fn filled(ddl: &str) -> SqliteResult<(Connection, Vec<i64>)> {
        const ROWS: i64 = 25_000;
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(ddl)?;
        let mut expired = Vec::new();
        {
            let mut insert = connection.prepare("INSERT INTO sessions VALUES (?1, x'', ?2)")?;
            connection.execute_batch("BEGIN")?;
            for row in 1..=ROWS {
                let expiry = match row {
                    ROWS => f64::INFINITY,
                    row if row % 7 == 0 => NOW,
                    _ => NOW + 1.0,
                };
                insert.execute(params![row.to_string(), expiry])?;
                if expiry != NOW + 1.0 {
                    expired.push(row);
                }
            }
            connection.execute_batch("COMMIT")?;
        }
        Ok((connection, expired))
    }

    #[test]
    fn both_searches_find_every_session_that_has_expired_once() -> SqliteResult<()> {
        let statements = Statements::new(&TableName::new("sessions").expect("it is a name"));
        for (ddl, has_index) in [(table::CREATE_TABLE, true), (table::CREATE_TABLE_ALONE, false)] {
            let (connection, expired) = filled(ddl)?;
            for limit in [1_000, 100_000] {
                let (mut search, mut rows, mut steps) = (Search::start(has_index), Vec::new(), 0);
                loop {
                    // As if none could be removed.
                    let stuck = i64::try_from(rows.len()).expect("few");
                    let found = search.find(&statements, &connection, NOW, limit, stuck)?;
                    assert!(found.rows.len() <= limit);
                    rows.extend(found.rows);
                    steps += 1;
                    if found.is_last {
                        break;
                    }
                    search = found.next;
                }
                rows.sort_unstable();
                assert_eq!(rows, expired, "index: {has_index}, limit: {limit}");
                assert!(steps >= if has_index { 1 } else { 3 }, "a step of a walk is short");
            }
        }
        Ok(())
    }

    #[test]
    fn search_by_index_meets_again_what_was_not_removed() -> SqliteResult<()> {
        let statements = Statements::new(&TableName::new("sessions").expect("it is a name"));
        let (connection, expired) = filled(table::CREATE_TABLE)?;
        let found = Search::start(true).find(&statements, &connection, NOW, 10, 0)?;
        let again = found.next.find(&statements, &connection, NOW, 10, 0)?;
        assert_eq!(found.rows, again.rows);
        let others = found.next.find(&statements, &connection, NOW, 10, 10)?;
        assert_eq!([found.rows, others.rows].concat(), expired[..20]);
        Ok(())
    }
}

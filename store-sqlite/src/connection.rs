//! How the connections of a pool are set up that the store has made.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Result as SqliteResult};

use crate::retry::retry;

/// Room for all statements of the store, of which rusqlite keeps 16 prepared unless told otherwise.
pub(crate) const STATEMENTS: usize = 40;

/// After how many pages of its log, 16 MiB, SQLite writes them to the database, which whoever
/// commits then waits for. SQLite's own default is 1,000. A page is written once then instead of up
/// to four times; and of the commits beside a cleanup run, one in a hundred no longer waits.
const CHECKPOINT_PAGES: i64 = 4_000;

/// How long the file of the log stays, in bytes, once all of it is in the database: 32 MiB, twice
/// what it has without readers that stay, so that it is neither cut nor enlarged all the time.
/// Without a limit it would stay as long as such a reader has made it, until the last connection is
/// closed.
const LOG_LIMIT: i64 = 32 << 20;

/// What a commit survives: see [`with_durability`](crate::SqliteOptions::with_durability).
///
/// # Examples
/// ```
/// use store_sqlite::{Durability, SqliteOptions};
///
/// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
/// # let path = directory.path().join("app.db");
/// let store = SqliteOptions::new().with_durability(Durability::Normal).open(path)?;
/// # drop(store);
/// # Ok::<(), store_sqlite::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "synchronous")]
pub enum Durability {
    /// A commit that has returned survives a crash of the process, of the operating system and a
    /// loss of power (`PRAGMA synchronous = FULL`).
    Full,
    /// A commit that has returned survives a crash of the process. The last ones before a crash of
    /// the operating system or a loss of power may be lost, and nothing is damaged (`PRAGMA
    /// synchronous = NORMAL`). Commits are several times as fast.
    Normal,
}

/// The settings of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) durability: Durability,
    pub(crate) mmap_size: u64,
}

/// Sets up a connection of the store's own pool.
pub(crate) fn configure(
    connection: &mut Connection,
    settings: Settings,
    contention_timeout: Duration,
) -> SqliteResult<()> {
    connection.pragma_update(
        None,
        "synchronous",
        match settings.durability {
            Durability::Full => "FULL",
            Durability::Normal => "NORMAL",
        },
    )?;
    // It returns what it set.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_LIMIT, |_| Ok(()))?;
    if settings.mmap_size > 0 {
        let bytes = i64::try_from(settings.mmap_size).unwrap_or(i64::MAX);
        // It returns the size that it set; builds without memory maps return nothing.
        connection.pragma_update_and_check(None, "mmap_size", bytes, |_| Ok(())).optional()?;
    }
    let mode = |connection: &Connection| {
        connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0))
    };
    // Changing the mode needs the file for itself, and SQLite doesn't always wait for that by
    // itself.
    retry(contention_timeout, || {
        if mode(connection)? != "wal" {
            connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SqliteOptions;

    #[test]
    fn connections_are_durable_unless_told_otherwise() -> SqliteResult<()> {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        assert_eq!(SqliteOptions::new().settings.durability, Durability::Full);
        for (durability, synchronous) in [(Durability::Full, 2), (Durability::Normal, 1)] {
            let mut connection = Connection::open(directory.path().join("app.db"))?;
            let settings = Settings { durability, mmap_size: 0 };
            configure(&mut connection, settings, Duration::from_secs(5))?;
            let pragma = |name| connection.pragma_query_value(None, name, |row| row.get(0));
            assert_eq!(pragma("synchronous"), Ok(synchronous));
            assert_eq!(pragma("wal_autocheckpoint"), Ok(CHECKPOINT_PAGES));
            let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get(0));
            assert_eq!(mode, Ok("wal".to_owned()));
        }
        Ok(())
    }

    #[test]
    fn memory_is_mapped_only_where_asked_for() -> SqliteResult<()> {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        for (mmap_size, expected) in [(0, 0), (1 << 20, 1 << 20), (u64::MAX, 0x7fff_0000)] {
            let mut connection = Connection::open(directory.path().join("app.db"))?;
            let settings = Settings { durability: Durability::Full, mmap_size };
            configure(&mut connection, settings, Duration::from_secs(5))?;
            let size = connection.pragma_query_value(None, "mmap_size", |row| row.get::<_, i64>(0));
            assert_eq!(size, Ok(expected));
        }
        Ok(())
    }
}

//! The options of a store, and the pool of those who have none.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{self, Path};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use store_core::{CleanupOptions, Clock, Error, Limits, SystemClock};

use crate::reader_connections::Readers;
use crate::store::{SqliteStore, check_table, retry_contention};
use crate::{error, table};

/// SQLite holds rows of 1,000,000,000 bytes unless it was built otherwise; this leaves room for the rest
/// of the row.
const MAX_DATA_LEN: usize = 999_000_000;

/// Between these: readers profit from about twice as many connections as there are cores, writers
/// from one. SQLite's connections wait for each other at one lock, so more of them at work than cores
/// make all of them slower.
const MIN_CONNECTIONS: usize = 4;
const MAX_CONNECTIONS: usize = 8;

/// Room for all statements of the store, of which rusqlite keeps 16 prepared unless told otherwise.
pub(crate) const STATEMENTS: usize = 32;

/// Far more than anybody wants to wait, far less than the clocks of the libraries underneath can hold.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a commit survives: see [`SqliteOptions::with_durability`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A commit that has returned survives a crash of the process, of the operating system and a loss
    /// of power (`PRAGMA synchronous = FULL`).
    Full,
    /// A commit that has returned survives a crash of the process; the last ones before a crash of the
    /// operating system or a loss of power may be lost, and nothing is damaged (`synchronous = NORMAL`).
    /// Commits are several times as fast.
    Normal,
}

/// How a [`SqliteStore`] is made.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use store_sqlite::{CleanupOptions, SqliteOptions};
///
/// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
/// # let path = directory.path().join("app.db");
/// let store = SqliteOptions::new()
///     .with_table_name("web_sessions")
///     .with_cleanup(CleanupOptions::new().with_interval(Duration::from_secs(60)))
///     .open(path)?;
/// # drop(store);
/// # Ok::<(), store_sqlite::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteOptions {
    pub(crate) table: String,
    pub(crate) limits: Limits,
    pub(crate) cleanup: CleanupOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) contention_timeout: Duration,
    connection_timeout: Duration,
    max_connections: NonZeroU32,
    settings: Settings,
}

/// How a connection of a pool of ours is set up.
#[derive(Clone, Copy, Debug)]
struct Settings {
    durability: Durability,
    memory_map: u64,
}

impl SqliteOptions {
    /// The defaults, which each method names.
    pub fn new() -> Self {
        Self {
            table: "sessions".to_owned(),
            limits: Limits::DEFAULT,
            cleanup: CleanupOptions::new(),
            clock: Arc::new(SystemClock),
            contention_timeout: Duration::from_secs(5),
            connection_timeout: Duration::from_secs(5),
            max_connections: default_connections(),
            settings: Settings { durability: Durability::Full, memory_map: 0 },
        }
    }

    /// The table's name: at most 64 ASCII letters, digits and underscores. Default: `sessions`.
    ///
    /// A name with anything else is refused with [`Error::InvalidOption`] when the store is made.
    pub fn with_table_name(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// The largest token and data that the store takes. Default: [`Limits::DEFAULT`]; SQLite's own limit
    /// on data is 999,000,000 bytes.
    ///
    /// The limits are for what is written: larger rows that others wrote are found, moved and deleted all the
    /// same.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// When and how expired sessions are removed, and who hears of failures. Default:
    /// [`CleanupOptions::new`], every five minutes.
    pub fn with_cleanup(mut self, cleanup: CleanupOptions) -> Self {
        self.cleanup = cleanup;
        self
    }

    /// The clock that decides whether a session is live. Default: [`SystemClock`].
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long an operation waits for other writers before it gives [`Error::Contended`]. Default: 5
    /// seconds.
    ///
    /// It covers the wait for this process's other writers as well; the wait for a connection comes
    /// on top. The connections of an application's own pool have a busy timeout of their own (5
    /// seconds, if nobody set it), by which the last attempt can outlast this one.
    pub fn with_contention_timeout(mut self, timeout: Duration) -> Self {
        self.contention_timeout = timeout;
        self
    }

    /// How long an operation waits for a connection of the pool that [`open`](Self::open) makes before it
    /// gives [`Error::PoolExhausted`]. Default: 5 seconds.
    pub fn with_connection_timeout(mut self, timeout: Duration) -> Self {
        self.connection_timeout = timeout;
        self
    }

    /// How many connections the pool that [`open`](Self::open) makes has at the most. Default: twice
    /// as many as there are cores, but at least 4 and at most 8.
    ///
    /// With a [memory map](Self::with_memory_map) readers don't wait for each other, and more of them
    /// are faster.
    pub fn with_max_connections(mut self, connections: NonZeroU32) -> Self {
        self.max_connections = connections;
        self
    }

    /// What a commit survives in a database that [`open`](Self::open) opens. Default:
    /// [`Durability::Full`].
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.settings.durability = durability;
        self
    }

    /// How many bytes of a database that [`open`](Self::open) opens are read through a memory map
    /// instead of by copying pages (`PRAGMA mmap_size`). Default: 0, none.
    ///
    /// Set to more than the file is going to have, one gibibyte say, it makes
    /// [`find`](store_core::Store::find) of many threads several times as fast, because SQLite's page
    /// cache and its one lock play no part any more. The price: where the disk fails, or another
    /// program cuts the file short, reading gives no error but the signal SIGBUS, which ends the
    /// process. It is for local disks, where such a thing means a restart anyway. SQLite takes at
    /// most what it was built for, usually 2 GiB; what lies behind is read as without.
    pub fn with_memory_map(mut self, bytes: u64) -> Self {
        self.settings.memory_map = bytes;
        self
    }

    /// Opens a database file, and makes the file and the tables where they are missing.
    ///
    /// The database is put into WAL mode, in which readers and the writer don't wait for each other; it
    /// must be on a local disk.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; [`Error::Unreachable`] where the file can't be opened or made;
    /// [`Error::Corrupt`] where it isn't a database; [`Error::TableMismatch`] where a table of this name
    /// can't keep sessions; and other faults of the system.
    pub fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, Error> {
        self.check()?;
        let path = path.as_ref();
        if path.as_os_str().is_empty() || path == Path::new(":memory:") {
            let problem =
                "it names no file; for a database in memory there is in_memory()".to_owned();
            return Err(Error::InvalidOption { option: "path", problem });
        }
        // The pool opens more connections later, wherever the process may be then. And SQLite would
        // read a path that begins with "file:" as a URI.
        let path =
            path::absolute(path).map_err(|error| Error::Unreachable { source: error.into() })?;

        // A first connection of its own, because the pool would only give the text of its errors, late.
        let mut first = Connection::open(&path).map_err(error::of_sqlite)?;
        // A table of somebody else's is refused before anything is changed.
        match check_table(&first, &self.table, self.contention_timeout) {
            Ok(()) | Err(Error::TableMissing { .. }) => {}
            Err(error) => return Err(error),
        }
        configure(&mut first, self.settings, self.contention_timeout).map_err(error::of_sqlite)?;
        // Those beside it are made, where that can be done, with the store.
        self.make(&first, table::CREATE_TABLE)?;

        let (settings, contention_timeout) = (self.settings, self.contention_timeout);
        let manager = SqliteConnectionManager::file(&path)
            // A file that was taken away is an error, not a reason to begin an empty one.
            .with_flags(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_init(move |connection| configure(connection, settings, contention_timeout));
        let pool = self.pool(self.max_connections, manager);
        // The pool is the store's alone.
        let readers = Readers::of_pool(self.max_connections.get());
        SqliteStore::with_options(pool, readers, self)
    }

    /// A database in memory, gone with the store: for tests.
    ///
    /// It has one connection, so operations run one after the other.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], and faults of the system.
    pub fn in_memory(self) -> Result<SqliteStore, Error> {
        self.check()?;
        let pool = self.pool(NonZeroU32::MIN, SqliteConnectionManager::memory());
        self.create_table(&pool)?;
        self.build(pool)
    }

    /// A store on a pool that the application already has, and on a table that is already there.
    ///
    /// The tables of [subjects](SqliteStore::CREATE_SUBJECTS_TABLE) and
    /// [rotations](SqliteStore::CREATE_ROTATIONS_TABLE) are made where they are missing. Where that
    /// can't be done, as in a read-only database, the store logs a warning and works without.
    ///
    /// Journal mode, durability and timeouts are those of the pool's connections.
    ///
    /// # Errors
    /// [`Error::TableMissing`] and [`Error::TableMismatch`], which say what to do;
    /// [`Error::InvalidOption`]; and faults of the system, such as [`Error::Contended`] where
    /// tables are to be made.
    pub fn build(self, pool: Pool<SqliteConnectionManager>) -> Result<SqliteStore, Error> {
        self.check()?;
        SqliteStore::with_options(pool, Readers::none(), self)
    }

    /// Makes the table, those of subjects and rotations beside it, and their indexes where they are
    /// missing; where they are there it does nothing.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], and faults of the system.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::r2d2::Pool;
    /// use store_sqlite::r2d2_sqlite::SqliteConnectionManager;
    /// use store_sqlite::{Error, SqliteOptions};
    ///
    /// let pool = Pool::new(SqliteConnectionManager::memory()).map_err(Error::backend)?;
    /// let options = SqliteOptions::new().with_table_name("web_sessions");
    /// options.create_table(&pool)?;
    /// let store = options.build(pool)?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn create_table(&self, pool: &Pool<SqliteConnectionManager>) -> Result<(), Error> {
        self.check()?;
        let connection = pool
            .get()
            .map_err(|error| error::of_checkout(error, pool, pool.connection_timeout()))?;
        let ddl =
            [table::CREATE_TABLE, table::CREATE_SUBJECTS_TABLE, table::CREATE_ROTATIONS_TABLE];
        self.make(&connection, &ddl.concat())
    }

    fn make(&self, connection: &Connection, ddl: &str) -> Result<(), Error> {
        let ddl = table::ddl_for(&self.table, ddl);
        retry_contention(self.contention_timeout, || connection.execute_batch(&ddl))
            .map_err(|error| error::of_statement(error, connection, &self.table, &[]))
    }

    fn pool(
        &self,
        max_connections: NonZeroU32,
        manager: SqliteConnectionManager,
    ) -> Pool<SqliteConnectionManager> {
        Pool::builder()
            .max_size(max_connections.get())
            .min_idle(Some(0))
            .connection_timeout(self.connection_timeout)
            // A file doesn't hang up: there is nothing to test, and no reason to open it again.
            .test_on_check_out(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .build_unchecked(manager)
    }

    fn check(&self) -> Result<(), Error> {
        table::check_name(&self.table)?;
        let invalid = |option, problem: &str| {
            Err(Error::InvalidOption { option, problem: problem.to_owned() })
        };
        if self.limits.max_data_len > MAX_DATA_LEN {
            return invalid("limits", "SQLite holds at most 999,000,000 bytes of data");
        }
        if self.limits.max_token_len == 0 {
            return invalid("limits", "no token has at most 0 bytes");
        }
        if self.connection_timeout.is_zero() || self.connection_timeout > MAX_TIMEOUT {
            return invalid("connection timeout", "it must be longer than zero and at most a day");
        }
        if self.contention_timeout > MAX_TIMEOUT {
            return invalid("contention timeout", "it must be at most a day");
        }
        Ok(())
    }
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self::new()
    }
}

fn default_connections() -> NonZeroU32 {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let connections = cores.saturating_mul(2).clamp(MIN_CONNECTIONS, MAX_CONNECTIONS);
    u32::try_from(connections).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

/// Sets up a connection of a pool of ours.
fn configure(
    connection: &mut Connection,
    settings: Settings,
    contention_timeout: Duration,
) -> rusqlite::Result<()> {
    // Contention is waited out by `retry_contention`, which knows how long has been waited before.
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(
        None,
        "synchronous",
        match settings.durability {
            Durability::Full => "FULL",
            Durability::Normal => "NORMAL",
        },
    )?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    if settings.memory_map > 0 {
        let bytes = i64::try_from(settings.memory_map).unwrap_or(i64::MAX);
        // It answers with what it took; builds without memory maps answer nothing.
        connection.pragma_update_and_check(None, "mmap_size", bytes, |_| Ok(())).optional()?;
    }
    let mode = |connection: &Connection| {
        connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0))
    };
    // Changing the mode needs the file for itself, and SQLite doesn't always wait for that by itself.
    retry_contention(contention_timeout, || {
        if mode(connection)? != "wal" {
            connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_durable_unless_told_otherwise() -> rusqlite::Result<()> {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        assert_eq!(SqliteOptions::new().settings.durability, Durability::Full);
        for (durability, synchronous) in [(Durability::Full, 2), (Durability::Normal, 1)] {
            let mut connection = Connection::open(directory.path().join("app.db"))?;
            let settings = Settings { durability, memory_map: 0 };
            configure(&mut connection, settings, Duration::from_secs(5))?;
            let pragma = |name| connection.pragma_query_value(None, name, |row| row.get(0));
            assert_eq!(pragma("synchronous"), Ok(synchronous));
            let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get(0));
            assert_eq!(mode, Ok("wal".to_owned()));
        }
        Ok(())
    }

    #[test]
    fn memory_is_mapped_only_where_asked_for() -> rusqlite::Result<()> {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        for (memory_map, expected) in [(0, 0), (1 << 20, 1 << 20), (u64::MAX, 0x7fff_0000)] {
            let mut connection = Connection::open(directory.path().join("app.db"))?;
            let settings = Settings { durability: Durability::Full, memory_map };
            configure(&mut connection, settings, Duration::from_secs(5))?;
            let size = connection.pragma_query_value(None, "mmap_size", |row| row.get::<_, i64>(0));
            assert_eq!(size, Ok(expected));
        }
        Ok(())
    }
}

//! The options of a store, and how it is made.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redb::backends::InMemoryBackend;
use redb::{Builder, Database};
use store_core::{CleanupOptions, Clock, Error, Limits, SystemClock};

use super::QlStore;
use super::engine::{Engine, contain_opening};
use super::flusher::FailureHook;
use super::format::Tables;
use super::{error, file};

/// Far less than the 3 GiB at which redb ends.
const MAX_DATA_LEN: usize = 1 << 30;

/// A token is a key of two tables; beyond this, pages would hold hardly anything else.
const MAX_TOKEN_LEN: usize = 4_096;

const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a commit survives: see [`QlOptions::with_durability`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A commit that has returned survives a crash of the process, of the operating system and a loss
    /// of power.
    Full,
    /// A crash, also one of the process alone, loses what was committed since the last flush, of
    /// which there is one after each interval: at the most what was committed in one interval and the
    /// duration of a flush. Nothing is damaged. Commits are several times as fast.
    ///
    /// What ends a session, a token or a login, or lets a session end sooner, is durable anyway:
    /// `delete`, `delete_by_subject`, an `update` with a new token, a subject or absorbed sessions,
    /// and writes with an earlier expiry than the session had. So no crash brings back a session that
    /// was logged out, or the token from before a login. `stop_cleanup` and dropping the store flush.
    Relaxed(Duration),
}

/// How a [`QlStore`] is made.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use store_ql_compat::{CleanupOptions, Durability, QlOptions};
///
/// # let directory = tempfile::tempdir().map_err(store_ql_compat::Error::backend)?;
/// # let path = directory.path().join("sessions.redb");
/// let store = QlOptions::new()
///     .with_durability(Durability::Relaxed(Duration::from_secs(1)))
///     .with_cleanup(CleanupOptions::new().with_interval(Duration::from_secs(60)))
///     .open(path)?;
/// # drop(store);
/// # Ok::<(), store_ql_compat::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct QlOptions {
    table: String,
    pub(crate) limits: Limits,
    pub(crate) cleanup: CleanupOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) contention_timeout: Duration,
    pub(crate) durability: Durability,
    pub(crate) on_flush_failure: Option<FailureHook>,
    cache_size: usize,
}

impl QlOptions {
    /// How much of the file a store keeps in memory unless it is told otherwise: 32 MiB.
    pub const DEFAULT_CACHE_SIZE: usize = 32 * 1024 * 1024;

    /// The defaults, which each method names.
    pub fn new() -> Self {
        Self {
            table: "sessions".to_owned(),
            limits: Limits::DEFAULT,
            cleanup: CleanupOptions::new(),
            clock: Arc::new(SystemClock),
            contention_timeout: Duration::from_secs(5),
            durability: Durability::Full,
            on_flush_failure: None,
            cache_size: Self::DEFAULT_CACHE_SIZE,
        }
    }

    /// The name of the table of sessions, and what the names of the seven others begin with: at most
    /// 64 ASCII letters, digits and underscores. Default: `sessions`.
    ///
    /// A name with anything else is refused with [`Error::InvalidOption`] when the store is made.
    pub fn with_table_name(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// The largest token and data that the store takes. Default: [`Limits::DEFAULT`]; this store's
    /// own limits are 4,096 bytes of token and 1 GiB of data.
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

    /// How long an operation waits for the store's other writers, or while the database is closed for
    /// a compaction, before it gives [`Error::Contended`]. Default: 5 seconds.
    ///
    /// The wait for write transactions of the application on a database that it shares has no limit,
    /// because redb has none.
    pub fn with_contention_timeout(mut self, timeout: Duration) -> Self {
        self.contention_timeout = timeout;
        self
    }

    /// What a commit survives. Default: [`Durability::Full`].
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Calls `hook` for each flush of [`Durability::Relaxed`] that fails, after it was logged. A hook
    /// that panics harms nothing.
    pub fn with_flush_failure_hook(
        mut self,
        hook: impl Fn(&Error) + Send + Sync + 'static,
    ) -> Self {
        self.on_flush_failure = Some(Arc::new(hook));
        self
    }

    /// How much of the file [`open`](Self::open) keeps in memory, in bytes. Default:
    /// [`DEFAULT_CACHE_SIZE`](Self::DEFAULT_CACHE_SIZE).
    ///
    /// What isn't there comes from the operating system's own cache, which is a little slower.
    pub fn with_cache_size(mut self, bytes: usize) -> Self {
        self.cache_size = bytes;
        self
    }

    /// Opens a database file, and makes the file and the tables where they are missing. A database of
    /// redb that has other tables only gets the store's beside them.
    ///
    /// The file is locked: one process at a time can have it open, and one store in it. It must be on
    /// a local disk.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; [`Error::InUse`] where the file is open already; [`Error::Unreachable`] where it can't be
    /// opened or made; [`Error::Corrupt`] where it isn't a database of redb, or is damaged: a
    /// database of ql is told to be imported; [`Error::ReadOnly`]; [`Error::TableMismatch`] where a
    /// table of such a name isn't the store's, or where the format is newer than this crate; and
    /// other faults of the system.
    pub fn open(self, path: impl AsRef<Path>) -> Result<QlStore, Error> {
        let path = path.as_ref();
        if path.as_os_str().is_empty() || path == Path::new(":memory:") {
            let problem =
                "it names no file; for a database in memory there is in_memory()".to_owned();
            return Err(Error::InvalidOption { option: "path", problem });
        }
        let tables = self.check()?;
        let database = contain_opening(|| file::open_or_create(path, &builder(self.cache_size)))?;
        // The file is opened again after faults, which must not depend on the working directory of
        // that moment.
        let path = path.canonicalize().map_err(error::of_io)?;
        let reopen = move |builder: &Builder| file::reopen(&path, builder);
        self.own(tables, database, reopen)
    }

    /// A store on a database of its own, and the way to open that again.
    pub(crate) fn own(
        self,
        tables: Tables,
        database: Database,
        reopen: impl Fn(&Builder) -> Result<Database, Error> + Send + Sync + 'static,
    ) -> Result<QlStore, Error> {
        let database = prepare(&tables, database)?;
        let again = {
            // No more than these: the cleanup's hook, for one, may hold the store.
            let (tables, cache_size) = (tables.clone(), self.cache_size);
            move || prepare(&tables, reopen(&builder(cache_size))?)
        };
        let engine = Engine::owned(database, Some(Box::new(again)), self.contention_timeout);
        QlStore::with_options(engine, tables, self)
    }

    /// A database in memory, gone with the store: for tests.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], and faults of the system.
    pub fn in_memory(self) -> Result<QlStore, Error> {
        let tables = self.check()?;
        let database = builder(self.cache_size).create_with_backend(InMemoryBackend::new());
        let database = database.map_err(|error| error::of_redb(error.into()))?;
        tables.prepare(&database)?;
        let engine = Engine::owned(database, None, self.contention_timeout);
        QlStore::with_options(engine, tables, self)
    }

    /// A store in a database that the application has opened and keeps other tables in. The store's
    /// own are made where they are missing.
    ///
    /// The cache is the database's. After a fault of the disk the application has to open the
    /// database again and to make a new store, and it alone can compact the file.
    ///
    /// # Errors
    /// [`Error::TableMismatch`] where a table of such a name isn't the store's, or where the format
    /// is newer than this crate; [`Error::InvalidOption`]; and faults of the system.
    pub fn build(self, database: Arc<Database>) -> Result<QlStore, Error> {
        let tables = self.check()?;
        contain_opening(|| tables.prepare(&database))?;
        let engine = Engine::shared(database, self.contention_timeout);
        QlStore::with_options(engine, tables, self)
    }

    fn check(&self) -> Result<Tables, Error> {
        let invalid = |option, problem: &str| {
            Err(Error::InvalidOption { option, problem: problem.to_owned() })
        };
        if self.limits.max_data_len > MAX_DATA_LEN {
            return invalid("limits", "this store holds at most 1 GiB of data");
        }
        if self.limits.max_token_len == 0 || self.limits.max_token_len > MAX_TOKEN_LEN {
            return invalid("limits", "tokens have 1 to 4,096 bytes");
        }
        if self.contention_timeout > MAX_TIMEOUT {
            return invalid("contention timeout", "it must be at most a day");
        }
        if let Durability::Relaxed(interval) = self.durability
            && (interval.is_zero() || interval > MAX_TIMEOUT)
        {
            return invalid(
                "durability",
                "the interval must be longer than zero and at most a day",
            );
        }
        Tables::new(&self.table)
    }
}

/// Checks a database of the store's own.
fn prepare(tables: &Tables, database: Database) -> Result<Database, Error> {
    // Closing it may panic as well.
    contain_opening(move || {
        tables.prepare(&database)?;
        Ok(database)
    })
}

fn builder(cache_size: usize) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_size);
    builder
}

impl Default for QlOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for QlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QlOptions")
            .field("table", &self.table)
            .field("limits", &self.limits)
            .field("cleanup", &self.cleanup)
            .field("clock", &self.clock)
            .field("contention_timeout", &self.contention_timeout)
            .field("durability", &self.durability)
            .field("cache_size", &self.cache_size)
            .finish_non_exhaustive()
    }
}

//! The options of a store.

use std::fs::Permissions;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use store_core::backend::TableName;
use store_core::{CleanupOptions, Clock, Error, Limits, SystemClock};

use crate::connection::{Durability, Settings};

/// SQLite holds rows of 1,000,000,000 bytes unless it was built otherwise; this leaves room for the
/// rest of the row.
const MAX_DATA_LEN: usize = 999_000_000;

/// The bounds of the default: readers profit from about twice as many connections as there are
/// cores, writers from one. SQLite's connections wait for each other at one lock, so more busy
/// connections than cores make all of them slower.
const MIN_CONNECTIONS: usize = 4;
const MAX_CONNECTIONS: usize = 8;

/// Far more than anybody wants to wait, far less than the clocks of the libraries underneath can
/// hold.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// The options of a [`SqliteStore`](crate::SqliteStore).
///
/// [`open`](Self::open), [`build`](Self::build) and [`in_memory`](Self::in_memory) make the store.
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
    pub(crate) checkout_timeout: Duration,
    pub(crate) max_connections: NonZeroU32,
    pub(crate) settings: Settings,
    pub(crate) has_expiry_index: bool,
    pub(crate) is_exclusive: bool,
    pub(crate) file_permissions: Option<Permissions>,
}

impl SqliteOptions {
    /// Returns the defaults, which each method states.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::SqliteOptions;
    ///
    /// let store = SqliteOptions::new().in_memory()?;
    /// assert!(format!("{store:?}").contains("sessions"));
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    pub fn new() -> Self {
        Self {
            table: "sessions".to_owned(),
            limits: Limits::DEFAULT,
            cleanup: CleanupOptions::new(),
            clock: Arc::new(SystemClock),
            contention_timeout: Duration::from_secs(5),
            checkout_timeout: Duration::from_secs(5),
            max_connections: default_connections(),
            settings: Settings { durability: Durability::Full, mmap_size: 0 },
            has_expiry_index: false,
            is_exclusive: false,
            file_permissions: None,
        }
    }

    /// Sets the table's name: 1 to 40 ASCII letters, digits and underscores, of which the first is
    /// no digit. Default: `sessions`.
    ///
    /// Any other name is refused with [`Error::InvalidOption`] when the store is made.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::{Error, SqliteOptions};
    ///
    /// let store = SqliteOptions::new().with_table_name("web_sessions").in_memory()?;
    /// let refused = SqliteOptions::new().with_table_name("web sessions").in_memory();
    /// assert!(matches!(refused, Err(Error::InvalidOption { option: "table name", .. })));
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with_table_name(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// Sets the largest token and data that the store takes, in bytes. Default:
    /// [`Limits::DEFAULT`]. SQLite's own limit on data is 999,000,000 bytes.
    ///
    /// The limits are for what is written: larger rows that others wrote are still found, moved and
    /// deleted.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_sqlite::{Error, Limits, SqliteOptions, Store};
    ///
    /// let limits = Limits { max_token_len: 43, max_data_len: 4 };
    /// let store = SqliteOptions::new().with_limits(limits).in_memory()?;
    /// let refused = store.commit("token", b"12345", Utc::now() + TimeDelta::hours(1));
    /// assert!(matches!(refused, Err(Error::DataTooLarge { len: 5, max: 4 })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets when and how expired sessions are removed, and who hears of failures. Default:
    /// [`CleanupOptions::new`], every five minutes.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_sqlite::{CleanupOptions, SqliteOptions};
    ///
    /// let cleanup = CleanupOptions::new().with_interval(Duration::from_secs(3600));
    /// let store = SqliteOptions::new().with_cleanup(cleanup).in_memory()?;
    /// # drop(store);
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    pub fn with_cleanup(mut self, cleanup: CleanupOptions) -> Self {
        self.cleanup = cleanup;
        self
    }

    /// Sets the clock that decides whether a session is live. Default: [`SystemClock`].
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use chrono::{TimeDelta, Utc};
    /// use store_sqlite::{Clock, ManualClock, SqliteOptions, Store};
    ///
    /// let clock = Arc::new(ManualClock::new(Utc::now()));
    /// let store = SqliteOptions::new().with_clock(clock.clone()).in_memory()?;
    /// store.commit("token", b"data", clock.now() + TimeDelta::hours(1))?;
    /// clock.advance(TimeDelta::hours(2));
    /// assert_eq!(store.find("token")?, None);
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets how long an operation waits for other writers before it returns [`Error::Contended`].
    /// Default: 5 seconds; at most a day.
    ///
    /// It covers the wait for this process's other writers as well; the wait for a connection comes
    /// on top. A writer that has shared a transaction with others may give up together with one of
    /// them, up to a tenth of the timeout early. The connections of an application's own pool have
    /// a busy timeout of their own (5 seconds, unless set), by which the last attempt can outlast
    /// this one.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_sqlite::SqliteOptions;
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// let options = SqliteOptions::new().with_contention_timeout(Duration::from_secs(1));
    /// let store = options.open(path)?;
    /// # drop(store);
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    #[doc(alias = "busy_timeout")]
    #[doc(alias = "lock_timeout")]
    pub fn with_contention_timeout(mut self, timeout: Duration) -> Self {
        self.contention_timeout = timeout;
        self
    }

    /// Sets how long an operation waits for a connection of the pool that [`open`](Self::open)
    /// makes before it returns [`Error::PoolExhausted`]. Default: 5 seconds; more than zero and at
    /// most a day.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_sqlite::SqliteOptions;
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// let store = SqliteOptions::new().with_checkout_timeout(Duration::from_secs(1)).open(path)?;
    /// # drop(store);
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    #[doc(alias = "connection_timeout")]
    pub fn with_checkout_timeout(mut self, timeout: Duration) -> Self {
        self.checkout_timeout = timeout;
        self
    }

    /// Sets the largest number of connections of the pool that [`open`](Self::open) makes. Default:
    /// twice the number of cores, but at least 4 and at most 8.
    ///
    /// With [memory-mapped reads](Self::with_mmap_size) readers don't wait for each other, and more
    /// of them are faster.
    ///
    /// # Examples
    /// ```
    /// use std::num::NonZeroU32;
    /// use store_sqlite::SqliteOptions;
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// const EIGHT: NonZeroU32 = NonZeroU32::new(8).expect("not zero");
    /// let store = SqliteOptions::new().with_max_connections(EIGHT).open(path)?;
    /// # drop(store);
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    pub fn with_max_connections(mut self, connections: NonZeroU32) -> Self {
        self.max_connections = connections;
        self
    }

    /// Sets what a commit survives in a database that [`open`](Self::open) opens. Default:
    /// [`Durability::Full`].
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::{Durability, SqliteOptions};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// // Several times as many commits per second; a loss of power may cost the last ones.
    /// let store = SqliteOptions::new().with_durability(Durability::Normal).open(path)?;
    /// # drop(store);
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    #[doc(alias = "synchronous")]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.settings.durability = durability;
        self
    }

    /// Sets how many bytes of a database that [`open`](Self::open) opens are read through a memory
    /// map instead of by copying pages (`PRAGMA mmap_size`). Default: 0, none.
    ///
    /// A map of more than the file is going to have, for example one gibibyte, makes
    /// [`find`](store_core::Store::find) of many threads several times as fast, because SQLite's
    /// page cache and its one lock are no longer involved. The price: if the disk fails, or another
    /// program cuts the file short, reading returns no error but raises the signal SIGBUS, which
    /// ends the process. It is for local disks, on which such a failure means a restart anyway.
    /// SQLite maps at most what it was built for, usually 2 GiB; the rest of the file is read as
    /// without. [The guide](crate::guide#reading-through-a-memory-map) has more.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::SqliteOptions;
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// let store = SqliteOptions::new().with_mmap_size(1 << 30).open(path)?;
    /// # drop(store);
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    #[doc(alias = "memory_map")]
    pub fn with_mmap_size(mut self, bytes: u64) -> Self {
        self.settings.mmap_size = bytes;
        self
    }

    /// Makes [`open`](Self::open) create the index on expiry that the Go store's table has, also on
    /// a table that is there. Default: a table that `open` creates has none, and one that is there
    /// is left as it is.
    ///
    /// The index costs each write about as much as the table itself, and is only used to find what
    /// has expired. Without it a cleanup run reads the table instead, outside the writers' lock:
    /// some four million rows a second. Create it if the table is so large that this takes too
    /// long, or has sessions of many kilobytes, or if a Go program removes what has expired: it
    /// reads the whole table in a transaction then, for which writers wait.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::SqliteOptions;
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// let store = SqliteOptions::new().with_expiry_index().open(path)?;
    /// # drop(store);
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    pub fn with_expiry_index(mut self) -> Self {
        self.has_expiry_index = true;
        self
    }

    /// Keeps the file that [`open`](Self::open) opens for this process: any number of stores and
    /// connections of it, and no other process, not even to read. Default: any number of processes.
    ///
    /// Half of the time of a [`find`](store_core::Store::find) goes into locks on the file, and
    /// into looking for the commits of other processes. For one process these stay in its memory
    /// (SQLite's VFS `unix-excl`). Many threads that find at the same time wait for each other
    /// there, though: it is for few busy threads, above all with a
    /// [memory map](Self::with_mmap_size).
    ///
    /// As long as another process has the file open, `open` waits, and then returns
    /// [`Error::Contended`]. In a process that has it open others get SQLite's `database is
    /// locked`, the `sqlite3` shell and a new version of the application among them.
    /// [The guide](crate::guide#a-file-for-one-process) says how to make a backup then.
    ///
    /// It is for Unix; elsewhere `open` returns [`Error::InvalidOption`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(unix)] {
    /// use store_sqlite::SqliteOptions;
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// let store = SqliteOptions::new().with_exclusive_process().open(path)?;
    /// # drop(store);
    /// # }
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    #[doc(alias = "locking_mode")]
    #[doc(alias = "unix-excl")]
    pub fn with_exclusive_process(mut self) -> Self {
        self.is_exclusive = true;
        self
    }

    /// The permissions of a file that [`open`](Self::open) creates; its log and the like get the
    /// same from SQLite. Those of a file that is there already are left alone. Default: on Unix its
    /// owner alone can read and write it (0600), whatever the umask; on other systems those of
    /// every new file.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(unix)] {
    /// use std::fs::Permissions;
    /// use std::os::unix::fs::PermissionsExt;
    /// use store_sqlite::SqliteOptions;
    ///
    /// // A group that makes backups can read it.
    /// let options = SqliteOptions::new().with_file_permissions(Permissions::from_mode(0o640));
    /// # drop(options);
    /// # }
    /// ```
    #[doc(alias = "mode")]
    #[doc(alias = "chmod")]
    pub fn with_file_permissions(mut self, permissions: Permissions) -> Self {
        self.file_permissions = Some(permissions);
        self
    }

    /// Checks the options, and returns the table's name.
    pub(crate) fn check(&self) -> Result<TableName, Error> {
        let table = TableName::new(&self.table)?;
        let invalid = |option, problem: &str| {
            Err(Error::InvalidOption { option, problem: problem.to_owned() })
        };
        if self.limits.max_data_len > MAX_DATA_LEN {
            return invalid("limits", "SQLite holds at most 999,000,000 bytes of data");
        }
        if self.limits.max_token_len == 0 {
            return invalid("limits", "no token has at most 0 bytes");
        }
        if self.checkout_timeout.is_zero() || self.checkout_timeout > MAX_TIMEOUT {
            return invalid("checkout timeout", "it must be longer than zero and at most a day");
        }
        if self.contention_timeout > MAX_TIMEOUT {
            return invalid("contention timeout", "it must be at most a day");
        }
        if self.is_exclusive && cfg!(not(unix)) {
            return invalid("exclusive process", "SQLite has it on Unix alone");
        }
        Ok(table)
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

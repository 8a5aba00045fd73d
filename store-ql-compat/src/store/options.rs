//! The options of a store.

use std::fmt;
use std::fs::Permissions;
use std::sync::Arc;
use std::time::Duration;

use store_core::backend::TableName;
use store_core::{CleanupOptions, Clock, Error, Limits, SystemClock};

use super::flusher::FailureHook;

/// Far less than the 3 GiB that redb can store as one value.
const MAX_DATA_LEN: usize = 1 << 30;

/// A token is a key of two tables. With longer ones, pages would hold hardly anything else.
const MAX_TOKEN_LEN: usize = 4_096;

const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a commit survives: see [`QlOptions::with_durability`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use store_ql_compat::{Durability, QlOptions};
///
/// # let directory = tempfile::tempdir().map_err(store_ql_compat::Error::backend)?;
/// # let path = directory.path().join("sessions.redb");
/// // A crash may lose the writes of the last second, but brings back nobody who has logged out.
/// let relaxed = Durability::Relaxed(Duration::from_secs(1));
/// let store = QlOptions::new().with_durability(relaxed).open(path)?;
/// # drop(store);
/// # Ok::<(), store_ql_compat::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A commit that has returned survives a crash of the process, of the operating system and a
    /// loss of power.
    Full,
    /// The store commits without waiting for the disk, and flushes after each interval. A crash,
    /// also one of the process alone, loses what was committed since the last flush: at most what
    /// was committed in one interval and the duration of a flush. Nothing is damaged. Commits are
    /// several times as fast.
    ///
    /// What ends a session, a token or a login, or lets a session end sooner, is durable anyway:
    /// `delete`, `delete_by_subject`, an `update` with a new token, a subject or absorbed sessions,
    /// and writes with an earlier expiry than the session had. So no crash brings back a session
    /// that was logged out, or the token from before a login. `stop_cleanup` and dropping the store
    /// flush.
    Relaxed(Duration),
}

/// The options of a [`QlStore`](crate::QlStore), and how it is made.
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
    table_name: String,
    pub(super) limits: Limits,
    pub(super) cleanup: CleanupOptions,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) contention_timeout: Duration,
    pub(super) durability: Durability,
    pub(super) on_flush_failure: Option<FailureHook>,
    pub(super) cache_size: usize,
    pub(super) file_permissions: Option<Permissions>,
}

impl QlOptions {
    /// The default of [`with_cache_size`](Self::with_cache_size), in bytes: 32 MiB.
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::QlOptions;
    ///
    /// let options = QlOptions::new().with_cache_size(2 * QlOptions::DEFAULT_CACHE_SIZE);
    /// # drop(options);
    /// ```
    pub const DEFAULT_CACHE_SIZE: usize = 32 * 1024 * 1024;

    /// Returns the defaults, which each method names.
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::QlOptions;
    ///
    /// let store = QlOptions::new().in_memory()?;
    /// # drop(store);
    /// # Ok::<(), store_ql_compat::Error>(())
    /// ```
    pub fn new() -> Self {
        Self {
            table_name: "sessions".to_owned(),
            limits: Limits::DEFAULT,
            cleanup: CleanupOptions::new(),
            clock: Arc::new(SystemClock),
            contention_timeout: Duration::from_secs(5),
            durability: Durability::Full,
            on_flush_failure: None,
            cache_size: Self::DEFAULT_CACHE_SIZE,
            file_permissions: None,
        }
    }

    /// The name of the table of sessions, with which the names of the seven others begin: see
    /// [`TableName`]. Default: `sessions`.
    ///
    /// A name that isn't one is refused with [`Error::InvalidOption`] when the store is made.
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::{Error, QlOptions};
    ///
    /// let store = QlOptions::new().with_table_name("web_sessions").in_memory()?;
    /// # drop(store);
    /// let refused = QlOptions::new().with_table_name("web sessions").in_memory();
    /// assert!(matches!(refused, Err(Error::InvalidOption { option: "table name", .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with_table_name(mut self, name: impl Into<String>) -> Self {
        self.table_name = name.into();
        self
    }

    /// The longest token and data that the store takes, in bytes. Default: [`Limits::DEFAULT`];
    /// this store's own limits are 4,096 bytes of token and 1 GiB of data.
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::{Error, Limits, QlOptions, Store};
    ///
    /// let limits = Limits { max_data_len: 4_096, ..Limits::DEFAULT };
    /// let store = QlOptions::new().with_limits(limits).in_memory()?;
    /// let refused = store.commit("token", &[0; 5_000], chrono::DateTime::<chrono::Utc>::MAX_UTC);
    /// assert!(matches!(refused, Err(Error::DataTooLarge { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// When and how expired sessions are removed, and what is called when that fails. Default:
    /// [`CleanupOptions::new`], every five minutes.
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::{CleanupOptions, QlOptions, Store};
    ///
    /// // Another job removes them.
    /// let store = QlOptions::new().with_cleanup(CleanupOptions::disabled()).in_memory()?;
    /// assert_eq!(store.delete_expired()?, 0);
    /// # Ok::<(), store_ql_compat::Error>(())
    /// ```
    pub fn with_cleanup(mut self, cleanup: CleanupOptions) -> Self {
        self.cleanup = cleanup;
        self
    }

    /// The clock that decides whether a session is live. Default: [`SystemClock`].
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use store_ql_compat::{ManualClock, QlOptions};
    ///
    /// let clock = Arc::new(ManualClock::new(chrono::DateTime::UNIX_EPOCH));
    /// let store = QlOptions::new().with_clock(clock).in_memory()?;
    /// # drop(store);
    /// # Ok::<(), store_ql_compat::Error>(())
    /// ```
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long an operation waits for the store's other writers, or while the database is
    /// compacted or opened again, before it returns [`Error::Contended`]. At most a day. Default: 5
    /// seconds.
    ///
    /// The wait for write transactions of the application on a database that it shares has no
    /// limit, because redb has none.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_ql_compat::QlOptions;
    ///
    /// let store = QlOptions::new().with_contention_timeout(Duration::from_secs(1)).in_memory()?;
    /// # drop(store);
    /// # Ok::<(), store_ql_compat::Error>(())
    /// ```
    #[doc(alias = "busy_timeout")]
    #[doc(alias = "lock_timeout")]
    pub fn with_contention_timeout(mut self, timeout: Duration) -> Self {
        self.contention_timeout = timeout;
        self
    }

    /// What a commit survives. Default: [`Durability::Full`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_ql_compat::{Durability, QlOptions};
    ///
    /// let relaxed = Durability::Relaxed(Duration::from_millis(500));
    /// let options = QlOptions::new().with_durability(relaxed);
    /// # drop(options);
    /// ```
    #[doc(alias = "fsync")]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Calls `hook` for each flush of [`Durability::Relaxed`] that fails, after it was logged. A
    /// hook that panics harms nothing.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use store_ql_compat::QlOptions;
    ///
    /// let failures = Arc::new(AtomicU64::new(0));
    /// let counted = Arc::clone(&failures);
    /// let options = QlOptions::new().with_flush_failure_hook(move |_error| {
    ///     counted.fetch_add(1, Ordering::Relaxed);
    /// });
    /// # drop(options);
    /// ```
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
    /// The rest is read through the operating system's own cache, which is a little slower.
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::QlOptions;
    ///
    /// let options = QlOptions::new().with_cache_size(256 * 1024 * 1024);
    /// # drop(options);
    /// ```
    pub fn with_cache_size(mut self, bytes: usize) -> Self {
        self.cache_size = bytes;
        self
    }

    /// The permissions of a file that [`open`](Self::open) creates. Those of a file that is there
    /// already are left alone. Default: on Unix its owner alone can read and write it (0600),
    /// whatever the umask; on other systems those of every new file.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(unix)] {
    /// use std::fs::Permissions;
    /// use std::os::unix::fs::PermissionsExt;
    /// use store_ql_compat::QlOptions;
    ///
    /// // A group that makes backups can read it.
    /// let options = QlOptions::new().with_file_permissions(Permissions::from_mode(0o640));
    /// # drop(options);
    /// # }
    /// ```
    #[doc(alias = "mode")]
    #[doc(alias = "chmod")]
    pub fn with_file_permissions(mut self, permissions: Permissions) -> Self {
        self.file_permissions = Some(permissions);
        self
    }

    /// Checks the options, and returns the name of the table.
    pub(super) fn validate(&self) -> Result<TableName, Error> {
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
        TableName::new(&*self.table_name)
    }
}

impl Default for QlOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for QlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QlOptions")
            .field("table", &self.table_name)
            .field("limits", &self.limits)
            .field("cleanup", &self.cleanup)
            .field("clock", &self.clock)
            .field("contention_timeout", &self.contention_timeout)
            .field("durability", &self.durability)
            .field("cache_size", &self.cache_size)
            .field("file_permissions", &self.file_permissions)
            .finish_non_exhaustive()
    }
}

//! The options of an import.

use std::fmt;
use std::sync::Arc;

use store_core::{Clock, SystemClock};

use super::report::{ImportReport, Rejection};

type OnProgress = Arc<dyn Fn(&ImportReport) + Send + Sync>;
type OnRejection = Arc<dyn Fn(&Rejection) + Send + Sync>;

/// What happens to a live session that the store already has, under a token that is imported.
///
/// Whether it is live is decided by the store's clock. Lookup and write are two steps, so run an
/// import before the application starts: if the application writes a session in between, the import
/// can overwrite the new state.
///
/// # Examples
/// ```
/// use chrono::{DateTime, Utc};
/// use store_core::{MemoryStore, Store};
/// use store_ql_compat::{ExistingSessions, ImportOptions, import_ql};
///
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1-small.db");
/// let store = MemoryStore::new()?;
/// store.commit("tok-ascii-1", b"the application's", DateTime::<Utc>::MAX_UTC)?;
///
/// let report = import_ql(&path, &store, &ImportOptions::new())?;
/// assert_eq!(report.already_present, 1);
/// assert_eq!(store.find("tok-ascii-1")?.as_deref(), Some(&b"the application's"[..]));
///
/// let replace = ImportOptions::new().with_existing(ExistingSessions::Replace);
/// import_ql(&path, &store, &replace)?;
/// assert_eq!(store.find("tok-ascii-1")?.as_deref(), Some(&b"hello session"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExistingSessions {
    /// It stays as it is, and [`ImportReport::already_present`] counts it. This is the default: an
    /// import that is repeated overwrites no session that the application has written since. One
    /// that it has *ended* or renewed since would come back, because the store no longer has it:
    /// repeat an import only until the application has started.
    #[default]
    Keep,
    /// The session of the ql database overwrites its data and expiry.
    Replace,
}

/// The options of [`import_ql`](crate::import_ql) and
/// [`import_ql_dry_run`](crate::import_ql_dry_run).
///
/// # Examples
/// ```
/// use store_ql_compat::{ExistingSessions, ImportOptions};
///
/// let options = ImportOptions::new()
///     .with_table_name("web_sessions")
///     .with_existing(ExistingSessions::Replace)
///     .with_progress_hook(1_000, |report| {
///         println!("{} of {} rows", report.imported, report.rows);
///     });
/// # drop(options);
/// ```
#[derive(Clone)]
#[must_use]
pub struct ImportOptions {
    pub(super) table_name: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) existing: ExistingSessions,
    pub(super) max_row_len: usize,
    pub(super) progress_every: u64,
    pub(super) on_progress: Option<OnProgress>,
    pub(super) on_rejection: Option<OnRejection>,
    /// How many tokens are remembered at once; only tests make it small.
    pub(super) max_remembered: usize,
}

impl ImportOptions {
    /// Returns the defaults, which suit the database of `qlstore`.
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::{ImportOptions, import_ql_dry_run};
    ///
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1-small.db");
    /// let report = import_ql_dry_run(path, &ImportOptions::new())?;
    /// assert_eq!(report.rows, 5);
    /// # Ok::<(), store_ql_compat::ImportError>(())
    /// ```
    pub fn new() -> Self {
        Self {
            table_name: "sessions".to_owned(),
            clock: Arc::new(SystemClock),
            existing: ExistingSessions::default(),
            max_row_len: 64 << 20,
            progress_every: 1,
            on_progress: None,
            on_rejection: None,
            max_remembered: 1 << 18,
        }
    }

    /// The name of the table of sessions in the ql database. As in ql, case matters. Default:
    /// `sessions`.
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::{ImportError, ImportOptions, import_ql_dry_run};
    ///
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1-small.db");
    /// let options = ImportOptions::new().with_table_name("web_sessions");
    /// let refused = import_ql_dry_run(path, &options);
    /// assert!(matches!(refused, Err(ImportError::NoTable { .. })));
    /// ```
    pub fn with_table_name(mut self, name: impl Into<String>) -> Self {
        self.table_name = name.into();
        self
    }

    /// The clock that decides which sessions have expired. It is read once, when the import begins.
    /// Default: [`SystemClock`].
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use chrono::{DateTime, Utc};
    /// use store_core::ManualClock;
    /// use store_ql_compat::{ImportOptions, import_ql_dry_run};
    ///
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1-small.db");
    /// let far_future = Arc::new(ManualClock::new(DateTime::<Utc>::MAX_UTC));
    /// let report = import_ql_dry_run(path, &ImportOptions::new().with_clock(far_future))?;
    /// assert_eq!((report.imported, report.expired), (0, 5));
    /// # Ok::<(), store_ql_compat::ImportError>(())
    /// ```
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What happens to live sessions that the store already has. Default:
    /// [`ExistingSessions::Keep`].
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::{ExistingSessions, ImportOptions};
    ///
    /// let options = ImportOptions::new().with_existing(ExistingSessions::Replace);
    /// # drop(options);
    /// ```
    pub fn with_existing(mut self, existing: ExistingSessions) -> Self {
        self.existing = existing;
        self
    }

    /// The largest row, in bytes; a larger one is an error. It bounds the memory that a damaged
    /// file can ask for. Default: 64 MiB.
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::ImportOptions;
    ///
    /// let options = ImportOptions::new().with_max_row_len(256 * 1024 * 1024);
    /// # drop(options);
    /// ```
    pub fn with_max_row_len(mut self, max_row_len: usize) -> Self {
        self.max_row_len = max_row_len;
        self
    }

    /// Calls `hook` after every `every` rows, with the report so far. Default: no hook.
    ///
    /// The table is read twice: at first [`ImportReport::rows`] grows, then
    /// [`ImportReport::imported`].
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::ImportOptions;
    ///
    /// let options = ImportOptions::new().with_progress_hook(10_000, |report| {
    ///     eprintln!("{} rows, {} imported", report.rows, report.imported);
    /// });
    /// # drop(options);
    /// ```
    pub fn with_progress_hook(
        mut self,
        every: u64,
        hook: impl Fn(&ImportReport) + Send + Sync + 'static,
    ) -> Self {
        self.progress_every = every.max(1);
        self.on_progress = Some(Arc::new(hook));
        self
    }

    /// Calls `hook` for each live session that the store rejects. The report counts them, and has
    /// the first. Default: no hook.
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::ImportOptions;
    ///
    /// let options = ImportOptions::new().with_rejection_hook(|rejection| {
    ///     eprintln!("row {} was rejected: {}", rejection.id, rejection.error);
    /// });
    /// # drop(options);
    /// ```
    pub fn with_rejection_hook(
        mut self,
        hook: impl Fn(&Rejection) + Send + Sync + 'static,
    ) -> Self {
        self.on_rejection = Some(Arc::new(hook));
        self
    }

    #[cfg(test)]
    pub(super) fn with_max_remembered(mut self, max_remembered: usize) -> Self {
        self.max_remembered = max_remembered;
        self
    }
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ImportOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportOptions")
            .field("table_name", &self.table_name)
            .field("clock", &self.clock)
            .field("existing", &self.existing)
            .field("max_row_len", &self.max_row_len)
            .finish_non_exhaustive()
    }
}

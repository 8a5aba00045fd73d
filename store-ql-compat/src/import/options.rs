//! What an import does, and what it is to tell.

use std::fmt;
use std::sync::Arc;

use store_core::{Clock, SystemClock};

use super::report::{ImportReport, Refusal};

type OnProgress = Arc<dyn Fn(&ImportReport) + Send + Sync>;
type OnRefusal = Arc<dyn Fn(&Refusal) + Send + Sync>;

/// What becomes of a live session that the target has already, under a token that is imported.
///
/// Whether it is live is decided by the target's clock. Looking and writing are two steps, so an import
/// belongs before the application starts: of a session that the application writes in between, the import
/// can overwrite the new state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExistingSessions {
    /// It stays as it is, and [`ImportReport::kept`] counts it. This is the default: an import that
    /// is repeated takes back no session that the application has written since. One that it has
    /// *ended* or renewed since would come back, because the target knows nothing of it any more:
    /// repeat an import only until the application has started.
    #[default]
    Keep,
    /// The session of the ql database overwrites its data and expiry.
    Replace,
}

/// How [`import_ql`](crate::import_ql) and [`check_ql`](crate::check_ql) read a ql database.
///
/// # Examples
/// ```
/// use store_ql_compat::{ExistingSessions, ImportOptions};
///
/// let options = ImportOptions::new()
///     .with_table("web_sessions")
///     .with_existing(ExistingSessions::Replace)
///     .with_progress(1_000, |report| println!("{} of {} rows", report.imported, report.rows));
/// # let _ = options;
/// ```
#[derive(Clone)]
pub struct ImportOptions {
    pub(super) table: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) existing: ExistingSessions,
    pub(super) max_row_len: usize,
    pub(super) progress_every: u64,
    pub(super) on_progress: Option<OnProgress>,
    pub(super) on_refusal: Option<OnRefusal>,
    /// How many tokens are remembered at once; only tests make it small.
    pub(super) max_remembered: usize,
}

impl ImportOptions {
    /// The options that suit the database of `qlstore`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            table: "sessions".to_owned(),
            clock: Arc::new(SystemClock),
            existing: ExistingSessions::default(),
            max_row_len: 64 * 1024 * 1024,
            progress_every: u64::MAX,
            on_progress: None,
            on_refusal: None,
            max_remembered: 1 << 18,
        }
    }

    /// The table that has the sessions; `sessions` by default. As in ql, case matters.
    #[must_use]
    pub fn with_table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// The clock that decides which sessions have expired; the system's by default. It is read once, when
    /// the import begins.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What becomes of live sessions that the target has already; they are kept by default.
    #[must_use]
    pub fn with_existing(mut self, existing: ExistingSessions) -> Self {
        self.existing = existing;
        self
    }

    /// The largest row, in bytes; 64 MiB by default. It bounds the memory that a damaged file can ask for.
    #[must_use]
    pub fn with_max_row_len(mut self, max_row_len: usize) -> Self {
        self.max_row_len = max_row_len;
        self
    }

    /// Calls back after every so many rows, with the report as it stands; by default nothing is called.
    ///
    /// The rows are gone through twice: at first [`ImportReport::rows`] grows, then
    /// [`ImportReport::imported`].
    #[must_use]
    pub fn with_progress(
        mut self,
        every: u64,
        progress: impl Fn(&ImportReport) + Send + Sync + 'static,
    ) -> Self {
        self.progress_every = every.max(1);
        self.on_progress = Some(Arc::new(progress));
        self
    }

    /// Calls back for each live session that the target can't hold. The report counts them, and keeps the
    /// first.
    #[must_use]
    pub fn with_on_refusal(mut self, refused: impl Fn(&Refusal) + Send + Sync + 'static) -> Self {
        self.on_refusal = Some(Arc::new(refused));
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
            .field("table", &self.table)
            .field("clock", &self.clock)
            .field("existing", &self.existing)
            .field("max_row_len", &self.max_row_len)
            .finish_non_exhaustive()
    }
}

//! What a copy does with sessions that the target has already.

use std::fmt;

use super::CopyReport;
use crate::sync::Arc;

type OnProgress = Arc<dyn Fn(&CopyReport) + Send + Sync>;

/// The options of [`copy`](crate::copy).
///
/// # Examples
/// ```
/// use store_core::CopyOptions;
///
/// let options = CopyOptions::new().with_replacement().with_progress_hook(|report| {
///     println!("{} of {}", report.visited(), report.total);
/// });
/// # drop(options);
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct CopyOptions {
    replaces: bool,
    pub(super) mirrors: bool,
    pub(super) on_progress: Option<OnProgress>,
}

impl CopyOptions {
    /// The defaults: sessions of the target stay as they are, and there is no hook.
    ///
    /// # Examples
    /// ```
    /// use store_core::{CopyOptions, MemoryStore, copy};
    ///
    /// let report = copy(&MemoryStore::new()?, &MemoryStore::new()?, &CopyOptions::new())?;
    /// assert_eq!(report.total, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces data, expiry and subject of sessions of the target that differ.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{CopyOptions, MemoryStore, Store, copy};
    ///
    /// let (source, target) = (MemoryStore::new()?, MemoryStore::new()?);
    /// let expiry = Utc::now() + TimeDelta::hours(1);
    /// source.commit("token", b"newer", expiry)?;
    /// target.commit("token", b"older", expiry)?;
    ///
    /// assert_eq!(copy(&source, &target, &CopyOptions::new())?.differing, 1);
    /// assert_eq!(target.find("token")?.as_deref(), Some(&b"older"[..]));
    ///
    /// assert_eq!(copy(&source, &target, &CopyOptions::new().with_replacement())?.replaced, 1);
    /// assert_eq!(target.find("token")?.as_deref(), Some(&b"newer"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "overwrite")]
    pub fn with_replacement(mut self) -> Self {
        self.replaces = true;
        self
    }

    /// Replaces, and also ends the sessions of the target that the source doesn't have: those that
    /// have ended or were renewed since an earlier run.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{CopyOptions, MemoryStore, Store, copy};
    ///
    /// let (source, target) = (MemoryStore::new()?, MemoryStore::new()?);
    /// target.commit("ended", b"data", Utc::now() + TimeDelta::hours(1))?;
    /// assert_eq!(copy(&source, &target, &CopyOptions::new().with_mirroring())?.ended, 1);
    /// assert_eq!(target.count()?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "delete")]
    pub fn with_mirroring(mut self) -> Self {
        self.mirrors = true;
        self
    }

    /// Calls `hook` after each session, with the report so far, from one of several threads.
    ///
    /// # Examples
    /// ```
    /// use store_core::CopyOptions;
    ///
    /// let options = CopyOptions::new().with_progress_hook(|report| {
    ///     println!("{} of {}", report.visited(), report.total);
    /// });
    /// # drop(options);
    /// ```
    pub fn with_progress_hook(
        mut self,
        hook: impl Fn(&CopyReport) + Send + Sync + 'static,
    ) -> Self {
        self.on_progress = Some(Arc::new(hook));
        self
    }

    pub(super) fn replaces(&self) -> bool {
        self.replaces || self.mirrors
    }
}

impl fmt::Debug for CopyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyOptions")
            .field("replaces", &self.replaces())
            .field("mirrors", &self.mirrors)
            .finish_non_exhaustive()
    }
}

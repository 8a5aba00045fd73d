//! What a copy did, and why it couldn't go on.

use std::error::Error as StdError;
use std::fmt;

use super::session::Copied;
use crate::Error;

/// What became of the sessions of a [`copy`](crate::copy). Each that was met is counted once.
///
/// # Examples
/// ```
/// use store_core::{CopyOptions, MemoryStore, copy};
///
/// let report = copy(&MemoryStore::new()?, &MemoryStore::new()?, &CopyOptions::new())?;
/// assert!(report.is_complete());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CopyReport {
    /// The live sessions of the source when the copy began, for a progress bar.
    pub total: u64,
    /// Sessions that the target didn't have.
    pub copied: u64,
    /// Sessions that are the same in both.
    pub unchanged: u64,
    /// Sessions that the target has with other data, another expiry or subject, and keeps.
    pub differing: u64,
    /// Sessions that the target had otherwise, and has like the source now.
    pub replaced: u64,
    /// Sessions that ended in the source before they were copied.
    pub gone: u64,
    /// Sessions that the target can't hold.
    pub rejected: u64,
    /// Why it refused the first of them.
    pub first_rejection: Option<Error>,
    /// Sessions of the target that ended, because the source doesn't have them.
    pub ended: u64,
}

impl CopyReport {
    /// Returns how many sessions of the source were met.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{CopyOptions, MemoryStore, Store, copy};
    ///
    /// let source = MemoryStore::new()?;
    /// source.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    /// assert_eq!(copy(&source, &MemoryStore::new()?, &CopyOptions::new())?.visited(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn visited(&self) -> u64 {
        let unwritten = self.unchanged + self.differing + self.gone + self.rejected;
        self.copied + self.replaced + unwritten
    }

    /// Returns whether the target has every session of the source as it is there.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{CopyOptions, Limits, MemoryOptions, MemoryStore, Store, copy};
    ///
    /// let source = MemoryStore::new()?;
    /// source.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    /// let limits = Limits { max_data_len: 3, ..Limits::DEFAULT };
    /// let target = MemoryOptions::new().with_limits(limits).build()?;
    ///
    /// let report = copy(&source, &target, &CopyOptions::new())?;
    /// assert!(!report.is_complete() && report.rejected == 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.differing == 0 && self.rejected == 0
    }

    pub(super) fn add(&mut self, copied: &Copied) {
        match copied {
            Copied::Created => self.copied += 1,
            Copied::Unchanged => self.unchanged += 1,
            Copied::Differing => self.differing += 1,
            Copied::Replaced => self.replaced += 1,
            Copied::Gone => self.gone += 1,
            Copied::Rejected(error) => {
                self.rejected += 1;
                self.first_rejection.get_or_insert_with(|| error.clone());
            }
        }
    }
}

/// Why a [`copy`](crate::copy) couldn't go on, and in which store.
///
/// # Examples
/// ```
/// use std::error::Error as _;
/// use store_core::{CopyError, Error};
///
/// let error = CopyError::Target(Error::TableMissing { table: "sessions".to_owned() });
/// assert_eq!(error.to_string(), "the store that is copied to failed");
/// assert!(error.source().is_some());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CopyError {
    /// The store that is copied from.
    Source(Error),
    /// The store that is copied to.
    Target(Error),
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source(_) => "the store that is copied from failed",
            Self::Target(_) => "the store that is copied to failed",
        })
    }
}

impl StdError for CopyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Source(error) | Self::Target(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_of_the_source_counts_once_whatever_became_of_it() {
        let report = CopyReport {
            total: 128,
            copied: 1,
            unchanged: 2,
            differing: 4,
            replaced: 8,
            gone: 16,
            rejected: 32,
            first_rejection: None,
            ended: 64,
        };
        assert_eq!(report.visited(), 63);
    }
}

//! A file of somebody else's, opened and looked at: for an operator's tools.

use std::path::Path;

use chrono::{DateTime, Utc};
use store_core::{CleanupOptions, Error, Inspection};

use super::options::QlOptions;
use super::{Creation, QlStore};

/// # What is there already
impl QlOptions {
    /// Opens a database file that exists, and has the tables; creates neither.
    ///
    /// It is for tools, and for applications whose file is created elsewhere: one that is missing
    /// because a disk wasn't mounted is an error, and not the beginning of an empty store.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if there is no such file, or it is empty; [`Error::TableMissing`];
    /// and as for [`open`](Self::open).
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::{Error, QlOptions, QlStore, Store};
    ///
    /// # let directory = tempfile::tempdir().map_err(Error::backend)?;
    /// # let path = directory.path().join("sessions.redb");
    /// let missing = QlOptions::new().open_existing(&path);
    /// assert!(matches!(missing, Err(Error::Unreachable { .. })));
    ///
    /// QlStore::open(&path)?;
    /// let store = QlOptions::new().open_existing(&path)?;
    /// assert_eq!(store.count()?, 0);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn open_existing(self, path: impl AsRef<Path>) -> Result<QlStore, Error> {
        self.open_file(path.as_ref(), Creation::Never)
    }

    /// Looks at a file and its tables. As every store does, it locks the file meanwhile, and a
    /// file that wasn't closed is [replaced by a copy](crate::guide#a-failed-sync).
    ///
    /// # Errors
    /// As for [`open_existing`](Self::open_existing).
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::{QlOptions, QlStore};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_ql_compat::Error::backend)?;
    /// # let path = directory.path().join("sessions.redb");
    /// QlStore::open(&path)?;
    /// let found = QlOptions::new().inspect(&path)?;
    /// assert_eq!(found.engine, "redb, format 1 of the tables");
    /// # Ok::<(), store_ql_compat::Error>(())
    /// ```
    pub fn inspect(&self, path: impl AsRef<Path>) -> Result<Inspection, Error> {
        let options = self.clone().with_cleanup(CleanupOptions::disabled());
        drop(options.open_existing(path)?);
        let engine = format!("redb, format {} of the tables", super::tables::VERSION);
        Ok(Inspection::new(engine, self.limits, DateTime::<Utc>::MAX_UTC))
    }
}

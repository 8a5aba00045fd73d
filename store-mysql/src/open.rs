//! Opens a store with the default options.

use std::time::Duration;

use r2d2::Pool;
use store_core::{CleanupOptions, Error};

use crate::manager::MysqlConnectionManager;
use crate::options::MysqlOptions;
use crate::store::MysqlStore;
use crate::table::TableVariant;

impl MysqlStore {
    /// Connects to a server, or to the nodes of a cluster, and uses the table `sessions` there. The
    /// table must exist; see [`create_table`](Self::create_table).
    ///
    /// # Errors
    /// As for [`MysqlOptions::connect`].
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::MysqlStore;
    ///
    /// let store = MysqlStore::connect("mysql://app:secret@db.example/app")?;
    /// # drop(store);
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
    #[doc(alias = "open")]
    pub fn connect(url: &str) -> Result<Self, Error> {
        MysqlOptions::new().connect(url)
    }

    /// Uses the table `sessions` through the application's pool, and removes expired sessions every
    /// five minutes.
    ///
    /// # Errors
    /// [`Error::TableMissing`] and [`Error::TableMismatch`], which say what to do, and faults of
    /// the system.
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::r2d2::Pool;
    /// use store_mysql::{Error, MysqlConnectionManager, MysqlStore};
    ///
    /// let manager = MysqlConnectionManager::new("mysql://app:secret@db.example/app")?;
    /// let pool = Pool::new(manager).map_err(Error::backend)?;
    /// let store = MysqlStore::new(pool)?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "New")]
    pub fn new(pool: Pool<MysqlConnectionManager>) -> Result<Self, Error> {
        MysqlOptions::new().build(pool)
    }

    /// As [`new`](Self::new), but removes expired sessions after each `interval`. Zero means never.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```no_run
    /// use std::time::Duration;
    /// use store_mysql::{MysqlOptions, MysqlStore};
    ///
    /// let pool = MysqlOptions::new().pool("mysql://app:secret@db.example/app")?;
    /// // Another process removes them.
    /// let store = MysqlStore::with_cleanup_interval(pool, Duration::ZERO)?;
    /// # drop(store);
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
    #[doc(alias = "NewWithCleanupInterval")]
    pub fn with_cleanup_interval(
        pool: Pool<MysqlConnectionManager>,
        interval: Duration,
    ) -> Result<Self, Error> {
        MysqlOptions::new().with_cleanup(CleanupOptions::new().with_interval(interval)).build(pool)
    }

    /// Creates those of the tables `sessions`, `sessions_subjects` and `sessions_rotations` that
    /// are missing, and leaves existing ones as they are. Returns which kind of table `sessions`
    /// is.
    ///
    /// # Errors
    /// As for [`MysqlOptions::create_table`].
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::{MysqlOptions, MysqlStore};
    ///
    /// let pool = MysqlOptions::new().pool("mysql://app:secret@db.example/app")?;
    /// MysqlStore::create_table(&pool)?;
    /// let store = MysqlStore::new(pool)?;
    /// # drop(store);
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
    pub fn create_table(pool: &Pool<MysqlConnectionManager>) -> Result<TableVariant, Error> {
        MysqlOptions::new().create_table(pool)
    }
}

//! The store that a command works on.

#[cfg(feature = "mysql")]
use std::time::Duration;

use store_core::{CleanupOptions, Error, Inspection, Store, StoreStatistics};
#[cfg(feature = "mysql")]
use store_mysql::{MysqlOptions, MysqlStore};
#[cfg(feature = "ql")]
use store_ql_compat::{QlOptions, QlStore};
#[cfg(feature = "sqlite")]
use store_sqlite::{SqliteOptions, SqliteStore};

use crate::arguments::Place;
use crate::failure::Failure;
use crate::store_url::StoreUrl;

/// What a command is going to do with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing is changed, as far as the engine has such a mode.
    Read,
    Write,
}

/// Counting millions of sessions takes a server longer than a request may.
#[cfg(feature = "mysql")]
const PATIENCE: Duration = Duration::from_secs(600);

/// A store, by its engine. No cleanup thread runs in it.
pub(crate) enum OpenedStore {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteStore),
    #[cfg(feature = "mysql")]
    Mysql(MysqlStore),
    #[cfg(feature = "ql")]
    Ql(QlStore),
}

impl OpenedStore {
    /// What all stores have.
    pub(crate) fn store(&self) -> &dyn Store {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store,
            #[cfg(feature = "mysql")]
            Self::Mysql(store) => store,
            #[cfg(feature = "ql")]
            Self::Ql(store) => store,
        }
    }

    pub(crate) fn statistics(&self, max_top: usize) -> Result<StoreStatistics, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store.statistics(max_top),
            #[cfg(feature = "mysql")]
            Self::Mysql(store) => store.statistics(max_top),
            #[cfg(feature = "ql")]
            Self::Ql(store) => store.statistics(max_top),
        }
    }
}

impl Place {
    /// Returns what `--store` names.
    pub(crate) fn url(&self) -> Result<StoreUrl, Failure> {
        let store = self.store.as_deref().ok_or_else(|| {
            Failure::usage("no store: --store URL names it, or the variable SESSIONS_STORE")
        })?;
        StoreUrl::parse(store)
    }

    /// Opens a store that exists; creates neither a file nor a table of sessions.
    pub(crate) fn open(&self, access: Access) -> Result<(OpenedStore, StoreUrl), Failure> {
        let url = self.url()?;
        let opened = match &url {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => match access {
                Access::Read => self.sqlite().open_read_only(path),
                Access::Write => self.sqlite().open_existing(path),
            }
            .map(OpenedStore::Sqlite),
            #[cfg(feature = "mysql")]
            StoreUrl::Mysql(url) => {
                let options = match access {
                    Access::Read => self.mysql().with_network_timeout(PATIENCE),
                    Access::Write => self.mysql(),
                };
                options.connect(url).map(OpenedStore::Mysql)
            }
            #[cfg(feature = "ql")]
            StoreUrl::Ql(path) => self.ql().open_existing(path).map(OpenedStore::Ql),
            #[cfg(not(all(feature = "sqlite", feature = "mysql", feature = "ql")))]
            _ => return Err(Failure::not_built(&url)),
        };
        let opened = opened.map_err(|error| Failure::of_store(&error, &url))?;
        Ok((opened, url))
    }

    /// Looks at the engine and the table.
    pub(crate) fn inspect(&self) -> Result<(Inspection, StoreUrl), Failure> {
        let url = self.url()?;
        let found = match &url {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => self.sqlite().inspect(path),
            #[cfg(feature = "mysql")]
            StoreUrl::Mysql(url) => {
                let options = self.mysql();
                options.pool(url).and_then(|pool| options.inspect(&pool))
            }
            #[cfg(feature = "ql")]
            StoreUrl::Ql(path) => self.ql().inspect(path),
            #[cfg(not(all(feature = "sqlite", feature = "mysql", feature = "ql")))]
            _ => return Err(Failure::not_built(&url)),
        };
        let found = found.map_err(|error| Failure::of_store(&error, &url))?;
        Ok((found, url))
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn sqlite(&self) -> SqliteOptions {
        SqliteOptions::new().with_table_name(&self.table).with_cleanup(CleanupOptions::disabled())
    }

    #[cfg(feature = "mysql")]
    pub(crate) fn mysql(&self) -> MysqlOptions {
        MysqlOptions::new().with_table_name(&self.table).with_cleanup(CleanupOptions::disabled())
    }

    #[cfg(feature = "ql")]
    pub(crate) fn ql(&self) -> QlOptions {
        QlOptions::new().with_table_name(&self.table).with_cleanup(CleanupOptions::disabled())
    }
}

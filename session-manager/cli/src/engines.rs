//! What the commands ask of a store, by its engine, each behind its feature.

#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "mysql")]
mod mysql;

#[cfg(feature = "ql")]
mod ql;

#[cfg(not(any(feature = "sqlite", feature = "mysql", feature = "ql")))]
compile_error!("the program needs a feature for a store: sqlite, mysql or ql");

use store_core::{Error, Inspection, Store, StoreStatistics};

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

/// A place for sessions, before it is opened.
pub(crate) trait Engine {
    /// Looks at the engine and the table.
    fn inspect(&self) -> Result<Inspection, Error>;

    /// Opens a store that exists; creates neither a file nor a table of sessions.
    fn open(&self, access: Access) -> Result<Box<dyn OpenedStore>, Error>;

    /// Returns the DDL that [`create`](Self::create) runs, if the engine has such a language.
    fn ddl(&self, with_expiry_index: bool) -> Result<Option<String>, Error>;

    /// Creates what is missing.
    fn create(&self, with_expiry_index: bool) -> Result<(), Error>;
}

/// An open store. No cleanup thread runs in it.
pub(crate) trait OpenedStore {
    /// What all stores have.
    fn store(&self) -> &dyn Store;

    fn statistics(&self, max_top: usize) -> Result<StoreStatistics, Error>;
}

impl Place {
    /// Returns the engine of what `--store` names.
    pub(crate) fn engine(&self) -> Result<(Box<dyn Engine>, StoreUrl), Failure> {
        let store = self.store.as_deref().ok_or_else(|| {
            Failure::usage("no store: --store URL names it, or the variable SESSIONS_STORE")
        })?;
        let (url, table) = (StoreUrl::parse(store)?, self.table.clone());
        let engine: Box<dyn Engine> = match url.clone() {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => Box::new(sqlite::Sqlite { path, table }),
            #[cfg(feature = "mysql")]
            StoreUrl::Mysql(url) => Box::new(mysql::Mysql { url, table }),
            #[cfg(feature = "ql")]
            StoreUrl::Ql(path) => Box::new(ql::Ql { path, table }),
            #[cfg(not(all(feature = "sqlite", feature = "mysql", feature = "ql")))]
            url => return Err(Failure::not_built(&url)),
        };
        Ok((engine, url))
    }

    /// Opens a store that exists.
    pub(crate) fn open(&self, access: Access) -> Result<(Box<dyn OpenedStore>, StoreUrl), Failure> {
        let (engine, url) = self.engine()?;
        let opened = engine.open(access).map_err(|error| Failure::of_store(&error, &url))?;
        Ok((opened, url))
    }
}

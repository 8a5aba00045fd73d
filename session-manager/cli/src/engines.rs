//! The engines, each behind its feature.

#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "mysql")]
mod mysql;

#[cfg(feature = "ql")]
mod ql;

#[cfg(not(any(feature = "sqlite", feature = "mysql", feature = "ql")))]
compile_error!("the program needs a feature for a store: sqlite, mysql or ql");

use crate::engine::{Access, Engine, OpenedStore};
use crate::failure::Failure;
use crate::place::Place;
use crate::store_url::StoreUrl;

impl Place {
    /// Returns the engine of what `--store` names.
    pub(crate) fn engine(&self) -> Result<(Box<dyn Engine>, StoreUrl), Failure> {
        let store = self.store.as_deref().ok_or_else(|| {
            Failure::usage("no store: --store URL names it, or the variable SESSIONS_STORE")
        })?;
        let url = StoreUrl::parse(store).map_err(Failure::usage)?;
        let table = self.table.clone();
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

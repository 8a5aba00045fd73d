//! redb, by the store ql-compat.

use std::path::PathBuf;

use store_core::{CleanupOptions, Error, Inspection, Store, StoreStatistics};
use store_ql_compat::{QlOptions, QlStore};

use crate::engine::{Access, Engine, OpenedStore};

pub(super) struct Ql {
    pub(super) path: PathBuf,
    pub(super) table: String,
}

impl Ql {
    fn options(&self) -> QlOptions {
        QlOptions::new().with_table_name(&self.table).with_cleanup(CleanupOptions::disabled())
    }
}

impl Engine for Ql {
    fn inspect(&self) -> Result<Inspection, Error> {
        self.options().inspect(&self.path)
    }

    fn open(&self, _access: Access) -> Result<Box<dyn OpenedStore>, Error> {
        Ok(Box::new(self.options().open_existing(&self.path)?))
    }

    fn ddl(&self, _with_expiry_index: bool) -> Result<Option<String>, Error> {
        Ok(None)
    }

    fn create(&self, _with_expiry_index: bool) -> Result<(), Error> {
        self.options().open(&self.path).map(drop)
    }
}

impl OpenedStore for QlStore {
    fn store(&self) -> &dyn Store {
        self
    }

    fn statistics(&self, max_top: usize) -> Result<StoreStatistics, Error> {
        self.statistics(max_top)
    }
}

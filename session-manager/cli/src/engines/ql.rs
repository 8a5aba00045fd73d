//! redb, by the store ql-compat.

use std::fs;
use std::path::{Path, PathBuf};

use store_core::{CleanupOptions, Error, Inspection, Store, StoreStatistics};
use store_ql_compat::{QlOptions, QlStore};

use crate::engine::{Access, Engine, OpenedStore, StoreFile};

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
        let store = self.options().open_existing(&self.path)?;
        Ok(Box::new(OpenFile { store, path: self.path.clone() }))
    }

    fn ddl(&self, _with_expiry_index: bool) -> Result<Option<String>, Error> {
        Ok(None)
    }

    fn create(&self, _with_expiry_index: bool) -> Result<(), Error> {
        self.options().open(&self.path).map(drop)
    }
}

/// A store, and the file that it is in.
struct OpenFile {
    store: QlStore,
    path: PathBuf,
}

impl OpenedStore for OpenFile {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn statistics(&self, max_top: usize) -> Result<StoreStatistics, Error> {
        self.store.statistics(max_top)
    }

    fn file(&self) -> Option<&dyn StoreFile> {
        Some(self)
    }
}

impl StoreFile for OpenFile {
    fn backup(&self, path: &Path) -> Result<(), Error> {
        self.store.backup(path)
    }

    fn compact(&self) -> Result<u64, Error> {
        let len = || fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        let before = len();
        self.store.compact()?;
        Ok(before.saturating_sub(len()))
    }
}

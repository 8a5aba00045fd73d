//! SQLite.

use std::path::{Path, PathBuf};

use store_core::{CleanupOptions, Error, Inspection, Store, StoreStatistics};
use store_sqlite::{SqliteOptions, SqliteStore};

use crate::engine::{Access, Engine, OpenedStore, StoreFile};

pub(super) struct Sqlite {
    pub(super) path: PathBuf,
    pub(super) table: String,
}

impl Sqlite {
    fn options(&self, with_expiry_index: bool) -> SqliteOptions {
        let options = SqliteOptions::new()
            .with_table_name(&self.table)
            .with_cleanup(CleanupOptions::disabled());
        if with_expiry_index { options.with_expiry_index() } else { options }
    }
}

impl Engine for Sqlite {
    fn inspect(&self) -> Result<Inspection, Error> {
        self.options(false).inspect(&self.path)
    }

    fn open(&self, access: Access) -> Result<Box<dyn OpenedStore>, Error> {
        let options = self.options(false);
        Ok(Box::new(match access {
            Access::Read => options.open_read_only(&self.path)?,
            Access::Write => options.open_existing(&self.path)?,
        }))
    }

    fn ddl(&self, with_expiry_index: bool) -> Result<Option<String>, Error> {
        self.options(with_expiry_index).ddl().map(Some)
    }

    fn create(&self, with_expiry_index: bool) -> Result<(), Error> {
        self.options(with_expiry_index).create_table_in(&self.path)
    }
}

impl OpenedStore for SqliteStore {
    fn store(&self) -> &dyn Store {
        self
    }

    fn statistics(&self, max_top: usize) -> Result<StoreStatistics, Error> {
        self.statistics(max_top)
    }

    fn file(&self) -> Option<&dyn StoreFile> {
        Some(self)
    }
}

impl StoreFile for SqliteStore {
    fn backup(&self, path: &Path) -> Result<(), Error> {
        self.backup(path)
    }

    fn compact(&self) -> Result<u64, Error> {
        self.compact()
    }
}

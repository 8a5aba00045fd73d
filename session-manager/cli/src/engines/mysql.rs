//! MySQL, MariaDB and what speaks their protocol.

use std::time::Duration;

use store_core::{CleanupOptions, Error, Inspection, Store, StoreStatistics};
use store_mysql::{MysqlOptions, MysqlStore};

use crate::engine::{Access, Engine, OpenedStore, StoreFile};

/// Counting millions of sessions takes a server longer than a request may.
const PATIENCE: Duration = Duration::from_secs(600);

pub(super) struct Mysql {
    /// With the password.
    pub(super) url: String,
    pub(super) table: String,
}

impl Mysql {
    fn options(&self) -> MysqlOptions {
        MysqlOptions::new().with_table_name(&self.table).with_cleanup(CleanupOptions::disabled())
    }
}

impl Engine for Mysql {
    fn inspect(&self) -> Result<Inspection, Error> {
        let options = self.options();
        options.inspect(&options.pool(&self.url)?)
    }

    fn open(&self, access: Access) -> Result<Box<dyn OpenedStore>, Error> {
        let options = match access {
            Access::Read => self.options().with_network_timeout(PATIENCE),
            Access::Write => self.options(),
        };
        Ok(Box::new(options.connect(&self.url)?))
    }

    /// The table has the index on expiry in any case.
    fn ddl(&self, _with_expiry_index: bool) -> Result<Option<String>, Error> {
        self.options().ddl().map(Some)
    }

    fn create(&self, _with_expiry_index: bool) -> Result<(), Error> {
        let options = self.options();
        options.create_table(&options.pool(&self.url)?).map(drop)
    }
}

impl OpenedStore for MysqlStore {
    fn store(&self) -> &dyn Store {
        self
    }

    fn statistics(&self, max_top: usize) -> Result<StoreStatistics, Error> {
        self.statistics(max_top)
    }

    fn file(&self) -> Option<&dyn StoreFile> {
        None
    }
}

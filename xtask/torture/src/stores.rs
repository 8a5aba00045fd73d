//! How each store is opened.

use std::num::NonZeroUsize;
use std::time::Duration;

use store_core::{CleanupOptions, Error, Store};

use crate::Result;

/// An open store, and how it is compacted, if it can be.
pub(crate) struct OpenStore {
    pub(crate) store: Box<dyn Store>,
    pub(crate) compact: Option<Compact>,
}

pub(crate) type Compact = Box<dyn Fn() -> Result<bool, Error> + Send + Sync>;

/// How many processes can work on one database of a store at once.
pub(crate) fn processes(store: &str) -> usize {
    if store.starts_with("ql") { 1 } else { 2 }
}

/// Opens a store, and makes what is missing. Those that promise less than what is compared are for
/// the tests of this program: `sqlite-normal` loses commits with the power, `ql-relaxed` also with
/// its process.
pub(crate) fn open(store: &str, location: &str) -> Result<OpenStore> {
    // Runs all the time, in many batches.
    let batch = NonZeroUsize::new(16).ok_or("a batch of none")?;
    let cleanup =
        CleanupOptions::new().with_interval(Duration::from_millis(10)).with_batch_size(batch);
    match store {
        #[cfg(feature = "sqlite")]
        "sqlite" | "sqlite-normal" => {
            use store_sqlite::{Durability, SqliteOptions};

            let durability = if store == "sqlite" { Durability::Full } else { Durability::Normal };
            let options = SqliteOptions::new().with_durability(durability).with_cleanup(cleanup);
            Ok(OpenStore { store: Box::new(options.open(location)?), compact: None })
        }
        #[cfg(feature = "ql")]
        "ql" | "ql-relaxed" => {
            use std::sync::Arc;
            use store_ql_compat::{Durability, QlOptions};

            let relaxed = Durability::Relaxed(Duration::from_secs(3_600));
            let durability = if store == "ql" { Durability::Full } else { relaxed };
            let options = QlOptions::new().with_durability(durability).with_cleanup(cleanup);
            let store = Arc::new(options.open(location)?);
            let compacted = Arc::clone(&store);
            let compact = Box::new(move || compacted.compact());
            Ok(OpenStore { store: Box::new(store), compact: Some(compact) })
        }
        #[cfg(feature = "mysql")]
        "mysql" => {
            let options = store_mysql::MysqlOptions::new().with_cleanup(cleanup);
            let pool = options.pool(location)?;
            options.create_table(&pool)?;
            Ok(OpenStore { store: Box::new(options.build(pool)?), compact: None })
        }
        _ => Err(format!("there is no store {store:?} at {location} in this build").into()),
    }
}

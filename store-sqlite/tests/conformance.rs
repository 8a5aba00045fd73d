//! Every promise, in every kind of database that the store is used on.

use std::path::Path;
use std::time::Duration;

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::Connection;
use store_conformance::{FileStore, Harness, TempFile};
use store_core::{CleanupOptions, Limits};
use store_sqlite::{SqliteOptions, SqliteStore};

/// The store as `open` makes it.
mod wal {
    use super::*;

    struct Opened;

    impl FileStore for Opened {
        type Store = SqliteStore;

        fn open(path: &Path, cleanup: CleanupOptions) -> SqliteStore {
            SqliteOptions::new().with_cleanup(cleanup).open(path).expect("the file opens")
        }
    }

    store_conformance::conformance_tests!(TempFile::<Opened>::new(), indexes, durable, shared);
}

/// The store as `open` makes it for one process.
#[cfg(unix)]
mod exclusive_process {
    use super::*;

    struct Exclusive;

    impl FileStore for Exclusive {
        type Store = SqliteStore;

        fn open(path: &Path, cleanup: CleanupOptions) -> SqliteStore {
            let options = SqliteOptions::new().with_exclusive_process();
            options.with_cleanup(cleanup).open(path).expect("the file opens")
        }
    }

    store_conformance::conformance_tests!(TempFile::<Exclusive>::new(), indexes, durable);
}

/// An application's own pool, as r2d2 makes it, on the Go store's table in SQLite's default journal
/// mode, in which readers and writers wait for each other.
mod rollback_journal {
    use super::*;

    struct Passed;

    impl FileStore for Passed {
        type Store = SqliteStore;

        fn open(path: &Path, cleanup: CleanupOptions) -> SqliteStore {
            let pool = Pool::builder()
                .max_size(4)
                .build(SqliteConnectionManager::file(path))
                .expect("the file opens");
            SqliteStore::create_table(&pool).expect("the table can be made");
            SqliteOptions::new()
                // Processes starve each other in this mode, and the longer the slower the disk is.
                .with_contention_timeout(Duration::from_secs(120))
                .with_cleanup(cleanup)
                .build(pool)
                .expect("the table suits")
        }
    }

    store_conformance::conformance_tests!(TempFile::<Passed>::new(), indexes, durable, shared);
}

/// The store as `in_memory` makes it, under a table name that is a keyword.
mod in_memory {
    use super::*;

    struct Memory;

    impl Harness for Memory {
        type Store = SqliteStore;

        fn store(&self, cleanup: CleanupOptions) -> SqliteStore {
            SqliteOptions::new()
                .with_table_name("order")
                .with_cleanup(cleanup)
                .in_memory()
                .expect("there is memory")
        }

        fn limits(&self) -> Limits {
            Limits::DEFAULT
        }
    }

    store_conformance::conformance_tests!(Memory, indexes);
}

/// Several connections to one shared cache, whose locks SQLite's busy timeout doesn't wait for.
mod shared_cache {
    use super::*;

    struct SharedCache;

    const LIMITS: Limits = Limits { max_token_len: 43, max_data_len: 70_000 };

    impl Harness for SharedCache {
        type Store = SqliteStore;

        fn store(&self, cleanup: CleanupOptions) -> SqliteStore {
            let pool = Pool::builder()
                .max_size(4)
                .build(SqliteConnectionManager::memory())
                .expect("there is memory");
            SqliteStore::create_table(&pool).expect("the table can be made");
            SqliteOptions::new()
                .with_limits(LIMITS)
                .with_cleanup(cleanup)
                .build(pool)
                .expect("the table suits")
        }

        fn limits(&self) -> Limits {
            LIMITS
        }
    }

    store_conformance::conformance_tests!(SharedCache, indexes);
}

/// The classic table alone: views have the names of the tables that the store would make next to
/// it.
mod classic_table_alone {
    use super::*;

    struct Alone;

    impl FileStore for Alone {
        type Store = SqliteStore;

        fn open(path: &Path, cleanup: CleanupOptions) -> SqliteStore {
            if !path.exists() {
                let sqlite = Connection::open(path).expect("the file opens");
                sqlite.execute_batch(SqliteStore::CREATE_TABLE).expect("the table can be made");
                sqlite
                    .execute_batch(
                        "CREATE VIEW sessions_subjects AS SELECT token FROM sessions;
                         CREATE VIEW sessions_rotations AS SELECT token FROM sessions;",
                    )
                    .expect("the views can be made");
            }
            SqliteOptions::new().with_cleanup(cleanup).open(path).expect("the file opens")
        }
    }

    store_conformance::conformance_tests!(TempFile::<Alone>::new(), durable, shared);
}

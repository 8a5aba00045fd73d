//! Every promise, in every kind of database that the store is used on.

use std::path::PathBuf;

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::Connection;
use store_conformance::{DurableHarness, Harness};
use store_core::{CleanupOptions, Limits};
use store_sqlite::{SqliteOptions, SqliteStore};
use tempfile::TempDir;

/// A file of its own for each test, removed with the harness that made it.
struct File {
    path: PathBuf,
    _directory: Option<TempDir>,
}

impl File {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        Self { path: directory.path().join("sessions.db"), _directory: Some(directory) }
    }

    fn location(&self) -> String {
        self.path.to_str().expect("temporary paths are UTF-8").to_owned()
    }

    fn attach(location: &str) -> Self {
        Self { path: location.into(), _directory: None }
    }
}

/// The store as `open` makes it.
mod wal {
    use super::*;

    struct Opened(File);

    impl Harness for Opened {
        type Store = SqliteStore;

        fn store(&self, cleanup: CleanupOptions) -> SqliteStore {
            SqliteOptions::new().with_cleanup(cleanup).open(&self.0.path).expect("the file opens")
        }

        fn limits(&self) -> Limits {
            Limits::DEFAULT
        }
    }

    impl DurableHarness for Opened {
        fn location(&self) -> String {
            self.0.location()
        }

        fn attach(location: &str) -> Self {
            Self(File::attach(location))
        }
    }

    store_conformance::conformance_tests!(Opened(File::new()), durable, shared);
    store_conformance::index_conformance_tests!(Opened(File::new()), durable, shared);
}

/// An application's own pool, as r2d2 makes it, on the Go store's table in SQLite's default journal mode,
/// in which readers and writers wait for each other.
mod rollback_journal {
    use super::*;

    struct Passed(File);

    impl Harness for Passed {
        type Store = SqliteStore;

        fn store(&self, cleanup: CleanupOptions) -> SqliteStore {
            let pool = Pool::builder()
                .max_size(4)
                .build(SqliteConnectionManager::file(&self.0.path))
                .expect("the file opens");
            SqliteStore::create_table(&pool).expect("the table can be made");
            SqliteOptions::new().with_cleanup(cleanup).build(pool).expect("the table suits")
        }

        fn limits(&self) -> Limits {
            Limits::DEFAULT
        }
    }

    impl DurableHarness for Passed {
        fn location(&self) -> String {
            self.0.location()
        }

        fn attach(location: &str) -> Self {
            Self(File::attach(location))
        }
    }

    store_conformance::conformance_tests!(Passed(File::new()), durable, shared);
    store_conformance::index_conformance_tests!(Passed(File::new()), durable, shared);
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

    store_conformance::conformance_tests!(Memory);
    store_conformance::index_conformance_tests!(Memory);
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

    store_conformance::conformance_tests!(SharedCache);
    store_conformance::index_conformance_tests!(SharedCache);
}

/// The classic table alone: views have the names of the tables that the store would make beside it.
mod classic_table_alone {
    use super::*;

    struct Alone(File);

    impl Alone {
        fn new() -> Self {
            let file = File::new();
            let sqlite = Connection::open(&file.path).expect("the file opens");
            sqlite.execute_batch(SqliteStore::CREATE_TABLE).expect("the table can be made");
            sqlite
                .execute_batch(
                    "CREATE VIEW sessions_subjects AS SELECT token FROM sessions;
                     CREATE VIEW sessions_rotations AS SELECT token FROM sessions;",
                )
                .expect("the views can be made");
            Self(file)
        }
    }

    impl Harness for Alone {
        type Store = SqliteStore;

        fn store(&self, cleanup: CleanupOptions) -> SqliteStore {
            SqliteOptions::new().with_cleanup(cleanup).open(&self.0.path).expect("the file opens")
        }

        fn limits(&self) -> Limits {
            Limits::DEFAULT
        }
    }

    impl DurableHarness for Alone {
        fn location(&self) -> String {
            self.0.location()
        }

        fn attach(location: &str) -> Self {
            Self(File::attach(location))
        }
    }

    store_conformance::conformance_tests!(Alone::new(), durable, shared);
}

//! Every promise, in every kind of database that the store is used on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use store_conformance::{DurableHarness, Harness};
use store_core::{CleanupOptions, Limits};
use store_ql_compat::redb::{Database, backends::InMemoryBackend};
use store_ql_compat::{Durability, QlOptions, QlStore};
use tempfile::TempDir;

/// A file of its own for each test, removed with the harness that made it.
struct File {
    path: PathBuf,
    _directory: Option<TempDir>,
}

impl File {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        Self { path: directory.path().join("sessions.redb"), _directory: Some(directory) }
    }

    fn location(&self) -> String {
        self.path.to_str().expect("temporary paths are UTF-8").to_owned()
    }

    fn attach(location: &str) -> Self {
        Self { path: location.into(), _directory: None }
    }
}

/// The store as `open` makes it.
mod file {
    use super::*;

    struct Opened(File);

    impl Harness for Opened {
        type Store = QlStore;

        fn store(&self, cleanup: CleanupOptions) -> QlStore {
            QlOptions::new().with_cleanup(cleanup).open(&self.0.path).expect("the file opens")
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

    store_conformance::conformance_tests!(Opened(File::new()), durable);
    store_conformance::index_conformance_tests!(Opened(File::new()), durable);
}

/// The store as `open` makes it, with commits that a thread makes durable later.
mod relaxed {
    use super::*;

    struct Relaxed(File);

    impl Harness for Relaxed {
        type Store = QlStore;

        fn store(&self, cleanup: CleanupOptions) -> QlStore {
            QlOptions::new()
                .with_durability(Durability::Relaxed(Duration::from_millis(2)))
                .with_cleanup(cleanup)
                .open(&self.0.path)
                .expect("the file opens")
        }

        fn limits(&self) -> Limits {
            Limits::DEFAULT
        }
    }

    store_conformance::conformance_tests!(Relaxed(File::new()));
    store_conformance::index_conformance_tests!(Relaxed(File::new()));
}

/// The store as `in_memory` makes it, with limits of its own.
mod in_memory {
    use super::*;

    struct Memory;

    const LIMITS: Limits = Limits { max_token_len: 43, max_data_len: 70_000 };

    impl Harness for Memory {
        type Store = QlStore;

        fn store(&self, cleanup: CleanupOptions) -> QlStore {
            let options = QlOptions::new().with_limits(LIMITS).with_cleanup(cleanup);
            options.in_memory().expect("there is memory")
        }

        fn limits(&self) -> Limits {
            LIMITS
        }
    }

    store_conformance::conformance_tests!(Memory);
    store_conformance::index_conformance_tests!(Memory);
}

/// A database that the application shares.
mod shared_database {
    use super::*;

    struct Shared(Arc<Database>);

    impl Shared {
        fn new() -> Self {
            let database = Database::builder().create_with_backend(InMemoryBackend::new());
            Self(Arc::new(database.expect("there is memory")))
        }
    }

    impl Harness for Shared {
        type Store = QlStore;

        fn store(&self, cleanup: CleanupOptions) -> QlStore {
            QlOptions::new()
                .with_table_name("web")
                .with_cleanup(cleanup)
                .build(Arc::clone(&self.0))
                .expect("the tables can be made")
        }

        fn limits(&self) -> Limits {
            Limits::DEFAULT
        }
    }

    store_conformance::conformance_tests!(Shared::new());
    store_conformance::index_conformance_tests!(Shared::new());
}

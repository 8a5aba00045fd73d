//! Every promise, in every kind of database that the store is used on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use store_conformance::{FileStore, Harness, TempFile};
use store_core::{CleanupOptions, Limits};
use store_ql_compat::redb::{Database, backends::InMemoryBackend};
use store_ql_compat::{Durability, QlOptions, QlStore};

/// The store as `open` makes it.
mod file {
    use super::*;

    struct Opened;

    impl FileStore for Opened {
        type Store = QlStore;

        fn open(path: &Path, cleanup: CleanupOptions) -> QlStore {
            QlOptions::new().with_cleanup(cleanup).open(path).expect("the file opens")
        }
    }

    store_conformance::conformance_tests!(TempFile::<Opened>::new(), indexes, durable);
}

/// The store as `open` makes it, with commits that a thread makes durable later.
mod relaxed {
    use super::*;

    struct Relaxed;

    impl FileStore for Relaxed {
        type Store = QlStore;

        fn open(path: &Path, cleanup: CleanupOptions) -> QlStore {
            QlOptions::new()
                .with_durability(Durability::Relaxed(Duration::from_millis(2)))
                .with_cleanup(cleanup)
                .open(path)
                .expect("the file opens")
        }
    }

    store_conformance::conformance_tests!(TempFile::<Relaxed>::new(), indexes);
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

    store_conformance::conformance_tests!(Memory, indexes);
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

    store_conformance::conformance_tests!(Shared::new(), indexes);
}

//! Every promise, on every kind of table and connection that the store is used on.

use store_conformance::{DurableHarness, Harness};
use store_core::{CleanupOptions, Limits};
use store_mysql::r2d2::Pool;
use store_mysql::{MysqlConnectionManager, MysqlOptions, MysqlStore, TableVariant};
use test_servers::{Ability, CLASSIC, CLASSIC_IGNORING_CASE, Database, is_server_there};

/// The hardened table, as `create_table` makes it, on the pool that `connect` makes.
mod hardened {
    use super::*;

    struct Hardened(Database);

    impl Harness for Hardened {
        type Store = MysqlStore;

        fn store(&self, cleanup: CleanupOptions) -> MysqlStore {
            let options = MysqlOptions::new().with_cleanup(cleanup);
            let pool = options.pool(&self.0.url()).expect("the server is there");
            let variant = options.create_table(&pool).expect("the table can be made");
            assert_eq!(variant, TableVariant::Hardened);
            options.build(pool).expect("the table suits")
        }

        fn limits(&self) -> Limits {
            let limits = self.store(CleanupOptions::disabled()).limits();
            assert_eq!(limits.max_token_len, 255);
            // The server lets through 16 MiB at least, TiDB takes rows of up to 6 MiB, and Vitess
            // statements of 16 MiB, which have data twice. A value can have nearly all of that.
            let largest = match (self.0.is_tidb(), self.0.is_vitess()) {
                (true, _) => 6,
                (_, true) => 8,
                _ => 16,
            };
            assert!(limits.max_data_len >= largest * 1024 * 1024 - 32 * 1024, "{limits:?}");
            limits
        }
    }

    impl DurableHarness for Hardened {
        fn location(&self) -> String {
            self.0.url()
        }

        fn attach(location: &str) -> Self {
            Self(Database::attach(location))
        }
    }

    store_conformance::conformance_tests!(Hardened(Database::new()), indexes, durable, shared; when is_server_there());
}

/// The Go store's table in a database with a collation that ignores case and accents, on a pool
/// that the application made.
mod classic {
    use super::*;

    struct Classic(Database);

    impl Classic {
        fn new() -> Self {
            let database = Database::new();
            database.run(CLASSIC_IGNORING_CASE);
            Self(database)
        }
    }

    impl Harness for Classic {
        type Store = MysqlStore;

        fn store(&self, cleanup: CleanupOptions) -> MysqlStore {
            let manager = MysqlConnectionManager::new(&self.0.url()).expect("the URL is right");
            let pool = Pool::builder().max_size(4).build(manager).expect("the server is there");
            let variant = MysqlStore::create_table(&pool).expect("the side tables can be made");
            assert_eq!(variant, TableVariant::Classic);
            MysqlOptions::new().with_cleanup(cleanup).build(pool).expect("the table suits")
        }

        fn limits(&self) -> Limits {
            Limits { max_token_len: 43, max_data_len: 65_535 }
        }
    }

    impl DurableHarness for Classic {
        fn location(&self) -> String {
            self.0.url()
        }

        fn attach(location: &str) -> Self {
            Self(Database::attach(location))
        }
    }

    store_conformance::conformance_tests!(Classic::new(), indexes, durable, shared; when is_server_there());
}

/// The Go store's table alone, of another name, on an account that can't create side tables.
mod without_side_tables {
    use super::*;

    struct Alone(Database);

    impl Alone {
        fn new() -> Self {
            let database = Database::new();
            database.run(&CLASSIC.replace("TABLE sessions", "TABLE `order`"));
            Self(database.with_user())
        }
    }

    impl Harness for Alone {
        type Store = MysqlStore;

        fn store(&self, cleanup: CleanupOptions) -> MysqlStore {
            let options = MysqlOptions::new().with_table_name("order").with_cleanup(cleanup);
            options.connect(&self.0.url_of_user()).expect("the table suits")
        }

        fn limits(&self) -> Limits {
            Limits { max_token_len: 43, max_data_len: 65_535 }
        }
    }

    store_conformance::conformance_tests!(Alone::new(); when Ability::Accounts.is_there());
}

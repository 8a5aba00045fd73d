//! What is claimed of the manager on every store.

#[path = "../counting_store/mod.rs"]
mod counting_store;

/// Makes a test of each claim on each store.
macro_rules! on_every_store {
    ($($claim:ident)*) => {
        mod memory {
            $(#[test]
            fn $claim() -> crate::TestResult {
                super::$claim(&crate::memory())
            })*
        }

        mod sqlite {
            $(#[test]
            fn $claim() -> crate::TestResult {
                let directory = tempfile::tempdir().expect("temporary directories can be made");
                super::$claim(&crate::sqlite(&directory))
            })*
        }

        mod mysql {
            $(#[test]
            fn $claim() -> crate::TestResult {
                if !test_servers::is_server_there() {
                    return Ok(());
                }
                let database = test_servers::Database::new();
                super::$claim(&crate::mysql(&database))
            })*
        }

        mod moving {
            $(#[test]
            fn $claim() -> crate::TestResult {
                super::$claim(&crate::moving())
            })*
        }

        mod ql {
            $(#[test]
            fn $claim() -> crate::TestResult {
                let directory = tempfile::tempdir().expect("temporary directories can be made");
                super::$claim(&crate::ql(&directory))
            })*
        }
    };
}

mod fixture;

mod deadlines;

mod overlaps;

mod races;

mod subjects;

mod limits;

mod pairs;

use std::sync::Arc;

use session_manager::{Error, Json, SessionManager};
use store_core::{CleanupOptions, MemoryOptions, MovingStore, Store};
use store_mysql::MysqlOptions;
use store_ql_compat::QlOptions;
use store_sqlite::SqliteOptions;
use test_servers::Database;

type TestResult = Result<(), Error>;

/// What is tested; `tests/sealed` claims the same of another one.
type Manager = SessionManager<Json>;
type Session<'m> = session_manager::Session<'m, Json>;

fn memory() -> Arc<dyn Store> {
    let options = MemoryOptions::new().with_cleanup(CleanupOptions::disabled());
    Arc::new(options.build().expect("no thread is needed"))
}

/// A store that takes sessions from one store in memory to another.
fn moving() -> Arc<dyn Store> {
    Arc::new(MovingStore::moving(memory(), memory()))
}

fn sqlite(directory: &tempfile::TempDir) -> Arc<dyn Store> {
    let options = SqliteOptions::new().with_cleanup(CleanupOptions::disabled());
    Arc::new(options.open(directory.path().join("sessions.db")).expect("the file opens"))
}

fn mysql(database: &Database) -> Arc<dyn Store> {
    let options = MysqlOptions::new().with_cleanup(CleanupOptions::disabled());
    let pool = options.pool(&database.url()).expect("the server is there");
    options.create_table(&pool).expect("the table can be made");
    Arc::new(options.build(pool).expect("the table suits"))
}

fn ql(directory: &tempfile::TempDir) -> Arc<dyn Store> {
    let options = QlOptions::new().with_cleanup(CleanupOptions::disabled());
    Arc::new(options.open(directory.path().join("sessions.redb")).expect("the file opens"))
}

fn manager(store: impl Store + 'static) -> Manager {
    SessionManager::new(store)
}

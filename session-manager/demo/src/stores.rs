//! The stores that the demo can keep its sessions in, each behind its feature.

use std::env;

use session_manager::BoxError;
use store_core::{ErrorChain, Store};

const NO_URL: &str =
    "DATABASE_URL has to say where the database is: mysql://user:password@host/database";

/// Opens a store by its name, and returns it with the place in which it keeps sessions, for people.
pub(crate) fn open(name: &str, path: Option<String>) -> Result<(Box<dyn Store>, String), BoxError> {
    let location = match name {
        "mysql" => env::var("DATABASE_URL").map_err(|_| NO_URL)?,
        "ql" => path.unwrap_or_else(|| "demo.redb".to_owned()),
        _ => path.unwrap_or_else(|| "demo.db".to_owned()),
    };
    // Without the user and the password of a URL.
    let place = location.rsplit_once('@').filter(|_| name == "mysql");
    let place = place.map_or(&*location, |(_, place)| place).to_owned();
    let opened = match name {
        #[cfg(feature = "sqlite")]
        "sqlite" => store_sqlite::SqliteStore::open(&location).map(boxed),
        #[cfg(feature = "mysql")]
        "mysql" => open_mysql(&location).map(boxed),
        #[cfg(feature = "ql")]
        "ql" => store_ql_compat::QlStore::open(&location).map(boxed),
        _ => return Err(format!("this demo was built without a store {name:?}").into()),
    };
    let store = opened
        .map_err(|error| format!("can't keep sessions in {place}: {}", ErrorChain(&error)))?;
    Ok((store, place))
}

#[cfg(feature = "mysql")]
fn open_mysql(url: &str) -> Result<store_mysql::MysqlStore, store_core::Error> {
    let pool = store_mysql::MysqlOptions::new().pool(url)?;
    store_mysql::MysqlStore::create_table(&pool)?;
    store_mysql::MysqlStore::new(pool)
}

fn boxed<S: Store + 'static>(store: S) -> Box<dyn Store> {
    Box::new(store)
}

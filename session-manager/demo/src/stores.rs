//! The stores that the demo can keep its sessions in, each behind its feature.

use std::env;
use std::path::Path;

use session_manager::BoxError;
use store_core::{CleanupOptions, ErrorChain, Store};

use crate::settings::Settings;

const NO_URL: &str =
    "DATABASE_URL has to say where the database is: mysql://user:password@host/database";

/// A store, and what people are told of it.
pub(crate) struct Opened {
    pub(crate) store: Box<dyn Store>,
    /// Where it keeps sessions, for the person at the terminal.
    pub(crate) place: String,
    /// The database and the name of its file, for visitors, who needn't know where that is.
    pub(crate) label: String,
}

/// Opens a store by its name.
pub(crate) fn open(
    name: &str,
    path: Option<String>,
    settings: &Settings,
) -> Result<Opened, BoxError> {
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
        "sqlite" => open_sqlite(&location, settings).map(boxed),
        #[cfg(feature = "mysql")]
        "mysql" => open_mysql(&location, settings).map(boxed),
        #[cfg(feature = "ql")]
        "ql" => open_ql(&location, settings).map(boxed),
        _ => return Err(format!("this demo was built without a store {name:?}").into()),
    };
    let store = opened
        .map_err(|error| format!("can't keep sessions in {place}: {}", ErrorChain(&error)))?;
    let file = Path::new(&location).file_name().unwrap_or_default().display();
    let label = match name {
        "mysql" => "MySQL or MariaDB".to_owned(),
        "ql" => format!("redb, in the file {file}"),
        _ => format!("SQLite, in the file {file}"),
    };
    Ok(Opened { store, place, label })
}

#[cfg(feature = "sqlite")]
fn open_sqlite(
    path: &str,
    settings: &Settings,
) -> Result<store_sqlite::SqliteStore, store_core::Error> {
    let mut options = store_sqlite::SqliteOptions::new().with_cleanup(cleanup(settings));
    if let Some(connections) = settings.connections {
        options = options.with_max_connections(connections);
    }
    if let Some(timeout) = settings.timeout {
        options = options.with_checkout_timeout(timeout).with_contention_timeout(timeout);
    }
    options.open(path)
}

#[cfg(feature = "mysql")]
fn open_mysql(
    url: &str,
    settings: &Settings,
) -> Result<store_mysql::MysqlStore, store_core::Error> {
    let mut options = store_mysql::MysqlOptions::new().with_cleanup(cleanup(settings));
    if let Some(connections) = settings.connections {
        options = options.with_max_connections(connections);
    }
    if let Some(timeout) = settings.timeout {
        options = options.with_checkout_timeout(timeout).with_operation_timeout(timeout);
    }
    let pool = options.pool(url)?;
    options.create_table(&pool)?;
    options.build(pool)
}

#[cfg(feature = "ql")]
fn open_ql(path: &str, settings: &Settings) -> Result<store_ql_compat::QlStore, store_core::Error> {
    let mut options = store_ql_compat::QlOptions::new().with_cleanup(cleanup(settings));
    if let Some(timeout) = settings.timeout {
        options = options.with_contention_timeout(timeout);
    }
    options.open(path)
}

fn cleanup(settings: &Settings) -> CleanupOptions {
    let options = CleanupOptions::new();
    match settings.cleanup_interval {
        Some(interval) => options.with_interval(interval),
        None => options,
    }
}

fn boxed<S: Store + 'static>(store: S) -> Box<dyn Store> {
    Box::new(store)
}

//! The child of a fork, and a new store in it. This is one test, because no other may have a store
//! open at the fork.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use r2d2_sqlite::SqliteConnectionManager;
use store_conformance::{count_threads, in_fork, wait_for_threads};
use store_core::{CleanupOptions, Error, Store};
use store_sqlite::SqliteOptions;
use store_sqlite::r2d2::Pool;

/// Only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(120);

fn options() -> SqliteOptions {
    SqliteOptions::new().with_cleanup(CleanupOptions::disabled())
}

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

/// If the parent has one, SQLite would take the parent's locks for its own in the child, and the
/// pool wait for threads of the parent: what a child committed was lost when the parent closed the
/// database, and some children hung.
#[test]
fn child_of_a_fork_opens_a_store_only_if_its_parent_has_none() -> Result<(), Error> {
    let directory = tempfile::tempdir().map_err(Error::backend)?;
    let path = directory.path().join("app.db");
    let threads = count_threads();
    let stores = [options().open(&path)?, options().open(&path)?];
    stores[0].commit("parent", b"data", in_an_hour())?;
    drop(stores);
    wait_for_threads(threads);
    in_fork((), PATIENCE, |()| {
        let store = options().open(&path).expect("nobody has one");
        assert_eq!(store.count().expect("it counts"), 1);
        store.commit("child", b"data", in_an_hour()).expect("it commits");
    });

    let pool = Pool::new(SqliteConnectionManager::memory()).map_err(Error::backend)?;
    let store = options().open(&path)?;
    let store = in_fork(store, PATIENCE, |store| {
        let refused = |opened| assert!(matches!(opened, Err(Error::Forked)), "{opened:?}");
        refused(options().open(&path));
        refused(options().build(pool.clone()));
        refused(options().in_memory());
        drop(store);
        refused(options().open(&path));
    });
    assert_eq!(store.count()?, 2);
    // The parent may open it again.
    assert_eq!(options().open(&path)?.count()?, 2);
    Ok(())
}

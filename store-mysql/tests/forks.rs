//! A store that is opened after a fork, in a process that has nothing else: no store is open in it
//! at the fork.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use store_conformance::{count_threads, in_fork, wait_for_threads};
use store_core::{Error, Store};
use store_mysql::{MysqlOptions, MysqlStore};
use test_servers::{Database, is_server_there};

/// Only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn child_of_a_fork_connects_if_its_parent_has_dropped_its_store_and_pool() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let threads = count_threads();
    let options = MysqlOptions::new;
    let in_an_hour = || Utc::now() + TimeDelta::hours(1);
    options().create_table(&options().pool(&database.url())?)?;
    let store = options().connect(&database.url())?;
    store.commit("parent", b"data", in_an_hour())?;
    drop(store);
    wait_for_threads(threads);
    in_fork((), PATIENCE, |()| {
        let store = MysqlStore::connect(&database.url()).expect("nothing is open");
        assert_eq!(store.find("parent").expect("it finds").as_deref(), Some(&b"data"[..]));
        store.commit("child", b"data", in_an_hour()).expect("it commits");
    });
    let store = MysqlStore::connect(&database.url())?;
    assert_eq!(store.find("child")?.as_deref(), Some(&b"data"[..]));
    Ok(())
}

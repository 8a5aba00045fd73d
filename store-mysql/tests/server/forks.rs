//! Stores, pools and connections after a fork: they are the parent's.

use std::num::NonZeroU32;
use std::time::Duration;

use mysql::prelude::Queryable;
use store_conformance::in_fork;
use store_core::{Error, Store};
use store_mysql::{MysqlStore, mysql};
use test_servers::{Ability, Database, is_server_there};

use crate::{in_an_hour, options};

/// Only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The ids of the connections to a database, but for the one that asks.
fn connections(database: &Database) -> Vec<u64> {
    let others = "SELECT ID FROM information_schema.PROCESSLIST \
         WHERE DB = ? AND ID <> CONNECTION_ID() ORDER BY ID";
    database.connection().exec(others, (database.name(),)).expect("root sees it")
}

/// Opens as many of the pool's connections as it can have.
fn fill(pool: &store_mysql::r2d2::Pool<store_mysql::MysqlConnectionManager>) {
    let all: Vec<_> =
        (0..pool.max_size()).map(|_| pool.get().expect("there is a server")).collect();
    drop(all);
}

#[test]
fn child_of_a_fork_leaves_the_connections_of_store_and_pool_alone() -> Result<(), Error> {
    if !Ability::ProcessList.is_there() {
        return Ok(());
    }
    let database = Database::new();
    let three = NonZeroU32::new(3).expect("not zero");
    let options = options().with_max_connections(three);
    let pool = options.pool(&database.url())?;
    options.create_table(&pool)?;
    let store = options.clone().build(pool.clone())?;
    store.commit("token", b"data", in_an_hour())?;
    fill(&pool);
    let before = connections(&database);
    assert_eq!(before.len(), 3);

    let (store, pool) = in_fork((store, pool), PATIENCE, |(store, pool)| {
        assert!(matches!(store.find("token"), Err(Error::Forked)));
        drop(store);
        drop(pool);
    });
    // The server has read what came before on every connection once it answers on it.
    for _ in 0..3 {
        store.find("token")?;
    }
    fill(&pool);
    assert_eq!(connections(&database), before, "the parent's connections have ended");
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
    Ok(())
}

#[test]
fn child_of_a_fork_can_neither_connect_nor_use_a_pool_of_its_parent() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let pool = options().pool(&database.url())?;
    options().create_table(&pool)?;
    fill(&pool);
    let before = connections(&database);
    let pool = in_fork(pool, PATIENCE, |pool| {
        let made = options().create_table(&pool);
        assert!(matches!(made, Err(Error::Forked)), "{made:?}");
        let built = options().build(pool);
        assert!(matches!(built, Err(Error::Forked)), "{built:?}");
        let connected = options().connect(&database.url());
        assert!(matches!(connected, Err(Error::Forked)), "{connected:?}");
    });
    // It was dropped in the child.
    fill(&pool);
    assert_eq!(connections(&database), before, "the parent's connections have ended");
    Ok(())
}

#[test]
fn child_of_a_fork_in_a_visitor_leaves_the_walks_connection_alone() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    MysqlStore::create_table(&options().pool(&database.url())?)?;
    let store = options().connect(&database.url())?;
    for token in ["one", "two", "three"] {
        store.commit(token, b"data", in_an_hour())?;
    }
    let mut visited = 0;
    store.for_each(&mut |_| {
        visited += 1;
        in_fork((), PATIENCE, |()| {
            assert!(matches!(store.count(), Err(Error::Forked)));
        });
        std::ops::ControlFlow::Continue(())
    })?;
    assert_eq!(visited, 3);
    Ok(())
}

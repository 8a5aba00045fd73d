//! Networks that forget connections, hosts that vanish, names that move, and accounts that change.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use store_core::{Change, Error, Store};
use store_mysql::{Credentials, MysqlOptions, MysqlStore};
use test_servers::{
    Ability, Database, PrivateServer, ServerOptions, is_server_there, private_server,
};

use crate::proxy::Proxy;
use crate::writes::set_subject;
use crate::{in_an_hour, options};

/// Only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many connections the pools have.
const CONNECTIONS: NonZeroU32 = NonZeroU32::new(5).expect("not zero");

/// A store whose pool is full of connections that nobody uses.
fn store_with_idle_connections(url: &str, options: &MysqlOptions) -> MysqlStore {
    let pool = options.clone().with_max_connections(CONNECTIONS).pool(url).expect("a server");
    options.create_table(&pool).expect("the table can be made");
    let connections: Vec<_> = (0..CONNECTIONS.get()).map(|_| pool.get()).collect();
    assert!(connections.iter().all(Result::is_ok), "{connections:?}");
    drop(connections);
    options.clone().build(pool).expect("the table is there")
}

fn database_on(server: &PrivateServer) -> Database {
    Database::on(&server.url()).kept()
}

#[test]
fn connections_that_a_network_has_forgotten_cost_one_visitor_one_timeout() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let proxy = Proxy::to_database(&database);
    let options = options().with_network_timeout(Duration::from_secs(1));
    let store = store_with_idle_connections(&proxy.url(&database.url()), &options);
    let swallowed = || proxy.traffic.swallowed.load(Ordering::Acquire);
    store.commit("token", b"data", in_an_hour())?;

    proxy.forget_connections();
    for visitor in 0..5 {
        assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]), "visitor {visitor}");
    }
    assert_eq!(swallowed(), 1);

    let store = store_with_idle_connections(&proxy.url(&database.url()), &options);
    proxy.forget_connections();
    // Whether this one was done is unknown, so it is not made again.
    let first = store.commit("token", b"new", in_an_hour());
    assert!(matches!(first, Err(Error::Unreachable { .. })), "{first:?}");
    for _ in 0..4 {
        store.commit("token", b"newer", in_an_hour())?;
    }
    assert_eq!(swallowed(), 2);
    Ok(())
}

#[test]
fn host_that_vanishes_costs_one_timeout_if_there_is_another() -> Result<(), Error> {
    let (Some(first), Some(second)) =
        (private_server(ServerOptions::new()), private_server(ServerOptions::new()))
    else {
        return Ok(());
    };
    for server in [&first, &second] {
        server.execute("CREATE DATABASE app").expect("it is made");
        let pool = options().pool(&format!("{}/app", server.url()))?;
        MysqlStore::create_table(&pool)?;
        // Two servers that aren't one cluster, so it shows which of them is asked.
        let store = options().build(pool)?;
        store.commit("token", server.url().as_bytes(), in_an_hour())?;
    }
    let attach = |server: &PrivateServer| Database::attach(&format!("{}/app", server.url()));
    let proxy = Proxy::to_database(&attach(&first));
    let one = proxy.url(&attach(&first).url());
    let (hosts, _) = one.rsplit_once('/').expect("a URL with a database");
    let list = format!("{hosts},{}/app", second.address());
    let options = options().with_network_timeout(Duration::from_secs(4));
    let store = store_with_idle_connections(&list, &options);
    assert_eq!(store.find("token")?, Some(first.url().into_bytes()));

    proxy.forget_everything();
    for visitor in 0..5 {
        assert_eq!(store.find("token")?, Some(second.url().into_bytes()), "visitor {visitor}");
    }
    assert_eq!(proxy.traffic.swallowed.load(Ordering::Acquire), 1);
    Ok(())
}

#[test]
fn transaction_whose_client_has_lost_it_is_ended_by_the_next_connection() -> Result<(), Error> {
    if !Ability::ProcessList.is_there() {
        return Ok(());
    }
    let database = Database::new();
    let proxy = Proxy::to_database(&database);
    let pool = options().pool(&database.url())?;
    MysqlStore::create_table(&pool)?;
    let store = options().connect(&proxy.url(&database.url()))?;
    store.commit("token", b"data", in_an_hour())?;
    // Its statements are prepared.
    assert!(set_subject(&store, "token", Some("user"), b"data", in_an_hour())?);

    // The device in between ends the connection of the client and keeps the server's.
    proxy.traffic.keeps_server.store(true, Ordering::Release);
    proxy.cut_at(3, false);
    assert!(set_subject(&store, "token", Some("other"), b"data", in_an_hour())?);
    assert!(proxy.takes_cut_back(), "the transaction was cut at its end");

    // The visitor logs out elsewhere, and no lock is in the way.
    let elsewhere = options().with_operation_timeout(Duration::ZERO).build(pool)?;
    elsewhere.delete("token")?;
    assert_eq!(store.find("token")?, None);
    Ok(())
}

#[test]
fn driver_that_panics_leaves_the_pool_as_it_is() -> Result<(), Error> {
    let Some(server) = private_server(ServerOptions::new()) else { return Ok(()) };
    let database = database_on(&server);
    server
        .execute("CREATE USER app IDENTIFIED BY 'secret'; GRANT ALL ON *.* TO app")
        .expect("an account");
    let proxy = Proxy::to_database(&database);
    let url = proxy.url(&database.url_for("app:secret"));
    let one = NonZeroU32::new(1).expect("not zero");
    let options = options().with_max_connections(one).with_outage_timeout(PATIENCE);
    let pool = options.pool(&url)?;
    options.create_table(&pool)?;
    let store = options.clone().with_checkout_timeout(PATIENCE).build(pool)?;
    store.commit("token", b"data", in_an_hour())?;
    proxy.traffic.bad_greetings.store(2, Ordering::Release);
    proxy.cut();
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
    assert_eq!(proxy.traffic.bad_greetings.load(Ordering::Acquire), 0);

    proxy.traffic.bad_greetings.store(1, Ordering::Release);
    let outcome = options.connect(&url);
    let Err(error @ Error::Unreachable { .. }) = outcome else { panic!("{outcome:?}") };
    assert!(format!("{error:?}").contains("panicked"), "{error:?}");
    Ok(())
}

#[test]
fn nobody_waits_for_servers_that_are_away_or_deny_access() -> Result<(), Error> {
    let Some(server) = private_server(ServerOptions::new()) else { return Ok(()) };
    let database = database_on(&server);
    server.execute("CREATE USER app; GRANT ALL ON *.* TO app").expect("an account");
    let url = database.url_for("app");
    MysqlStore::create_table(&options().pool(&url)?)?;
    let options = options().with_checkout_timeout(PATIENCE).with_operation_timeout(PATIENCE);
    // Whoever waited would wait for a minute.
    let is_told_at_once = |store: &MysqlStore| {
        let started = Instant::now();
        for _ in 0..3 {
            let outcome = store.find("token");
            assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{outcome:?}");
        }
        assert!(started.elapsed() < PATIENCE / 2, "it was told after {:?}", started.elapsed());
    };

    let store = options.clone().with_outage_timeout(PATIENCE).connect(&url)?;
    server.execute("DROP USER app").expect("it is dropped");
    let processes = "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'app'";
    for id in server.execute(processes).expect("a list").lines() {
        server.execute(&format!("KILL {id}")).expect("it is there");
    }
    is_told_at_once(&store);

    let store = options.with_outage_timeout(Duration::ZERO).connect(&database.url())?;
    store.commit("token", b"data", in_an_hour())?;
    server.kill().expect("it can be killed");
    is_told_at_once(&store);
    server.restart().expect("it starts again");
    let started = Instant::now();
    while store.find("token").ok().flatten().as_deref() != Some(&b"data"[..]) {
        assert!(started.elapsed() < PATIENCE, "the store works again");
    }
    Ok(())
}

#[test]
fn writes_and_reads_follow_the_name_of_the_primary() -> Result<(), Error> {
    let (Some(first), Some(second)) =
        (private_server(ServerOptions::new()), private_server(ServerOptions::new()))
    else {
        return Ok(());
    };
    let databases = [&first, &second].map(|server| {
        server
            .execute(
                "CREATE DATABASE app; CREATE USER app;
                 GRANT SELECT, INSERT, UPDATE, DELETE ON app.* TO app",
            )
            .expect("a database and an account");
        Database::attach(&format!("{}/app", server.url()))
    });
    for database in &databases {
        let pool = options().pool(&database.url())?;
        MysqlStore::create_table(&pool)?;
        options().build(pool)?.commit("token", b"data", in_an_hour())?;
    }
    let proxy = Proxy::to_database(&databases[0]);
    let url = proxy.url(&databases[0].url_for("app"));
    let store = store_with_idle_connections_of(&url)?;
    let short = Duration::from_secs(1);
    let reader = options().with_max_lifetime(short).connect(&url)?;
    assert!(reader.find("token")?.is_some());
    first.execute("SET GLOBAL read_only = 1").expect("it becomes a replica");
    proxy.move_to(&databases[1]);

    // Readers alone notice within the lifetime of a connection.
    options().connect(&databases[1].url())?.delete("token")?;
    let started = Instant::now();
    while reader.find("token")?.is_some() {
        assert!(started.elapsed() < PATIENCE, "it was logged out on the new primary");
    }
    // Writes, which the old primary has refused, and whatever comes after them.
    store.create("new", b"data", in_an_hour(), None)?;
    assert_eq!(store.find("token")?, None);
    assert!(store.update("new", b"data", &Change::new(b"newer", in_an_hour()))?);
    assert!(options().connect(&databases[1].url())?.find("new")?.is_some());
    Ok(())
}

/// As [`store_with_idle_connections`], for an account that may not create tables.
fn store_with_idle_connections_of(url: &str) -> Result<MysqlStore, Error> {
    let pool = options().with_max_connections(CONNECTIONS).pool(url)?;
    let connections: Vec<_> = (0..CONNECTIONS.get()).map(|_| pool.get()).collect();
    drop(connections);
    options().build(pool)
}

#[test]
fn each_connection_asks_for_its_credentials() -> Result<(), Error> {
    let Some(server) = private_server(ServerOptions::new()) else { return Ok(()) };
    let database = database_on(&server);
    server
        .execute("CREATE USER app IDENTIFIED BY 'first'; GRANT ALL ON *.* TO app")
        .expect("an account");
    let password = Arc::new(Mutex::new("first"));
    let options = options().with_credentials({
        let password = Arc::clone(&password);
        move || Ok(Credentials::new("app", *password.lock().expect("no panic")))
    });
    let url = database.url_for("nobody");
    MysqlStore::create_table(&options.pool(&url)?)?;
    let store = options.clone().connect(&url)?;
    store.commit("token", b"data", in_an_hour())?;

    *password.lock().expect("no panic") = "second";
    server.execute("ALTER USER app IDENTIFIED BY 'second'").expect("it is changed");
    server.restart().expect("it starts again");
    let started = Instant::now();
    while store.find("token").ok().flatten().as_deref() != Some(&b"data"[..]) {
        assert!(started.elapsed() < PATIENCE, "the store works again");
    }

    let none = options.with_credentials(|| Err("the vault is closed".into())).connect(&url);
    let Err(error @ Error::Unreachable { .. }) = none else { panic!("{none:?}") };
    assert!(format!("{error:?}").contains("the vault is closed"), "{error:?}");
    Ok(())
}

#[test]
fn now_is_by_the_clock_of_the_server() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let proxy = Proxy::to_database(&database);
    let url = proxy.url(&database.url());
    options().create_table(&options().pool(&url)?)?;
    // This machine's clock is twenty minutes slow.
    for minutes in [20, 0] {
        let ahead = TimeDelta::minutes(minutes);
        let seconds = u64::try_from(ahead.num_seconds()).expect("not negative");
        proxy.traffic.clock_ahead.store(seconds, Ordering::Release);
        let store = options().connect(&url)?;
        let difference = store.now() - Utc::now() - ahead;
        assert!(difference.abs() < TimeDelta::minutes(1), "{difference}");
    }
    Ok(())
}

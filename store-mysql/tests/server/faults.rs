//! Servers and connections that fail, and what becomes of the requests.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use mysql::prelude::Queryable;
use store_core::{CleanupOptions, Error, Loaded, Store};
use store_mysql::r2d2::Pool;
use store_mysql::{MysqlConnectionManager, MysqlOptions, MysqlStore, mysql};
use test_servers::{
    Ability, CLASSIC, Database, PrivateServer, Release, ServerOptions, is_server_there,
    private_server,
};

use crate::writes::{rotate, set, set_subject};
use crate::{in_an_hour, options};

/// Only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A store on a new, hardened table.
fn store(database: &Database, options: MysqlOptions) -> MysqlStore {
    let pool = options.pool(&database.url()).expect("the server is there");
    options.create_table(&pool).expect("the table can be made");
    options.build(pool).expect("the table suits")
}

/// A database on a server that may not be there any more when the test is over.
fn database_on(server: &PrivateServer) -> Database {
    Database::on(&server.url()).kept()
}

fn works_again(store: &MysqlStore) {
    let started = Instant::now();
    while let Err(error) = store.find("token") {
        assert!(error.is_retryable(), "{error:?}");
        assert!(started.elapsed() < PATIENCE, "the store works again: {error:?}");
    }
}

#[test]
fn killed_server_loses_no_commit_and_fails_no_request() {
    const THREADS: u64 = 8;
    const KILLS: u64 = 3;
    const BETWEEN: u64 = 300;
    let Some(server) = private_server(ServerOptions::new()) else { return };
    let database = database_on(&server);
    let store = store(
        &database,
        options()
            .with_operation_timeout(PATIENCE)
            .with_checkout_timeout(PATIENCE)
            .with_outage_timeout(PATIENCE),
    );
    let committed = Mutex::new(HashSet::new());
    let (count, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (store, committed, count, is_over) = (&store, &committed, &count, &is_over);
                scope.spawn(move || {
                    let mut n = 0;
                    while !is_over.load(Ordering::Acquire) {
                        let token = format!("{thread}-{n}");
                        store
                            .commit(&token, token.as_bytes(), in_an_hour())
                            .expect("it is tried again");
                        let found = store.find(&token).expect("it is tried again");
                        assert_eq!(found.as_deref(), Some(token.as_bytes()));
                        assert!(store.touch(&token, in_an_hour()).expect("it is tried again"));
                        committed.lock().expect("no panic").insert(token);
                        count.fetch_add(1, Ordering::AcqRel);
                        n += 1;
                    }
                })
            })
            .collect();
        for kill in 1..=KILLS {
            let is_well = || writers.iter().all(|writer| !writer.is_finished());
            while count.load(Ordering::Acquire) < kill * BETWEEN && is_well() {
                thread::yield_now();
            }
            server.kill().expect("it can be killed");
            server.restart().expect("it starts again");
        }
        let enough = count.load(Ordering::Acquire) + BETWEEN;
        while count.load(Ordering::Acquire) < enough
            && writers.iter().all(|writer| !writer.is_finished())
        {
            thread::yield_now();
        }
        is_over.store(true, Ordering::Release);
    });
    for token in committed.into_inner().expect("no panic") {
        assert_eq!(store.find(&token).expect("it finds").as_deref(), Some(token.as_bytes()));
    }
}

#[test]
fn server_that_is_away_is_named_and_the_cleanup_goes_on() -> Result<(), Error> {
    let Some(server) = private_server(ServerOptions::new()) else { return Ok(()) };
    let database = database_on(&server);
    let (cleanup, manual) = CleanupOptions::new().with_manual_cleanup();
    let short = Duration::from_millis(500);
    let options =
        options().with_cleanup(cleanup).with_operation_timeout(short).with_checkout_timeout(short);
    let store = store(&database, options.clone());
    store.commit("token", b"data", in_an_hour())?;
    server.kill().expect("it can be killed");
    for outcome in [
        store.find("token").map(drop),
        store.commit("token", b"new", in_an_hour()),
        store.load("token").map(drop),
        store.create("created", b"data", in_an_hour(), None),
        store.create("created", b"data", in_an_hour(), Some("user")),
        set(&store, "token", b"data", b"new", in_an_hour()).map(drop),
        rotate(&store, "token", "renamed", b"data", in_an_hour()).map(drop),
        set_subject(&store, "token", Some("user"), b"data", in_an_hour()).map(drop),
        store.delete("missing"),
        store.all().map(drop),
        store.count().map(drop),
        store.find_by_subject("user").map(drop),
        store.delete_by_subject("user", None).map(drop),
    ] {
        let Err(error @ Error::Unreachable { .. }) = outcome else { panic!("{outcome:?}") };
        assert!(error.is_retryable());
    }
    let fresh = options.connect(&database.url());
    let Err(error @ Error::Unreachable { .. }) = fresh else { panic!("{fresh:?}") };
    assert!(format!("{error:?}").contains(&server.address().to_string()), "{error:?}");
    assert!(manual.run() && manual.wait_until_idle());
    assert_eq!(store.cleanup_statistics().failures, 1);

    server.restart().expect("it starts again");
    works_again(&store);
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
    store.commit("expired", b"data", Utc::now() - TimeDelta::hours(1))?;
    assert!(manual.run() && manual.wait_until_idle());
    assert_eq!(store.cleanup_statistics().removed, 1);
    Ok(())
}

#[test]
fn frozen_server_gives_errors_in_time_and_is_used_again() -> Result<(), Error> {
    const THREADS: usize = 6;
    let Some(server) = private_server(ServerOptions::new()) else { return Ok(()) };
    let database = database_on(&server);
    let short = Duration::from_secs(1);
    let options = options()
        .with_network_timeout(short)
        .with_operation_timeout(short)
        .with_checkout_timeout(short)
        .with_max_connections(NonZeroU32::new(3).expect("not zero"));
    let store = store(&database, options);
    store.commit("token", b"data", in_an_hour())?;
    server.freeze().expect("it can be stopped");
    let (done, outcomes) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        for n in 0..THREADS {
            let (store, done) = (&store, done.clone());
            scope.spawn(move || {
                let outcome = match n % 3 {
                    0 => store.find("token").map(drop),
                    1 => store.touch("token", in_an_hour()).map(drop),
                    _ => set(store, "token", b"data", b"data", in_an_hour()).map(drop),
                };
                done.send(outcome).expect("the test listens");
            });
        }
        for _ in 0..THREADS {
            let outcome = outcomes.recv_timeout(PATIENCE).expect("no thread is stuck");
            match outcome {
                Err(error) if error.is_retryable() => {}
                other => panic!("{other:?}"),
            }
        }
    });
    server.thaw().expect("it goes on");
    works_again(&store);
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
    Ok(())
}

/// A write to a session that has no other writer is done, and fails only if the reply to it
/// was lost.
fn is_done(outcome: &Result<bool, Error>, is_in_the_store: bool) {
    assert!(is_in_the_store, "{outcome:?}");
    assert!(matches!(outcome, Ok(true) | Err(Error::Unreachable { .. })), "{outcome:?}");
}

#[test]
fn connections_that_the_server_kills_fail_no_write_that_was_not_done() {
    const THREADS: u64 = 8;
    if !Ability::Kill.is_there() {
        return;
    }
    let database = Database::new();
    // TiDB keeps the locks of a transaction that was killed, until they are 20 s old.
    let (kill_count, options) = if database.is_tidb() {
        (16, options().with_operation_timeout(PATIENCE))
    } else {
        (200, options())
    };
    let store = store(&database, options);
    let is_over = AtomicBool::new(false);
    let rounds = AtomicU64::new(0);
    thread::scope(|scope| {
        let requests: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (store, is_over, rounds) = (&store, &is_over, &rounds);
                scope.spawn(move || {
                    let token = format!("session-{thread}");
                    let mut n = 0_u64;
                    while !is_over.load(Ordering::Acquire) {
                        let data = n.to_le_bytes();
                        store.commit(&token, &data, in_an_hour()).expect("it is repeated");
                        let found = store.find(&token).expect("it is repeated");
                        assert_eq!(found.as_deref(), Some(&data[..]));
                        assert!(store.touch(&token, in_an_hour()).expect("it is repeated"));
                        n += 1;
                        let next = n.to_le_bytes();
                        is_done(
                            &set(store, &token, &data, &next, in_an_hour()),
                            store.find(&token).expect("it is repeated").as_deref()
                                == Some(&next[..]),
                        );
                        let renamed = format!("renamed-{thread}");
                        is_done(
                            &rotate(store, &token, &renamed, &next, in_an_hour()),
                            store.find(&renamed).expect("it is repeated").is_some(),
                        );
                        assert_eq!(store.find(&token).expect("it is repeated"), None);
                        store.delete(&renamed).expect("it is repeated");
                        assert_eq!(store.find(&renamed).expect("it is repeated"), None);
                        rounds.fetch_add(1, Ordering::Release);
                    }
                })
            })
            .collect();
        let mut killer = database.connection();
        let own = u64::from(killer.connection_id());
        let (mut kills, mut rounds_before) = (0, 0);
        while kills < kill_count && requests.iter().all(|request| !request.is_finished()) {
            // A request succeeds between one kill and the next. Otherwise every new connection
            // would be killed while it is made, which is a server that is away.
            let rounds = rounds.load(Ordering::Acquire);
            if rounds == rounds_before {
                thread::yield_now();
                continue;
            }
            rounds_before = rounds;
            let connections: Vec<u64> = killer
                .exec(
                    "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = ? AND ID <> ?",
                    (database.name(), own),
                )
                // The server can't show the list while a statement in it has binary data.
                .unwrap_or_default();
            if let Some(victim) = connections.get(fastrand::usize(..connections.len().max(1))) {
                // It may have ended by itself.
                kills += u64::from(killer.query_drop(format!("KILL {victim}")).is_ok());
            }
        }
        is_over.store(true, Ordering::Release);
    });
}

#[test]
fn exhausted_pool_is_a_typed_error() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let manager = MysqlConnectionManager::new(&database.url())?;
    let pool = Pool::builder().max_size(1).build(manager).map_err(Error::backend)?;
    MysqlStore::create_table(&pool)?;
    let short = Duration::from_millis(100);
    let store = options().with_checkout_timeout(short).build(pool.clone())?;
    store.commit("token", b"data", in_an_hour())?;
    let held = pool.get().map_err(Error::backend)?;
    for outcome in [store.find("token").map(drop), store.commit("token", b"new", in_an_hour())] {
        assert!(matches!(outcome, Err(Error::PoolExhausted { .. })), "{outcome:?}");
    }
    // A walk has a connection of its own.
    assert_eq!(store.all()?.len(), 1);
    drop(held);
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
    Ok(())
}

#[test]
fn lock_that_others_hold_is_contention() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    // Locks are waited for half as long, which leaves a busy server as much to say so.
    let options = options()
        .with_network_timeout(Duration::from_secs(4))
        .with_operation_timeout(Duration::ZERO);
    let store = store(&database, options);
    store.commit("token", b"data", in_an_hour())?;
    let mut other = database.connection();
    other.query_drop("BEGIN").map_err(Error::backend)?;
    other.query_drop("SELECT * FROM sessions FOR UPDATE").map_err(Error::backend)?;
    for outcome in [
        store.commit("token", b"new", in_an_hour()),
        store.create("token", b"data", in_an_hour(), None),
        store.delete("token"),
        set(&store, "token", b"data", b"new", in_an_hour()).map(drop),
        rotate(&store, "token", "renamed", b"data", in_an_hour()).map(drop),
        set_subject(&store, "token", Some("user"), b"data", in_an_hour()).map(drop),
    ] {
        assert!(matches!(outcome, Err(Error::Contended { .. })), "{outcome:?}");
        assert!(outcome.is_err_and(|error| error.is_retryable()));
    }
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]), "reading waits for nobody");
    other.query_drop("COMMIT").map_err(Error::backend)?;
    store.commit("token", b"new", in_an_hour())?;
    assert_eq!(store.find("token")?.as_deref(), Some(&b"new"[..]));
    Ok(())
}

#[test]
fn read_only_server_is_named_and_read() -> Result<(), Error> {
    let Some(server) = private_server(ServerOptions::new()) else { return Ok(()) };
    let database = database_on(&server);
    drop(store(&database, options()));
    database.run("CREATE USER app");
    database.run("GRANT SELECT, INSERT, UPDATE, DELETE ON *.* TO app");
    let store = options().connect(&database.url_for("app"))?;
    store.commit("token", b"data", in_an_hour())?;
    let without_side_tables = database_on(&server);
    without_side_tables.run(CLASSIC);
    database.run("CREATE USER creator");
    database.run("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON *.* TO creator");
    database.run("SET GLOBAL read_only = 1");
    for outcome in [
        store.commit("token", b"new", in_an_hour()),
        store.create("new", b"new", in_an_hour(), None),
        store.create("new", b"new", in_an_hour(), Some("user")),
        set(&store, "token", b"data", b"new", in_an_hour()).map(drop),
        rotate(&store, "token", "new", b"data", in_an_hour()).map(drop),
        store.delete("token"),
    ] {
        assert!(matches!(outcome, Err(Error::ReadOnly { .. })), "{outcome:?}");
    }
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
    // Side tables can't be created, so a store works without them.
    let reader = options().connect(&without_side_tables.url_for("creator"))?;
    assert_eq!(reader.count()?, 0);
    assert_eq!(reader.load("token")?, Loaded::Missing);
    database.run("SET GLOBAL read_only = 0");
    store.commit("token", b"new", in_an_hour())?;
    assert_eq!(store.find("token")?.as_deref(), Some(&b"new"[..]));
    Ok(())
}

#[test]
fn first_server_of_the_list_that_takes_writes_is_used() -> Result<(), Error> {
    let (Some(first), Some(second)) =
        (private_server(ServerOptions::new()), private_server(ServerOptions::new()))
    else {
        return Ok(());
    };
    // Two servers that hold the same table, but not the same sessions: so it shows which one is
    // asked.
    let databases = [database_on(&first), database_on(&second)];
    for (database, data) in databases.iter().zip(["first", "second"]) {
        let store = store(database, options());
        store.commit("token", data.as_bytes(), in_an_hour())?;
        database.run("CREATE DATABASE both_have");
        for table in ["sessions", "sessions_subjects", "sessions_rotations"] {
            database.run(&format!("RENAME TABLE {table} TO both_have.{table}"));
        }
    }
    let list = format!("mysql://root@{},{}/both_have", first.address(), second.address());
    let store = options().connect(&list)?;
    let asked =
        || store.find("token").map(|data| data.and_then(|data| String::from_utf8(data).ok()));
    assert_eq!(asked()?.as_deref(), Some("first"));
    first.kill().expect("it can be killed");
    assert_eq!(asked()?.as_deref(), Some("second"), "without an error");
    assert_eq!(options().connect(&list)?.find("token")?.as_deref(), Some(&b"second"[..]));
    // A replica would show sessions that aren't there any more.
    first.restart().expect("it starts again");
    databases[0].run("SET GLOBAL read_only = 1");
    second.kill().expect("it can be killed");
    let refused = options().connect(&list);
    let Err(error @ Error::Unreachable { .. }) = refused else { panic!("{refused:?}") };
    assert!(format!("{error:?}").contains("read-only"), "{error:?}");
    databases[0].run("SET GLOBAL read_only = 0");
    assert_eq!(options().connect(&list)?.find("token")?.as_deref(), Some(&b"first"[..]));
    Ok(())
}

#[test]
fn full_disk_is_named_and_loses_nothing() -> Result<(), Error> {
    const SIZE: usize = 64 * 1024;
    // One file for all tables, which may not grow.
    let with_disk_of = |size: &str| {
        ServerOptions::new()
            .with_arg("--innodb-file-per-table=OFF")
            .with_arg(format!("--innodb-data-file-path=ibdata1:12M:autoextend:max:{size}"))
    };
    let Some(server) = private_server(with_disk_of("24M")) else { return Ok(()) };
    let database = database_on(&server);
    let store = store(&database, options().with_operation_timeout(Duration::from_secs(1)));
    let mut committed = 0;
    let error = loop {
        match store.commit(&format!("token-{committed}"), &vec![7; SIZE], in_an_hour()) {
            Ok(()) => committed += 1,
            Err(error) => break error,
        }
        assert!(committed < 10_000, "the disk is full some time");
    };
    let release = Release::from_env().expect("a release");
    let may_end = matches!(release, Release::MySql5_7 | Release::MySql8_0 | Release::MariaDb10_5);
    if may_end && matches!(error, Error::Unreachable { .. }) {
        // These end by failed assertions of their own, while they roll back.
        let started = Instant::now();
        while server.is_running() {
            assert!(started.elapsed() < PATIENCE, "{error:?}\n{}", server.log_tail());
            thread::yield_now();
        }
        server.restart_with(with_disk_of("48M")).expect("it starts again");
        works_again(&store);
    } else {
        assert!(matches!(error, Error::StorageFull { .. }), "{error:?}\n{}", server.log_tail());
    }
    assert!(committed > 0);
    for n in 0..committed {
        assert_eq!(store.find(&format!("token-{n}"))?.map(|data| data.len()), Some(SIZE));
    }
    server.restart_with(with_disk_of("48M")).expect("it starts again");
    works_again(&store);
    store.commit("token", &vec![8; SIZE], in_an_hour())?;
    assert_eq!(store.find("token")?, Some(vec![8; SIZE]));
    Ok(())
}

//! What goes over the network: how much, and what becomes of replies that come late or never.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder};
use store_core::{Error, Store, SubjectStore};
use store_mysql::{MysqlOptions, MysqlStore, mysql};

use crate::database::{CLASSIC, Database, in_an_hour, is_server_there, options};
use crate::proxy::Proxy;

/// A store on a new table behind the proxy, with the index of subjects or without.
fn store(
    database: &Database,
    proxy: &Proxy,
    options: MysqlOptions,
    has_subjects: bool,
) -> MysqlStore {
    if has_subjects {
        let pool = options.pool(&database.url()).expect("the server is there");
        options.create_table(&pool).expect("the table can be made");
    } else {
        database.run(CLASSIC);
    }
    options.connect(&proxy.url(&database.url())).expect("the proxy is there")
}

#[test]
fn operations_take_one_round_trip_each() {
    type Operation = (&'static str, fn(&MysqlStore));
    if !is_server_there() {
        return;
    }
    for has_subjects in [true, false] {
        let database = Database::new();
        let proxy = Proxy::to_database(&database);
        let store = store(&database, &proxy, options(), has_subjects);
        let operations: [Operation; 8] = [
            ("commit of a new session", |store| {
                store.commit("token", b"data", in_an_hour()).expect("it commits");
            }),
            ("commit of an old one", |store| {
                store.commit("token", b"new", in_an_hour()).expect("it commits");
            }),
            ("find", |store| {
                assert_eq!(store.find("token").expect("it finds").as_deref(), Some(&b"new"[..]));
            }),
            ("find of what isn't there", |store| {
                assert_eq!(store.find("missing").expect("it finds"), None);
            }),
            ("touch", |store| {
                assert!(store.touch("token", in_an_hour()).expect("it touches"));
            }),
            ("replace", |store| {
                assert!(
                    store.replace("token", b"new", b"newer", in_an_hour()).expect("it replaces")
                );
            }),
            ("delete", |store| store.delete("token").expect("it deletes")),
            ("delete of what isn't there", |store| store.delete("token").expect("it deletes")),
        ];
        // Once to prepare the statements, and once to count.
        for is_counted in [false, true] {
            for (name, operation) in operations {
                let before = proxy.traffic.commands.load(Ordering::Acquire);
                operation(&store);
                let commands = proxy.traffic.commands.load(Ordering::Acquire) - before;
                if is_counted {
                    assert_eq!(commands, 1, "{name}, with an index of subjects: {has_subjects}");
                } else {
                    assert!(commands >= 1, "{name} goes through the proxy");
                }
            }
        }
        // Whatever can't be a token isn't even asked for.
        let before = proxy.traffic.commands.load(Ordering::Acquire);
        assert_eq!(store.find("no token\n").expect("it finds"), None);
        assert_eq!(proxy.traffic.commands.load(Ordering::Acquire), before);
    }
}

#[test]
fn reply_that_comes_late_is_never_taken_for_another() {
    const SESSIONS: u64 = 64;
    const THREADS: u64 = 8;
    const HELD: u64 = 2_000;
    /// Far shorter than anybody would set it, so that thousands of timeouts fit into a test.
    const TIMEOUT: Duration = Duration::from_millis(20);
    if !is_server_there() {
        return;
    }
    let database = Database::new();
    let proxy = Proxy::to_database(&database);
    let many = NonZeroU32::new(16).expect("not zero");
    let options = options()
        .with_network_timeout(TIMEOUT)
        // One attempt, whose failure is the test's business.
        .with_operation_timeout(Duration::ZERO)
        .with_max_connections(many);
    let pool = MysqlOptions::new().pool(&database.url()).expect("the server is there");
    MysqlStore::create_table(&pool).expect("the table can be made");
    let direct = MysqlStore::with_cleanup_interval(pool, Duration::ZERO).expect("the table suits");
    let data = |n: u64| format!("the data of session {n}").into_bytes();
    for n in 0..SESSIONS {
        direct.commit(&format!("session-{n}"), &data(n), in_an_hour()).expect("it commits");
    }
    let store = loop {
        // Connecting takes several round trips, each of which can take too long on a busy machine.
        if let Ok(store) = options.clone().connect(&proxy.url(&database.url())) {
            break store;
        }
    };
    proxy
        .traffic
        .hold_for
        .store(3 * u64::try_from(TIMEOUT.as_millis()).unwrap_or(0), Ordering::Release);
    proxy.traffic.hold_every.store(5, Ordering::Release);

    let found: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (store, proxy) = (&store, &proxy);
                scope.spawn(move || {
                    let mut found = 0;
                    let mut n = thread;
                    while proxy.traffic.held.load(Ordering::Acquire) < HELD {
                        n = (n + 7) % SESSIONS;
                        match store.find(&format!("session-{n}")) {
                            Ok(session) => {
                                assert_eq!(session, Some(data(n)), "another session's data");
                                found += 1;
                            }
                            Err(error) => assert!(error.is_retryable(), "{error:?}"),
                        }
                    }
                    found
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("each session is its own")).sum()
    });
    assert!(found > HELD / 10, "{found} replies came in time");
    // When the trouble is over the same store works.
    proxy.traffic.hold_every.store(0, Ordering::Release);
    let started = Instant::now();
    while store.find("session-1").ok() != Some(Some(data(1))) {
        assert!(started.elapsed() < Duration::from_secs(60), "the store works again");
        thread::sleep(TIMEOUT);
    }
}

/// That the test above can fail: the driver alone takes the late reply for the next one's.
#[test]
fn bare_driver_takes_a_late_reply_for_another() {
    if !is_server_there() {
        return;
    }
    let database = Database::new();
    let proxy = Proxy::to_database(&database);
    let opts = Opts::from_url(&proxy.url(&database.url())).expect("a URL");
    let opts = OptsBuilder::from_opts(opts)
        .prefer_socket(false)
        .read_timeout(Some(Duration::from_millis(500)));
    let mut connection = Conn::new(opts).expect("the proxy is there");
    proxy.traffic.hold_for.store(1_000, Ordering::Release);
    proxy.traffic.hold_every.store(1, Ordering::Release);
    let statement = connection.prep("SELECT ?").expect("it prepares");
    let late = connection.exec_first::<String, _, _>(&statement, ("one",));
    assert!(late.is_err(), "the reply is held back");
    proxy.traffic.hold_every.store(0, Ordering::Release);
    let next = loop {
        match connection.exec_first::<String, _, _>(&statement, ("two",)) {
            Ok(next) => break next,
            // Not even this spoils the connection for the driver.
            Err(mysql::Error::CodecError(_) | mysql::Error::IoError(_)) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(next.as_deref(), Some("one"));
}

/// The proxy lets the next command through and cuts the connection instead of passing the reply on.
fn lose_next_reply(proxy: &Proxy) {
    proxy.traffic.cut_next_reply.store(true, Ordering::Release);
}

#[test]
fn lost_replies_are_made_up_for() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let proxy = Proxy::to_database(&database);
    let store = store(&database, &proxy, options(), true);
    // Each statement is prepared before, so that what is lost is the reply to its execution.
    for _ in 0..2 {
        lose_next_reply_after_warming_up(&store, &proxy)?;
    }
    Ok(())
}

fn lose_next_reply_after_warming_up(store: &MysqlStore, proxy: &Proxy) -> Result<(), Error> {
    store.commit("token", b"one", in_an_hour())?;
    store.find("token")?;
    lose_next_reply(proxy);
    assert_eq!(store.find("token")?.as_deref(), Some(&b"one"[..]));

    store.commit("token", b"one", in_an_hour())?;
    lose_next_reply(proxy);
    store.commit("token", b"two", in_an_hour())?;
    assert_eq!(store.find("token")?.as_deref(), Some(&b"two"[..]));

    store.touch("token", in_an_hour())?;
    lose_next_reply(proxy);
    assert!(store.touch("token", in_an_hour())?);

    // The first attempt had its effect, so the second alone would say `false`.
    assert!(store.replace("token", b"two", b"three", in_an_hour())?);
    lose_next_reply(proxy);
    assert!(store.replace("token", b"three", b"four", in_an_hour())?);
    assert_eq!(store.find("token")?.as_deref(), Some(&b"four"[..]));

    assert!(store.set_subject("token", Some("user"))?);
    lose_next_reply(proxy);
    assert!(store.set_subject("token", Some("user"))?);

    assert!(store.rename("token", "renamed")?);
    assert!(store.rename("renamed", "token")?);
    lose_next_reply(proxy);
    assert!(store.rename("token", "renamed")?);
    assert_eq!(store.find("token")?, None);
    assert_eq!(store.find_by_subject("user")?, ["renamed"]);

    store.delete("warm up")?;
    lose_next_reply(proxy);
    store.delete("renamed")?;
    assert_eq!(store.find("renamed")?, None);
    assert_eq!(store.find_by_subject("user")?, [""; 0]);
    Ok(())
}

#[test]
fn replace_whose_outcome_others_have_hidden_is_an_error() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let proxy = Proxy::to_database(&database);
    let one = NonZeroU32::new(1).expect("not zero");
    let store = store(&database, &proxy, options().with_max_connections(one), true);
    store.commit("token", b"one", in_an_hour())?;
    assert!(store.replace("token", b"one", b"two", in_an_hour())?);
    // A trigger stands for another process that comes between the attempt and the look.
    database.run("CREATE TRIGGER hide BEFORE UPDATE ON sessions FOR EACH ROW SET NEW.data = CONCAT(NEW.data, '!')");
    lose_next_reply(&proxy);
    let outcome = store.replace("token", b"two", b"three", in_an_hour());
    assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{outcome:?}");
    assert_eq!(store.find("token")?.as_deref(), Some(&b"three!"[..]));
    Ok(())
}

//! Round trips, and replies that come late or never.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder};
use store_core::{Change, Error, Loaded, Rotation, Store};
use store_mysql::{MysqlOptions, MysqlStore, mysql};
use test_servers::{Ability, CLASSIC, Database, is_server_there};

use crate::proxy::Proxy;
use crate::writes::{commands_of_a_write, rotate, set, set_subject, tokens_of};
use crate::{in_an_hour, options};

/// A store on a new table behind the proxy, with the side tables or without.
fn store(
    database: &Database,
    proxy: &Proxy,
    options: MysqlOptions,
    has_side_tables: bool,
) -> MysqlStore {
    let url = if has_side_tables {
        let pool = options.pool(&database.url()).expect("the server is there");
        options.create_table(&pool).expect("the table can be made");
        database.url()
    } else {
        database.run(CLASSIC);
        database.url_of_user()
    };
    options.connect(&proxy.url(&url)).expect("the proxy is there")
}

/// The commands that an operation sends once its statements are prepared.
fn commands_of(proxy: &Proxy, operation: impl FnOnce()) -> u64 {
    let before = proxy.traffic.commands.load(Ordering::Acquire);
    operation();
    proxy.traffic.commands.load(Ordering::Acquire) - before
}

#[test]
fn operations_take_one_round_trip_each() {
    type Operation = (&'static str, u64, fn(&MysqlStore));
    if !Ability::Accounts.is_there() {
        return;
    }
    for has_side_tables in [true, false] {
        let database = Database::new().with_user();
        let proxy = Proxy::to_database(&database);
        let store = store(&database, &proxy, options(), has_side_tables);
        let write = commands_of_a_write(&database);
        // Where a subject could be, TiDB locks the session before it deletes both.
        let delete = write + u64::from(has_side_tables && database.is_tidb());
        let operations: [Operation; 11] = [
            ("commit of a new session", write, |store| {
                store.commit("token", b"data", in_an_hour()).expect("it commits");
            }),
            ("commit of an old one", write, |store| {
                store.commit("token", b"new", in_an_hour()).expect("it commits");
            }),
            ("find", 1, |store| {
                assert_eq!(store.find("token").expect("it finds").as_deref(), Some(&b"new"[..]));
            }),
            ("find of what isn't there", 1, |store| {
                assert_eq!(store.find("missing").expect("it finds"), None);
            }),
            ("load of a live session", 1, |store| {
                let loaded = store.load("token").expect("it loads");
                assert!(matches!(loaded, Loaded::Live { .. }), "{loaded:?}");
            }),
            ("touch", write, |store| {
                assert!(store.touch("token", in_an_hour()).expect("it touches"));
            }),
            ("update", write, |store| {
                let change = Change::new(b"newer", in_an_hour());
                assert!(store.update("token", b"new", &change).expect("it updates"));
            }),
            ("update that changes nothing else after all", write, |store| {
                let rotation = Rotation::new("token");
                let change = Change::new(b"newest", in_an_hour()).with_rotation(rotation);
                assert!(store.update("token", b"newer", &change).expect("it updates"));
            }),
            ("count", 1, |store| assert_eq!(store.count().expect("it counts"), 1)),
            ("delete", delete, |store| store.delete("token").expect("it deletes")),
            ("create", write, |store| {
                // Leaves the table as it was, so that it can be done again.
                store.create("token", b"data", in_an_hour(), None).expect("it creates");
            }),
        ];
        // Once to prepare the statements, and once to count.
        for is_counted in [false, true] {
            for (name, expected, operation) in operations {
                let commands = commands_of(&proxy, || operation(&store));
                if is_counted {
                    assert_eq!(commands, expected, "{name}, with side tables: {has_side_tables}");
                } else {
                    assert!(commands >= expected, "{name} goes through the proxy");
                }
            }
            store.delete("token").expect("it deletes");
        }
        // Whatever can't be a token isn't even asked for.
        let commands = commands_of(&proxy, || {
            assert_eq!(store.find("no token\n").expect("it finds"), None);
            assert_eq!(store.load("no token\n").expect("it loads"), Loaded::Missing);
            store.delete("no token\n").expect("there is nothing to delete");
        });
        assert_eq!(commands, 0);
    }
}

/// The numbers in the documentation, and those on `TiDB`.
#[test]
fn transactions_take_few_round_trips() -> Result<(), Error> {
    type Operation = (&'static str, [u64; 2], fn(&MysqlStore) -> Result<bool, Error>);
    if !is_server_there() {
        return Ok(());
    }
    let operations: [Operation; 21] = [
        ("load of what isn't there", [2, 2], |store| Ok(store.load("missing")? == Loaded::Missing)),
        ("delete of what isn't there", [2, 5], |store| store.delete("missing").map(|()| true)),
        ("create with a subject", [4, 4], |store| {
            store.create("one", b"1", in_an_hour(), Some("user")).map(|()| true)
        }),
        ("find_by_subject", [1, 1], |store| Ok(store.find_by_subject("user")?.len() == 1)),
        ("update that sets the subject", [4, 4], |store| {
            store.update("one", b"1", &Change::new(b"1", in_an_hour()).with_subject(Some("other")))
        }),
        ("update that clears it", [4, 4], |store| {
            store.update("one", b"1", &Change::new(b"1", in_an_hour()).with_subject(None))
        }),
        ("rotation", [6, 6], |store| {
            let rotation = Rotation::new("two");
            store.update("one", b"1", &Change::new(b"2", in_an_hour()).with_rotation(rotation))
        }),
        ("rotation soon after", [7, 6], |store| {
            let rotation = Rotation::new("three");
            store.update("two", b"2", &Change::new(b"3", in_an_hour()).with_rotation(rotation))
        }),
        ("load of a rotated token", [2, 2], |store| {
            Ok(matches!(store.load("one")?, Loaded::Rotated { .. }))
        }),
        ("delete with a rotated token", [7, 11], |store| {
            store.delete("one")?;
            Ok(store.find("three")?.is_none())
        }),
        ("create of another", [1, 3], |store| {
            store.create("four", b"4", in_an_hour(), None).map(|()| true)
        }),
        ("create of one more", [1, 3], |store| {
            store.create("cart", b"cart", in_an_hour(), None).map(|()| true)
        }),
        ("login that absorbs", [10, 11], |store| {
            let change = Change::new(b"5", in_an_hour())
                .with_rotation(Rotation::new("five"))
                .with_subject(Some("user"))
                .absorbing("cart", b"cart");
            store.update("four", b"4", &change)
        }),
        ("update that doesn't match", [3, 3], |store| {
            let change = Change::new(b"6", in_an_hour()).with_rotation(Rotation::new("six"));
            store.update("five", b"4", &change).map(|is_done| !is_done)
        }),
        ("delete_by_subject but one", [4, 4], |store| {
            Ok(store.delete_by_subject("user", Some("five"))? == 0)
        }),
        ("delete_by_subject but a rotated one", [5, 5], |store| {
            Ok(store.delete_by_subject("user", Some("four"))? == 0)
        }),
        ("delete_by_subject", [1, 3], |store| Ok(store.delete_by_subject("user", None)? == 1)),
        ("create that expects no sessions", [7, 7], |store| {
            let login = Change::new(b"7", in_an_hour()).with_subject(Some("user"));
            store.create_with("seven", &login.expecting_sessions_of("user", []))
        }),
        ("update that expects sessions", [6, 6], |store| {
            let change = Change::new(b"8", in_an_hour());
            store.update("seven", b"7", &change.expecting_sessions_of("user", ["seven"]))
        }),
        ("update that expects others", [5, 5], |store| {
            let change = Change::new(b"9", in_an_hour());
            let is_done = store.update("seven", b"8", &change.expecting_sessions_of("user", []));
            is_done.map(|is_done| !is_done)
        }),
        ("delete of that session", [1, 4], |store| store.delete("seven").map(|()| true)),
    ];
    let database = Database::new();
    let proxy = Proxy::to_database(&database);
    let store = store(&database, &proxy, options(), true);
    let is_tidb = database.is_tidb();
    for is_counted in [false, true] {
        for (name, expected, operation) in operations {
            let mut outcome = Ok(false);
            let commands = commands_of(&proxy, || outcome = operation(&store));
            assert!(outcome?, "{name}");
            // A find that checks the deletion. And Vitess has no isolation level for a transaction
            // alone, so that the connection's is set again.
            let more = name == "delete with a rotated token"
                || database.is_vitess() && name.contains("that expects");
            let expected = expected[usize::from(is_tidb)] + u64::from(more);
            if is_counted {
                assert_eq!(commands, expected, "{name}");
            }
        }
        database.run("DELETE FROM sessions_rotations");
    }
    Ok(())
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
        // One attempt, whose failure the test counts.
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
    // The same store works when replies are in time again.
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

/// The proxy lets the last command of a write through, and cuts the connection instead of passing
/// the reply on. The write is one statement, which has been prepared.
fn lose_reply_to_write(proxy: &Proxy, database: &Database) {
    proxy.cut_at(commands_of_a_write(database) - 1, true);
}

/// As above, for the next command.
fn lose_next_reply(proxy: &Proxy) {
    proxy.cut_at(0, true);
}

#[test]
fn lost_replies_are_repeated_or_unknown() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let proxy = Proxy::to_database(&database);
    // The proxy counts the commands of all connections, so there is one.
    let one = NonZeroU32::new(1).expect("not zero");
    let store = store(&database, &proxy, options().with_max_connections(one), true);
    // Each statement is prepared before, so that what is lost is the reply to its execution or, of
    // transactions, to their beginning (on TiDB to their end, if it is one of a single statement;
    // the others are lost in the tests of `lost`).
    for _ in 0..2 {
        lose_replies_after_warming_up(&store, &proxy, &database)?;
    }
    Ok(())
}

fn lose_replies_after_warming_up(
    store: &MysqlStore,
    proxy: &Proxy,
    database: &Database,
) -> Result<(), Error> {
    store.commit("token", b"one", in_an_hour())?;
    store.find("token")?;
    lose_next_reply(proxy);
    assert_eq!(store.find("token")?.as_deref(), Some(&b"one"[..]));

    store.commit("token", b"one", in_an_hour())?;
    lose_reply_to_write(proxy, database);
    store.commit("token", b"two", in_an_hour())?;
    assert_eq!(store.find("token")?.as_deref(), Some(&b"two"[..]));

    store.load("token")?;
    lose_next_reply(proxy);
    assert!(matches!(store.load("token")?, Loaded::Live { .. }));

    store.touch("token", in_an_hour())?;
    lose_reply_to_write(proxy, database);
    assert!(store.touch("token", in_an_hour())?);

    // The attempt was done, and the store can't know that it wasn't another request's.
    assert!(set(store, "token", b"two", b"three", in_an_hour())?);
    lose_reply_to_write(proxy, database);
    let outcome = set(store, "token", b"three", b"four", in_an_hour());
    assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{outcome:?}");
    assert_eq!(store.find("token")?.as_deref(), Some(&b"four"[..]));

    assert!(set_subject(store, "token", Some("user"), b"four", in_an_hour())?);
    lose_next_reply(proxy);
    assert!(set_subject(store, "token", Some("user"), b"four", in_an_hour())?);

    assert!(rotate(store, "token", "renamed", b"four", in_an_hour())?);
    assert!(rotate(store, "renamed", "token", b"four", in_an_hour())?);
    lose_next_reply(proxy);
    assert!(rotate(store, "token", "renamed", b"four", in_an_hour())?);
    assert_eq!(store.find("token")?, None);
    assert_eq!(tokens_of(store, "user")?, ["renamed"]);

    // Nothing tells the application of the attempt that was lost.
    store.delete("warm-up")?;
    lose_reply_to_write(proxy, database);
    store.delete("renamed")?;
    assert_eq!(store.find("renamed")?, None);
    assert_eq!(tokens_of(store, "user")?, [""; 0]);

    store.create("warm-up", b"data", in_an_hour(), None)?;
    lose_reply_to_write(proxy, database);
    let outcome = store.create("created", b"data", in_an_hour(), None);
    assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{outcome:?}");
    assert_eq!(store.find("created")?.as_deref(), Some(&b"data"[..]));
    store.delete("warm-up")?;
    store.delete("created")?;
    Ok(())
}

#[test]
fn update_whose_outcome_others_have_hidden_is_an_error() -> Result<(), Error> {
    if !Ability::Triggers.is_there() {
        return Ok(());
    }
    let database = Database::new();
    let proxy = Proxy::to_database(&database);
    let one = NonZeroU32::new(1).expect("not zero");
    let store = store(&database, &proxy, options().with_max_connections(one), true);
    store.commit("token", b"one", in_an_hour())?;
    assert!(set(&store, "token", b"one", b"two", in_an_hour())?);
    // A trigger stands for another process that writes between the attempt and the read.
    database.run("CREATE TRIGGER hide BEFORE UPDATE ON sessions FOR EACH ROW SET NEW.data = CONCAT(NEW.data, '!')");
    lose_next_reply(&proxy);
    let outcome = set(&store, "token", b"two", b"three", in_an_hour());
    assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{outcome:?}");
    assert_eq!(store.find("token")?.as_deref(), Some(&b"three!"[..]));
    Ok(())
}

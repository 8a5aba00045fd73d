//! Lost replies, and what an operation returns after another attempt.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use mysql::prelude::Queryable;

use store_core::{Change, Error, Loaded, Rotation, Store};
use store_mysql::{MysqlOptions, MysqlStore, mysql};
use test_servers::{Ability, CLASSIC, Database, is_server_there};

use crate::proxy::Proxy;
use crate::writes::{commands_of_a_write, expiry_of, leads_to, rotate, set, tokens_of};
use crate::{in_an_hour, options};

/// A store behind a proxy, with the side tables or without.
fn store(database: &Database, has_side_tables: bool) -> Result<(Proxy, MysqlStore), Error> {
    let url = if has_side_tables {
        options().create_table(&options().pool(&database.url())?)?;
        database.url()
    } else {
        database.run(CLASSIC);
        database.url_of_user()
    };
    let proxy = Proxy::to_database(database);
    let store = options().connect(&proxy.url(&url))?;
    Ok((proxy, store))
}

/// The same with a single connection, so that its statements are known to be prepared.
fn store_of_one_connection(
    database: &Database,
    options: MysqlOptions,
) -> Result<(Proxy, MysqlStore), Error> {
    options.create_table(&options.pool(&database.url())?)?;
    let proxy = Proxy::to_database(database);
    let one = NonZeroU32::new(1).expect("not zero");
    let store = options.with_max_connections(one).connect(&proxy.url(&database.url()))?;
    Ok((proxy, store))
}

/// Lets an operation reach the server, where it waits for a row; cuts its connection; and then lets
/// the row go.
fn lose_while_it_waits<T: Send>(
    database: &Database,
    proxy: &Proxy,
    operation: impl FnOnce() -> T + Send,
) -> T {
    let mut other = lock_all(database);
    thread::scope(|scope| {
        let operation = scope.spawn(operation);
        cut_once_it_waits(database, proxy, &operation);
        other.query_drop("COMMIT").expect("it lets go");
        operation.join().expect("no panic")
    })
}

/// Returns a connection that has locked all rows.
fn lock_all(database: &Database) -> mysql::Conn {
    let mut other = database.connection();
    other.query_drop("BEGIN").expect("it begins");
    other.query_drop("SELECT * FROM sessions FOR UPDATE").expect("it locks");
    other
}

/// Cuts an operation's connection once it waits for a row, at which the server goes on.
fn cut_once_it_waits<T>(
    database: &Database,
    proxy: &Proxy,
    operation: &thread::ScopedJoinHandle<'_, T>,
) {
    database.wait_for_a_lock_wait(|| operation.is_finished());
    proxy.traffic.keeps_server.store(true, Ordering::Release);
    proxy.cut();
}

#[test]
fn write_whose_reply_is_lost_is_not_contended_because_its_repetition_is() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    // Locks are waited for half as long as for the network, and no attempt begins after a second.
    let options = options()
        .with_network_timeout(Duration::from_secs(4))
        .with_operation_timeout(Duration::from_secs(1));
    options.create_table(&options.pool(&database.url())?)?;
    let proxy = Proxy::to_database(&database);
    let store = options.connect(&proxy.url(&database.url()))?;
    store.commit("token", b"data", in_an_hour())?;
    // A rotation is a transaction. Lost before its COMMIT, it has done nothing for certain.
    let writes: [fn(&MysqlStore) -> Result<(), Error>; 5] = [
        |store| store.create("new", b"data", in_an_hour(), None),
        |store| set(store, "token", b"data", b"new", in_an_hour()).map(drop),
        |store| store.touch("token", in_an_hour()).map(drop),
        |store| store.commit("token", b"new", in_an_hour()),
        |store| store.delete("token"),
    ];
    for (n, write) in writes.into_iter().enumerate() {
        let mut other = lock_all(&database);
        let outcome = thread::scope(|scope| {
            let write = scope.spawn(|| write(&store));
            cut_once_it_waits(&database, &proxy, &write);
            write.join().expect("no panic")
        });
        // Whether the first attempt is done when the row is free, nobody knows yet.
        assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{n}: {outcome:?}");
        other.query_drop("ROLLBACK").expect("it lets go");
    }
    Ok(())
}

#[test]
fn update_that_was_made_is_not_denied() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let (proxy, store) = store(&database, true)?;
    store.commit("token", b"one", in_an_hour())?;
    assert!(set(&store, "token", b"one", b"two", in_an_hour())?);
    let outcome = lose_while_it_waits(&database, &proxy, || {
        set(&store, "token", b"two", b"three", in_an_hour())
    });
    let is_made = store.find("token")?.as_deref() == Some(b"three");
    assert!(!(is_made && matches!(outcome, Ok(false))), "{outcome:?}");
    Ok(())
}

#[test]
fn rotation_that_was_made_is_not_denied() -> Result<(), Error> {
    if !Ability::Accounts.is_there() {
        return Ok(());
    }
    for has_side_tables in [true, false] {
        let database = Database::new().with_user();
        let (proxy, store) = store(&database, has_side_tables)?;
        store.commit("token", b"data", in_an_hour())?;
        assert!(rotate(&store, "token", "other", b"data", in_an_hour())?);
        assert!(rotate(&store, "other", "token", b"data", in_an_hour())?);
        let outcome = lose_while_it_waits(&database, &proxy, || {
            rotate(&store, "token", "new", b"data", in_an_hour())
        });
        let is_made = store.find("new")?.is_some();
        assert!(!(is_made && matches!(outcome, Ok(false))), "{outcome:?}");
        assert!(is_made || !matches!(outcome, Ok(true)), "{outcome:?}");
    }
    Ok(())
}

#[test]
fn touch_that_ended_the_session_is_not_denied() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let (proxy, store) = store(&database, true)?;
    store.commit("token", b"data", in_an_hour())?;
    assert!(store.touch("token", in_an_hour())?);
    let an_hour_ago = Utc::now() - TimeDelta::hours(1);
    let outcome = lose_while_it_waits(&database, &proxy, || store.touch("token", an_hour_ago));
    assert!(!matches!(outcome, Ok(false)), "{outcome:?}");
    assert_eq!(store.find("token")?, None, "{outcome:?}");
    Ok(())
}

#[test]
fn update_that_changes_the_expiry_alone_is_not_taken_for_made() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let (proxy, store) = store(&database, true)?;
    store.commit("token", b"data", in_an_hour())?;
    assert!(set(&store, "token", b"data", b"data", in_an_hour())?);
    let later = in_an_hour() + TimeDelta::hours(9);
    proxy.cut();
    assert!(set(&store, "token", b"data", b"data", later)?);
    let expiry = expiry_of(&store, "token")?;
    assert!(expiry.is_some_and(|expiry| later - expiry < TimeDelta::milliseconds(1)), "{expiry:?}");
    Ok(())
}

#[test]
fn what_another_wrote_is_not_taken_for_ones_own() -> Result<(), Error> {
    if !Ability::Accounts.is_there() {
        return Ok(());
    }
    for has_side_tables in [true, false] {
        let database = Database::new().with_user();
        let (proxy, store) = store(&database, has_side_tables)?;
        let direct = options().connect(&database.url())?;
        // The session's deadline, which all its requests give.
        let expiry = in_an_hour();
        store.commit("token", b"5", expiry)?;
        assert!(!set(&store, "token", b"4", b"5", expiry)?);
        // Another request has counted to six as well, and was faster.
        assert!(set(&direct, "token", b"5", b"6", expiry)?);
        proxy.cut();
        let outcome = set(&store, "token", b"5", b"6", expiry);
        assert!(!matches!(outcome, Ok(true)), "both were told that they had counted");
        assert!(!rotate(&store, "missing", "other", b"6", expiry)?);
        proxy.cut();
        let outcome = rotate(&store, "missing", "token", b"6", expiry);
        assert!(!matches!(outcome, Ok(true)), "there was nothing to rename");
    }
    Ok(())
}

/// How many statements [`whole_change`] is, from START TRANSACTION to COMMIT. `TiDB` locks what is
/// absorbed before that is deleted.
fn statements_of_whole_change(database: &Database) -> u64 {
    if database.is_tidb() { 11 } else { 10 }
}

/// What a session and those that it absorbs look like before and after a change.
fn is_before(store: &MysqlStore) -> Result<bool, Error> {
    Ok(store.find("old")?.as_deref() == Some(b"before")
        && store.find("new")?.is_none()
        && store.load("new")? == Loaded::Missing
        && store.find("cart")?.as_deref() == Some(b"cart")
        && tokens_of(store, "before")? == ["old"]
        && tokens_of(store, "after")?.is_empty())
}

fn is_after(store: &MysqlStore) -> Result<bool, Error> {
    Ok(store.find("new")?.as_deref() == Some(b"after")
        && leads_to(store, "old", "new")?
        && leads_to(store, "cart", "new")?
        && tokens_of(store, "before")?.is_empty()
        && tokens_of(store, "after")? == ["new"])
}

fn begin(store: &MysqlStore) -> Result<(), Error> {
    for token in ["old", "new", "cart"] {
        store.delete(token)?;
    }
    store.create("old", b"before", in_an_hour(), Some("before"))?;
    store.create("cart", b"cart", in_an_hour(), None)
}

fn whole_change(store: &MysqlStore) -> Result<bool, Error> {
    let change = Change::new(b"after", in_an_hour())
        .with_rotation(Rotation::new("new"))
        .with_subject(Some("after"))
        .absorbing("cart", b"cart");
    store.update("old", b"before", &change)
}

/// Each statement of the transaction loses its reply once, and once never reaches the server.
#[test]
fn change_whose_connection_is_lost_at_any_statement_is_whole() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let statements = statements_of_whole_change(&database);
    let (proxy, store) = store_of_one_connection(&database, options())?;
    let direct = options().connect(&database.url())?;
    for is_delivered in [true, false] {
        let mut statement = 0;
        loop {
            // Prepared statements are a connection's own, so that a lost one is prepared again.
            begin(&direct)?;
            assert!(whole_change(&store)?);
            begin(&direct)?;
            let before = proxy.traffic.commands.load(Ordering::Acquire);
            proxy.cut_at(statement, is_delivered);
            let outcome = whole_change(&store);
            let was_cut = proxy.takes_cut_back();
            let name = format!("statement {statement}, delivered: {is_delivered}: {outcome:?}");
            // There are no other writers, so only a write that was done can be unknown.
            if was_cut && is_delivered && statement == statements - 1 {
                assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{name}");
            } else {
                assert!(matches!(outcome, Ok(true)), "{name}");
            }
            assert!(is_after(&direct)?, "{name}");
            if !was_cut {
                let commands = proxy.traffic.commands.load(Ordering::Acquire) - before;
                assert_eq!(commands, statements, "the transaction has as many");
                break;
            }
            statement += 1;
        }
        assert_eq!(statement, statements, "each was lost");
    }
    Ok(())
}

/// As above, without the time for a second attempt, or to read what happened.
#[test]
fn change_whose_outcome_is_unknown_is_whole_and_not_denied() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let statements = statements_of_whole_change(&database);
    let (proxy, store) =
        store_of_one_connection(&database, options().with_operation_timeout(Duration::ZERO))?;
    let direct = options().connect(&database.url())?;
    let mut is_known = 0;
    for is_delivered in [true, false] {
        for statement in 0..statements {
            begin(&direct)?;
            // A connection that was given up before fails the first attempt.
            while whole_change(&store).is_err() {}
            begin(&direct)?;
            proxy.cut_at(statement, is_delivered);
            let outcome = whole_change(&store);
            let name = format!("statement {statement}, delivered: {is_delivered}: {outcome:?}");
            assert!(proxy.takes_cut_back(), "{name}");
            // The server may still be about to commit, or to roll back.
            let mut other = database.connection();
            other.query_drop("SELECT * FROM sessions FOR UPDATE").expect("it waits for its end");
            let (is_before, is_after) = (is_before(&direct)?, is_after(&direct)?);
            assert!(is_before != is_after, "{name}: all or nothing");
            match outcome {
                Ok(is_done) => {
                    is_known += 1;
                    assert_eq!(is_done, is_after, "{name}");
                }
                Err(error) => assert!(error.is_retryable(), "{name}"),
            }
            let is_commit = statement == statements - 1 && is_delivered;
            assert_eq!(is_after, is_commit, "{name}");
        }
    }
    // Without time it can't even read.
    assert_eq!(is_known, 0);
    Ok(())
}

/// Two callers make the same session, of whom one loses the reply.
#[test]
fn creation_of_another_is_not_taken_for_ones_own() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let (proxy, store) = store_of_one_connection(&database, options())?;
    let direct = options().connect(&database.url())?;
    for subject in [None, Some("user")] {
        store.create("warm-up", b"data", in_an_hour(), subject)?;
        store.delete("warm-up")?;
        let expiry = in_an_hour();
        direct.create("token", b"data", expiry, subject)?;
        proxy.cut();
        let outcome = store.create("token", b"data", expiry, subject);
        assert!(
            matches!(outcome, Err(Error::TokenTaken | Error::Unreachable { .. })),
            "{outcome:?}"
        );
        direct.delete("token")?;
        // Each statement loses its reply once.
        let statements = if subject.is_some() { 4 } else { commands_of_a_write(&database) };
        for statement in 0..statements {
            store.create("warm-up", b"data", in_an_hour(), subject)?;
            store.delete("warm-up")?;
            proxy.cut_at(statement, true);
            let outcome = store.create("token", b"data", in_an_hour(), subject);
            assert!(proxy.takes_cut_back(), "statement {statement}");
            let is_last = statement == statements - 1;
            assert_eq!(matches!(outcome, Err(Error::Unreachable { .. })), is_last, "{outcome:?}");
            assert_eq!(outcome.is_ok(), !is_last, "{outcome:?}");
            assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
            assert_eq!(tokens_of(&store, "user")?.len(), usize::from(subject.is_some()));
            store.delete("token")?;
        }
    }
    Ok(())
}

/// A deletion that follows a rotation ends the session wherever it is interrupted.
#[test]
fn deletion_with_a_rotated_token_is_final_whatever_is_lost() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let (proxy, store) = store_of_one_connection(&database, options())?;
    let direct = options().connect(&database.url())?;
    let begin = || -> Result<(), Error> {
        direct.create("old", b"data", in_an_hour(), Some("user"))?;
        assert!(rotate(&direct, "old", "new", b"data", in_an_hour())?);
        Ok(())
    };
    let statements = if database.is_tidb() { 11 } else { 7 };
    for statement in 0..statements {
        begin()?;
        store.delete("old")?;
        begin()?;
        proxy.cut_at(statement, true);
        store.delete("old")?;
        assert!(proxy.takes_cut_back(), "statement {statement}");
        assert_eq!(store.load("new")?, Loaded::Missing, "statement {statement}");
        assert_eq!(tokens_of(&store, "user")?, [""; 0], "statement {statement}");
    }
    Ok(())
}

#[test]
fn interrupted_commit_leaves_no_transaction_to_the_next_operation() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let proxy = Proxy::to_database(&database);
    let one = NonZeroU32::new(1).expect("not zero");
    let pool = options().with_max_connections(one).pool(&proxy.url(&database.url()))?;
    options().create_table(&pool)?;
    let store = options().build(pool.clone())?;
    store.commit("token", b"data", in_an_hour())?;
    // Makes one attempt.
    let impatient = options().with_operation_timeout(Duration::from_millis(1)).build(pool)?;
    proxy.traffic.interrupt_next_commit.store(true, Ordering::Release);
    let outcome = rotate(&impatient, "token", "renamed", b"data", in_an_hour());
    assert!(!proxy.traffic.interrupt_next_commit.load(Ordering::Acquire));

    // What is acknowledged now is there for everybody, and the rotation was done or not.
    store.commit("acknowledged", b"data", in_an_hour())?;
    let elsewhere = options().connect(&database.url())?;
    assert!(elsewhere.find("acknowledged")?.is_some());
    let token = if outcome.is_ok() { "renamed" } else { "token" };
    assert!(elsewhere.find(token)?.is_some(), "{outcome:?}");
    Ok(())
}

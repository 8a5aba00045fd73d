//! What engines do differently, and the store doesn't.

use std::num::NonZeroU32;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mysql::prelude::Queryable;
use store_core::{Error, Store};
use store_mysql::{MysqlStore, mysql};
use test_servers::{Database, is_server_there};

use crate::writes::{leads_to, rotate, set, tokens_of};
use crate::{in_an_hour, options};

/// `TiDB` makes a statement again that has met with another writer, and answers with the number of
/// rows of the last attempt and the id of the first.
#[test]
fn update_is_true_once_for_each_write() -> Result<(), Error> {
    const WRITERS: usize = 8;
    const TARGET: u64 = 120;
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    database.run(MysqlStore::CREATE_TABLE);
    let store = options().connect(&database.url())?;
    store.create("counter", b"0", in_an_hour(), None)?;
    let counted = AtomicU64::new(0);
    let count = || -> Result<(), Error> {
        loop {
            let Some(data) = store.find("counter")? else { return Ok(()) };
            let value: u64 = String::from_utf8_lossy(&data).parse().map_err(Error::backend)?;
            if value >= TARGET {
                return Ok(());
            }
            let next = (value + 1).to_string();
            if set(&store, "counter", &data, next.as_bytes(), in_an_hour())? {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(count)).collect();
        writers.into_iter().try_for_each(|writer| writer.join().expect("no panic"))
    })?;
    assert_eq!(counted.into_inner(), TARGET);
    assert_eq!(store.find("counter")?, Some(TARGET.to_string().into_bytes()));
    Ok(())
}

/// A transaction of `TiDB` reads what was there when it began, also after it has waited for a lock.
#[test]
fn rotation_leads_on_what_was_recorded_while_it_waited() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    database.run(MysqlStore::CREATE_TABLE);
    let store = options().connect(&database.url())?;
    store.create("middle", b"data", in_an_hour(), None)?;
    let mut other = database.connection();
    // Another process that has the session absorb another one.
    for statement in [
        "BEGIN",
        "UPDATE sessions SET expiry = expiry + INTERVAL 1 SECOND WHERE token = 'middle'",
        "INSERT INTO sessions_rotations VALUES ('old', 'middle', 0, '2000-01-01', '2900-01-01')",
    ] {
        other.query_drop(statement).map_err(Error::backend)?;
    }
    let is_rotated = thread::scope(|scope| {
        let rotation = scope.spawn(|| rotate(&store, "middle", "new", b"data", in_an_hour()));
        database.wait_for_a_lock_wait(|| rotation.is_finished());
        assert!(!rotation.is_finished(), "the session is locked");
        other.query_drop("COMMIT").expect("nobody is in the way");
        rotation.join().expect("no panic")
    })?;
    assert!(is_rotated);
    assert!(leads_to(&store, "old", "new")?, "{:?}", store.load("old")?);
    Ok(())
}

/// A statement of `TiDB` that has waited for an entry doesn't look again for its session, unless
/// the entry was changed.
#[test]
fn subject_of_a_session_that_is_being_created_is_no_orphan() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let store = {
        let pool = options().pool(&database.url())?;
        options().create_table(&pool)?;
        options().build(pool)?
    };
    // What a Go program leaves that deletes a session.
    store.create("token", b"data", in_an_hour(), Some("user"))?;
    database.run("DELETE FROM sessions");
    let mut other = database.connection();
    // Another process that creates a session of the same user.
    for statement in [
        "BEGIN",
        "INSERT INTO sessions VALUES ('token', 'new', '2900-01-01')",
        "INSERT INTO sessions_subjects (token, subject) VALUES ('token', 'user') \
            ON DUPLICATE KEY UPDATE subject = 'user'",
    ] {
        other.query_drop(statement).map_err(Error::backend)?;
    }
    thread::scope(|scope| {
        let cleanup = scope.spawn(|| store.delete_expired());
        database.wait_for_a_lock_wait(|| cleanup.is_finished());
        assert!(!cleanup.is_finished(), "the entry is locked");
        other.query_drop("COMMIT").expect("nobody is in the way");
        cleanup.join().expect("no panic")
    })?;
    assert_eq!(tokens_of(&store, "user")?, ["token"]);
    Ok(())
}

/// `TiDB` tells in two ways that a statement has waited for too long. Only one has the code for it.
#[test]
fn session_that_a_crowd_writes_is_contended_at_worst() -> Result<(), Error> {
    const WRITERS: u32 = 32;
    const COMMITS: usize = 40;
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    database.run(MysqlStore::CREATE_TABLE);
    let store = options()
        .with_max_connections(NonZeroU32::new(WRITERS).expect("not zero"))
        .with_checkout_timeout(Duration::from_secs(60))
        // The wait for a lock is half as long.
        .with_network_timeout(Duration::from_secs(4))
        .connect(&database.url())?;
    let commit = || (0..COMMITS).try_for_each(|_| store.commit("token", b"data", in_an_hour()));
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(commit)).collect();
        for writer in writers {
            let outcome = writer.join().expect("no panic");
            assert!(matches!(outcome, Ok(()) | Err(Error::Contended { .. })), "{outcome:?}");
        }
    });
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
    Ok(())
}

/// `Vitess` answers a read with the result of another one that is under way.
#[test]
fn read_that_begins_after_a_write_sees_it() -> Result<(), Error> {
    const READERS: usize = 8;
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    options().create_table(&options().pool(&database.url())?)?;
    let store = options().connect(&database.url())?;
    // On the others there is nothing to be found by trying often.
    let writes = if database.is_vitess() { 200 } else { 20 };
    // Large enough for a read to take a while, in which others begin.
    let data = |number: usize| format!("{number:0>60000}").into_bytes();
    store.create("token", &data(0), in_an_hour(), None)?;
    store.create("even", &data(0), in_an_hour(), None)?;
    let is_over = AtomicBool::new(false);
    let read_all_the_time = || -> Result<(), Error> {
        while !is_over.load(Ordering::Relaxed) {
            store.find("token")?;
            store.load("even")?;
            store.load("odd")?;
        }
        Ok(())
    };
    let write_and_read = || -> Result<(), Error> {
        for number in 1..=writes {
            assert!(set(&store, "token", &data(number - 1), &data(number), in_an_hour())?);
            assert!(store.find("token")? == Some(data(number)), "write {number} isn't seen");
        }
        for number in 0..writes {
            let (old, new) = if number % 2 == 0 { ("even", "odd") } else { ("odd", "even") };
            assert!(rotate(&store, old, new, &data(0), in_an_hour())?);
            assert!(leads_to(&store, old, new)?, "rotation {number} isn't seen");
        }
        Ok(())
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read_all_the_time)).collect();
        let outcome = panic::catch_unwind(AssertUnwindSafe(write_and_read));
        is_over.store(true, Ordering::Relaxed);
        readers.into_iter().try_for_each(|reader| reader.join().expect("no panic"))?;
        outcome.unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

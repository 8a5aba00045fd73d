//! Replies that are lost, and what an operation says that made another attempt.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use mysql::prelude::Queryable;

use store_core::{Error, Store};
use store_mysql::{MysqlStore, mysql};

use crate::database::{CLASSIC, Database, in_an_hour, is_server_there, options};
use crate::proxy::Proxy;

/// A store behind a proxy, with the index of subjects or without.
fn store(database: &Database, has_subjects: bool) -> Result<(Proxy, MysqlStore), Error> {
    if has_subjects {
        options().create_table(&options().pool(&database.url())?)?;
    } else {
        database.run(CLASSIC);
    }
    let proxy = Proxy::to_database(database);
    let store = options().connect(&proxy.url(&database.url()))?;
    Ok((proxy, store))
}

/// Lets an operation reach the server, where it waits for a row; cuts its connection; and then lets the row go.
fn lose_while_it_waits<T: Send>(
    database: &Database,
    proxy: &Proxy,
    operation: impl FnOnce() -> T + Send,
) -> T {
    let mut other = database.connection();
    other.query_drop("BEGIN").expect("it begins");
    other.query_drop("SELECT * FROM sessions FOR UPDATE").expect("it locks");
    thread::scope(|scope| {
        let operation = scope.spawn(operation);
        // What waits for a lock is known to the server. Other tests use it as well.
        let waiting = "SELECT COUNT(*) FROM information_schema.INNODB_TRX AS waiting \
             JOIN information_schema.PROCESSLIST AS client ON client.ID = waiting.trx_mysql_thread_id \
             WHERE waiting.trx_state = 'LOCK WAIT' AND client.DB = ?";
        let mut watcher = database.connection();
        let mut is_waiting = || {
            let count: Option<u32> =
                watcher.exec_first(waiting, (database.name(),)).expect("root sees it");
            count.is_some_and(|count| count > 0)
        };
        while !is_waiting() && !operation.is_finished() {
            // The server looks anew only where it hasn't been asked for a tenth of a second.
            thread::sleep(Duration::from_millis(150));
        }
        proxy.traffic.keeps_server.store(true, Ordering::Release);
        proxy.cut();
        other.query_drop("COMMIT").expect("it lets go");
        operation.join().expect("no panic")
    })
}

#[test]
fn replace_that_was_made_is_not_denied() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let (proxy, store) = store(&database, true)?;
    store.commit("token", b"one", in_an_hour())?;
    assert!(store.replace("token", b"one", b"two", in_an_hour())?);
    let outcome = lose_while_it_waits(&database, &proxy, || {
        store.replace("token", b"two", b"three", in_an_hour())
    });
    let is_made = store.find("token")?.as_deref() == Some(b"three");
    assert!(!(is_made && matches!(outcome, Ok(false))), "{outcome:?}");
    Ok(())
}

#[test]
fn rename_that_was_made_is_not_denied() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    for has_subjects in [true, false] {
        let database = Database::new();
        let (proxy, store) = store(&database, has_subjects)?;
        store.commit("token", b"data", in_an_hour())?;
        assert!(store.rename("token", "other")? && store.rename("other", "token")?);
        let outcome = lose_while_it_waits(&database, &proxy, || store.rename("token", "new"));
        let is_made = store.find("new")?.is_some();
        assert_eq!(is_made, matches!(outcome, Ok(true)), "{outcome:?}");
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
fn replace_that_changes_the_expiry_alone_is_not_taken_for_made() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let (proxy, store) = store(&database, true)?;
    store.commit("token", b"data", in_an_hour())?;
    assert!(store.replace("token", b"data", b"data", in_an_hour())?);
    let later = in_an_hour() + TimeDelta::hours(9);
    proxy.cut();
    assert!(store.replace("token", b"data", b"data", later)?);
    let expiry = store.find_with_expiry("token")?.map(|(_, expiry)| expiry);
    assert!(expiry.is_some_and(|expiry| later - expiry < TimeDelta::milliseconds(1)), "{expiry:?}");
    Ok(())
}

#[test]
fn what_another_wrote_is_not_taken_for_ones_own() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    for has_subjects in [true, false] {
        let database = Database::new();
        let (proxy, store) = store(&database, has_subjects)?;
        let direct = options().connect(&database.url())?;
        // The session's deadline, which all its requests give.
        let expiry = in_an_hour();
        store.commit("token", b"5", expiry)?;
        assert!(!store.replace("token", b"4", b"5", expiry)?);
        // Another request has counted to six as well, and was faster.
        assert!(direct.replace("token", b"5", b"6", expiry)?);
        proxy.cut();
        let outcome = store.replace("token", b"5", b"6", expiry);
        assert!(!matches!(outcome, Ok(true)), "both were told that they had counted");
        assert!(!store.rename("missing", "other")?);
        proxy.cut();
        let outcome = store.rename("missing", "token");
        assert!(!matches!(outcome, Ok(true)), "there was nothing to rename");
    }
    Ok(())
}

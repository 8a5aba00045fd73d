//! The row by which logins that keep to a limit lock their user.

use mysql::prelude::Queryable;
use store_core::{Change, Error, Store};
use store_mysql::MysqlStore;
use test_servers::{Database, is_server_there};

use crate::in_an_hour;
use crate::writes::tokens_of;

fn store(database: &Database) -> Result<MysqlStore, Error> {
    let options = crate::options();
    let pool = options.pool(&database.url())?;
    MysqlStore::create_table(&pool)?;
    options.build(pool)
}

/// A login of "user", which expects these sessions.
fn log_in(store: &MysqlStore, token: &str, expected: &[&str]) -> Result<bool, Error> {
    let login = Change::new(b"data", in_an_hour())
        .with_subject(Some("user"))
        .expecting_sessions_of("user", expected.iter().copied());
    store.create_with(token, &login)
}

/// How many rows of the index are no session's.
fn locks(database: &Database) -> usize {
    let count = "SELECT COUNT(*) FROM sessions_subjects WHERE token LIKE ' %'";
    database.connection().query_first(count).expect("it counts").expect("a row")
}

#[test]
fn lock_of_a_subject_is_no_session_and_goes_with_the_cleanup() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let store = store(&database)?;
    // A row that is already there is another statement to the server.
    for (token, expected) in [("one", &[][..]), ("two", &["one"])] {
        assert!(log_in(&store, token, expected)?);
        assert_eq!(locks(&database), 1);
    }
    assert!(!log_in(&store, "three", &["two"])?);
    assert_eq!(tokens_of(&store, "user")?, ["one", "two"]);
    assert_eq!((store.count()?, store.all()?.len()), (2, 2));
    // Neither its token nor its values name anything.
    let mut connection = database.connection();
    let rows: Vec<(String, Vec<u8>)> = connection
        .query("SELECT token, subject FROM sessions_subjects WHERE token LIKE ' %'")
        .expect("it selects");
    for (token, subject) in rows {
        assert!(matches!(store.commit(&token, b"data", in_an_hour()), Err(Error::InvalidToken(_))));
        assert!(String::from_utf8(subject).is_err(), "no subject is like this");
    }

    // It goes though the user has sessions, and comes again.
    assert_eq!(store.delete_expired()?, 0, "it isn't counted as a session");
    assert_eq!(locks(&database), 0);
    assert_eq!(tokens_of(&store, "user")?, ["one", "two"]);
    assert!(!log_in(&store, "three", &["two"])?);
    assert!(log_in(&store, "three", &["two", "one"])?);
    assert_eq!(locks(&database), 1);
    assert_eq!(store.delete_by_subject("user", None)?, 3);
    assert!(log_in(&store, "four", &[])?);
    store.delete("four")?;
    store.delete_expired()?;
    let left: Option<String> =
        connection.query_first("SELECT token FROM sessions_subjects").expect("it selects");
    assert_eq!(left, None, "nothing is left of a user without sessions");
    Ok(())
}

/// Another session of the user may be locked for long, by a client that has vanished.
#[test]
fn login_waits_for_no_session_that_it_leaves_alone() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let store = store(&database)?;
    store.create("other", b"data", in_an_hour(), Some("user"))?;
    let mut connection = database.connection();
    for statement in [
        "START TRANSACTION",
        "UPDATE sessions SET data = 'locked' WHERE token = 'other'",
        "UPDATE sessions_subjects SET subject = 'locked' WHERE token = 'other'",
    ] {
        connection.query_drop(statement).expect("it runs");
    }
    assert!(log_in(&store, "own", &["other"])?);
    connection.query_drop("ROLLBACK").expect("it runs");
    assert_eq!(tokens_of(&store, "user")?, ["other", "own"]);
    Ok(())
}

/// A session that is created over an expired one has its own subject.
#[test]
fn login_takes_the_place_of_an_expired_session() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let store = store(&database)?;
    let ended = in_an_hour() - chrono::TimeDelta::hours(2);
    store.create("token", b"old", ended, Some("another"))?;
    assert!(log_in(&store, "token", &[])?);
    assert_eq!(tokens_of(&store, "user")?, ["token"]);
    assert!(tokens_of(&store, "another")?.is_empty());
    assert!(matches!(log_in(&store, "token", &["token"]), Err(Error::TokenTaken)));
    Ok(())
}

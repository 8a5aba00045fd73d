//! What concurrent operations do to one session, and values at the limits.

use std::error::Error as StdError;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{Change, Clock, Loaded, ManualClock, Rotation, Store};
use store_ql_compat::redb::backends::InMemoryBackend;
use store_ql_compat::redb::{Database, TableDefinition};
use store_ql_compat::{Error, QlStore};

use crate::{TestResult, in_an_hour, options};

#[test]
fn panic_of_a_visitor_is_its_own() -> TestResult {
    let store = options().in_memory()?;
    store.commit("token", b"data", in_an_hour())?;
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.for_each(&mut |_| panic!("the visitor's"))
    }));
    assert!(panicked.is_err());
    store.commit("token", b"new", in_an_hour())?;
    assert_eq!(store.find("token")?.as_deref(), Some(&b"new"[..]));
    Ok(())
}

/// It has more sessions than a step of the run looks at.
#[test]
fn cleanup_run_goes_through_a_large_table() -> TestResult {
    const SESSIONS: u64 = 25_000;
    let backend = InMemoryBackend::new();
    let database = Arc::new(Database::builder().create_with_backend(backend)?);
    let store = options().build(Arc::clone(&database))?;
    store.commit("live", b"data", in_an_hour())?;
    store.commit("expired", b"data", Utc::now() - TimeDelta::hours(1))?;
    let transaction = database.begin_write()?;
    {
        let mut sessions =
            transaction.open_table(TableDefinition::<&[u8], &[u8]>::new("sessions"))?;
        let mut value = |token: &[u8]| -> Result<_, Box<dyn StdError>> {
            Ok(sessions.remove(token)?.expect("it is there").value().to_vec())
        };
        let (live, expired) = (value(b"live")?, value(b"expired")?);
        for n in 0..SESSIONS {
            // The first, some in the middle, and the last.
            let has_expired = n % 3_000 == 0 || n == SESSIONS - 1;
            let value = if has_expired { &expired } else { &live };
            sessions.insert(format!("token-{n:05}").as_bytes(), &**value)?;
        }
    }
    transaction.commit()?;
    assert_eq!(store.delete_expired()?, 10);
    assert_eq!(store.count()?, SESSIONS - 10);
    Ok(())
}

#[test]
fn session_that_expires_while_a_writer_waits_is_not_revived() -> TestResult {
    type Operation = fn(&QlStore) -> Result<bool, Error>;
    let operations: [Operation; 3] = [
        |store| store.touch("token", in_an_hour()),
        |store| store.update("token", b"data", &Change::new(b"new", in_an_hour())),
        |store| {
            let change = Change::new(b"data", in_an_hour());
            store.update("token", b"data", &change.with_rotation(Rotation::new("rotated")))
        },
    ];
    for operation in operations {
        let directory = tempfile::tempdir()?;
        let database = Arc::new(Database::create(directory.path().join("app.redb"))?);
        let clock = Arc::new(ManualClock::new(Utc::now()));
        let store = options().with_clock(clock.clone()).build(Arc::clone(&database))?;
        store.commit("token", b"data", clock.now() + TimeDelta::minutes(1))?;
        let theirs = database.begin_write()?;
        thread::scope(|scope| -> TestResult {
            let waiting = scope.spawn(|| operation(&store));
            // Whether it waits already or begins later: it comes after this.
            clock.advance(TimeDelta::minutes(2));
            assert_eq!(store.find("token")?, None);
            theirs.abort()?;
            assert!(!waiting.join().expect("no panic")?);
            Ok(())
        })?;
        assert!(store.all()?.is_empty());
    }
    Ok(())
}

#[test]
fn walk_shows_sessions_whose_expiry_is_moved_during_it() -> TestResult {
    let clock = Arc::new(ManualClock::new(Utc::now()));
    let store = options().with_clock(clock.clone()).in_memory()?;
    let in_minutes = |minutes| clock.now() + TimeDelta::minutes(minutes);
    for token in ["a", "b", "c"] {
        store.commit(token, b"data", in_minutes(1))?;
    }
    let mut seen = Vec::new();
    store.for_each(&mut |record| {
        if seen.is_empty() {
            for token in ["a", "b", "c"] {
                assert!(store.touch(token, in_minutes(10)).is_ok_and(|is_live| is_live));
            }
            clock.advance(TimeDelta::minutes(2));
        }
        seen.push(record.token.to_owned());
        ControlFlow::Continue(())
    })?;
    assert_eq!(seen, ["a", "b", "c"]);
    Ok(())
}

#[test]
fn session_committed_over_an_expired_one_has_no_subject() -> TestResult {
    let store = options().in_memory()?;
    store.create("token", b"data", in_an_hour(), Some("somebody"))?;
    assert!(store.touch("token", Utc::now() - TimeDelta::hours(1))?);
    store.commit("token", b"somebody else's", in_an_hour())?;
    assert!(store.find_by_subject("somebody")?.is_empty());
    Ok(())
}

#[test]
fn subject_that_is_too_long_is_not_taken_for_its_beginning() -> TestResult {
    let store = options().in_memory()?;
    let longest = "s".repeat(255);
    store.create("of a subject", b"data", in_an_hour(), Some(&longest))?;
    store.commit("subject", b"data", in_an_hour())?;
    let longer = longest + "of a ";
    assert!(store.find_by_subject(&longer)?.is_empty());
    assert_eq!(store.delete_by_subject(&longer, None)?, 0);
    assert!(store.find("subject")?.is_some());
    Ok(())
}

#[test]
fn expiries_are_kept_to_the_nanosecond() -> TestResult {
    let store = options().in_memory()?;
    for expiry in [
        DateTime::<Utc>::MAX_UTC,
        "2261-12-31T23:59:60.999999999Z".parse()?,
        "9999-12-31T23:59:59.123456789Z".parse()?,
    ] {
        store.commit("token", b"data", expiry)?;
        assert_eq!(store.load("token")?, Loaded::Live { data: b"data".to_vec(), expiry });
    }
    Ok(())
}

//! Keys that change while there are sessions.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use session_manager::{CookiePolicy, Error, EventKind, Json, Resealed, Sealed, SessionManager};
use store_core::Store as _;

use crate::counting_store::{Failing, counting_store, token};
use crate::fixture::renewed;
use crate::{Events, Manager, TestResult, key_id, keys, manager_with, memory, row, rows};

fn with_keys(store: &Arc<impl store_core::Store + ?Sized + 'static>, ids: &[u8]) -> Manager {
    manager_with(Arc::clone(store), Sealed::new(Json, keys(ids)))
}

fn begin(sessions: &Manager) -> Result<String, Error> {
    let mut session = sessions.load([])?;
    session.set_subject("ada")?;
    session.insert("n", 1)?;
    Ok(token(&session.finish()?).expect("it is new"))
}

fn counts(done: Resealed) -> [u64; 3] {
    [done.resealed, done.missed, done.unopened]
}

/// The steps of the guide, with a process of each step beside one of the step before.
#[test]
fn keys_change_in_one_process_after_the_other() -> TestResult {
    let store = memory();
    let steps: [&[u8]; 4] = [&[1], &[1, 2], &[2, 1], &[2]];
    let first = with_keys(&store, steps[0]);
    let mut cookie = begin(&first)?;
    for two in steps.windows(2) {
        if two[1] == [2] {
            // The last step is taken once nothing needs the old key.
            while with_keys(&store, two[0]).reseal_all()? != Resealed::default() {}
        }
        for n in 0..4 {
            let sessions = with_keys(&store, two[n % 2]);
            let mut session = sessions.load([&*cookie])?;
            let value: i32 = session.get("n")?.expect("nobody is logged out");
            session.insert("n", value + 1)?;
            session.finish()?;
            assert_eq!(key_id(&row(&*store).1), two[n % 2][0], "the next write seals again");
            cookie = renewed(&sessions, &cookie)?;
        }
        if two[1] == [2] {
            assert_eq!(with_keys(&store, two[1]).load([&*cookie])?.get("n")?, Some(13));
        }
    }
    Ok(())
}

#[test]
fn resealing_changes_the_key_and_nothing_else() -> TestResult {
    let store = counting_store(Arc::new(store_core::SystemClock));
    let before = with_keys(&store, &[1]);
    let cookies = [begin(&before)?, begin(&before)?, begin(&before)?];
    let expiries = |sessions: &Manager| -> Result<Vec<_>, Error> {
        let mut expiries = Vec::new();
        sessions.for_each(|session| {
            expiries.push((session.key().as_str().to_owned(), session.expiry(), session.id()));
            std::ops::ControlFlow::Continue(())
        })?;
        expiries.sort_unstable();
        Ok(expiries)
    };
    let old = expiries(&before)?;
    let after = with_keys(&store, &[2, 1]);
    assert_eq!(counts(after.reseal_all()?), [3, 0, 0]);
    assert!(rows(&*store).values().all(|data| key_id(data) == 2));
    assert_eq!(counts(after.reseal_all()?), [0, 0, 0]);
    let alone = with_keys(&store, &[2]);
    assert_eq!(expiries(&alone)?, old);
    for cookie in cookies {
        let session = alone.load([&*cookie])?;
        assert_eq!((session.subject().as_deref(), session.get("n")?), (Some("ada"), Some(1)));
    }
    assert_eq!(alone.destroy_all_of("ada")?, 3, "the index is as it was");
    Ok(())
}

/// Each of the ways in which a request can come between the read and the write.
#[test]
fn resealing_overwrites_and_revives_nothing() -> TestResult {
    type Act = fn(&Manager, &str) -> TestResult;
    let acts: [(Act, [u64; 3], usize); 3] = [
        (
            |sessions, cookie| {
                let mut session = sessions.load([cookie])?;
                session.insert("n", 2)?;
                session.finish().map(drop)
            },
            [0, 1, 0],
            1,
        ),
        (|sessions, cookie| renewed(sessions, cookie).map(drop), [0, 1, 0], 1),
        (|sessions, cookie| sessions.load([cookie])?.destroy(), [0, 1, 0], 0),
    ];
    for (act, expected, left) in acts {
        let store = counting_store(Arc::new(store_core::SystemClock));
        let cookie = begin(&with_keys(&store, &[1]))?;
        // A process that knows the new key, and doesn't seal with it yet.
        let other = with_keys(&store, &[1, 2]);
        store.before(Failing::Update, move || {
            act(&other, &cookie).expect("memory doesn't fail");
        });
        let done = with_keys(&store, &[2, 1]).reseal_all()?;
        assert_eq!(counts(done), expected);
        let now = rows(&*store);
        assert_eq!(now.len(), left);
        assert!(now.values().all(|data| key_id(data) == 1), "what the request has written stays");
    }
    Ok(())
}

/// The walk reads a page of sessions at a time.
#[test]
fn session_that_is_renewed_after_the_walk_has_read_it_is_missed() -> TestResult {
    let store = counting_store(Arc::new(store_core::SystemClock));
    let cookie = begin(&with_keys(&store, &[1]))?;
    let other = with_keys(&store, &[1, 2]);
    store.before(Failing::Find, move || {
        renewed(&other, &cookie).expect("memory doesn't fail");
    });
    let sessions = with_keys(&store, &[2, 1]);
    assert_eq!(counts(sessions.reseal_all()?), [0, 1, 0]);
    assert_eq!(counts(sessions.reseal_all()?), [1, 0, 0]);
    Ok(())
}

#[test]
fn resealing_leaves_what_it_cannot_open_and_other_managers_sessions() -> TestResult {
    let store = memory();
    begin(&with_keys(&store, &[3]))?;
    let later = Utc::now() + TimeDelta::hours(1);
    store.commit("nonsense", b"\xC1\x01nonsense", later)?;
    store.commit("newer", b"\xC1\x02", later)?;
    // Another application's, in the same table, which doesn't seal.
    let office = SessionManager::new(Arc::clone(&store))
        .with_cookie(CookiePolicy::new().with_name("__Host-office"))?;
    let mut session = office.load([])?;
    session.insert("n", 1)?;
    let clerk = token(&session.finish()?).expect("it is new");

    let before = rows(&*store);
    let codec = Sealed::new(Json, keys(&[2, 1])).with_plain_opened();
    let (sessions, events) = Events::of(manager_with(Arc::clone(&store), codec));
    assert_eq!(counts(sessions.reseal_all()?), [0, 0, 2]);
    assert_eq!(rows(&*store), before);
    let events = events.take();
    assert_eq!(events.iter().filter(|kind| **kind == EventKind::Undecodable).count(), 1);
    assert_eq!(events.iter().filter(|kind| matches!(kind, EventKind::Unopened(_))).count(), 2);
    assert_eq!(office.load([&*clerk])?.get("n")?, Some(1));
    Ok(())
}

#[test]
fn resealing_that_fails_can_be_done_again() -> TestResult {
    let store = counting_store(Arc::new(store_core::SystemClock));
    let before = with_keys(&store, &[1]);
    begin(&before)?;
    begin(&before)?;
    let after = with_keys(&store, &[2, 1]);
    for failing in [Failing::Find, Failing::Update] {
        store.fail_once(failing);
        assert!(matches!(after.reseal_all(), Err(Error::Store(_))), "{failing:?}");
    }
    store.fail_once(Failing::UpdateUnheard);
    assert!(matches!(after.reseal_all(), Err(Error::Store(_))));
    assert_eq!(counts(after.reseal_all()?), [1, 0, 0], "one was done, unheard");
    Ok(())
}

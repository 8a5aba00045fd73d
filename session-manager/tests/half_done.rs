//! Requests that fail, or meet others, in the middle of being written: whoever knew the token before isn't logged in with
//! it, nobody who has logged out comes back, and every log in is in the index.

mod counting_store;

use std::sync::{Arc, mpsc};
use std::thread;

use chrono::{TimeDelta, Utc};
use counting_store::{CountingStore, Failing, token};
use session_manager::{Error, Session, SessionManager};
use store_core::{Store, SystemClock};

type TestResult = Result<(), Error>;

/// A manager, which lives for ever so that sessions can be passed around, and its store.
fn scene() -> (&'static SessionManager, Arc<CountingStore>) {
    let store = CountingStore::new(Arc::new(SystemClock));
    (Box::leak(Box::new(SessionManager::with_subjects(Arc::clone(&store)))), store)
}

/// Does something to a session, and gives the token that it has then.
fn request(
    sessions: &SessionManager,
    old: &str,
    act: impl FnOnce(&mut Session<'_>) -> TestResult,
) -> Result<String, Error> {
    let mut session = sessions.load([old])?;
    act(&mut session)?;
    Ok(token(&session.finish()?).unwrap_or_else(|| old.to_owned()))
}

fn anonymous(sessions: &SessionManager) -> Result<String, Error> {
    request(sessions, "", |session| session.insert("cart", 3))
}

fn logged_in(sessions: &SessionManager) -> Result<String, Error> {
    request(sessions, "", |session| session.set_subject("ada"))
}

fn is_listed(sessions: &SessionManager) -> Result<bool, Error> {
    Ok(!sessions.sessions_of("ada")?.is_empty())
}

/// Writes a session on a store that fails, and is well again afterwards; gives the error.
fn failed(store: &CountingStore, failing: Failing, session: Session<'_>) -> Option<Error> {
    store.fail(failing);
    let outcome = session.finish();
    store.fail(Failing::Nothing);
    outcome.err()
}

#[test]
fn log_in_that_fails_leaves_nobody_logged_in_under_the_old_token() -> TestResult {
    for failing in [Failing::Replace, Failing::ReplaceUnheard, Failing::DeleteBySubject] {
        let (sessions, store) = scene();
        let old = anonymous(sessions)?;
        let mut session = sessions.load([&*old])?;
        session.set_subject("ada")?;
        session.insert("user_id", 7)?;
        session.destroy_others()?;
        let error = failed(&store, failing, session);
        assert!(matches!(error, Some(Error::Store(_))), "{failing:?}");
        assert!(sessions.load([&*old])?.is_empty(), "{failing:?}");
        assert!(!is_listed(sessions)?, "{failing:?}");
        assert!(store.all()?.is_empty(), "{failing:?}: nobody knows the new token");
        let again = request(sessions, &old, |session| session.set_subject("ada"))?;
        assert!(again != old && is_listed(sessions)?, "{failing:?}: the visitor can try again");
    }
    Ok(())
}

#[test]
fn log_in_that_surely_was_not_written_leaves_the_visitor_as_before() -> TestResult {
    for failing in [Failing::ReplaceNeverMatches, Failing::SetSubject] {
        let (sessions, store) = scene();
        let old = anonymous(sessions)?;
        let mut session = sessions.load([&*old])?;
        session.set_subject("ada")?;
        assert!(failed(&store, failing, session).is_some(), "{failing:?}");
        let session = sessions.load([&*old])?;
        assert_eq!((session.get("cart")?, session.subject()), (Some(3), None), "{failing:?}");
        assert!(!is_listed(sessions)?, "{failing:?}");
    }
    Ok(())
}

#[test]
fn renewal_whose_answer_is_lost_leaves_the_visitor_as_before() -> TestResult {
    for failing in [Failing::Rename, Failing::RenameUnheard] {
        for merges in [false, true] {
            let (sessions, store) = scene();
            let (old, other) = (anonymous(sessions)?, logged_in(sessions)?);
            let mut session = sessions.load([&*old])?;
            if merges {
                assert!(session.merge(&other)?);
            } else {
                session.set_subject("grace")?;
            }
            // Once, because the way back is a renaming as well.
            store.fail_once(failing);
            assert!(session.finish().is_err(), "{failing:?}");
            assert_eq!(sessions.load([&*old])?.get("cart")?, Some(3), "{failing:?}");
            assert_eq!(sessions.load([&*other])?.subject().as_deref(), Some("ada"), "{failing:?}");
        }
    }
    Ok(())
}

#[test]
fn session_that_only_others_can_read_keeps_its_token() -> TestResult {
    let (sessions, store) = scene();
    let old = anonymous(sessions)?;
    let before: Vec<_> = store.all()?.into_keys().collect();
    let mut session = sessions.load([&*old])?;
    session.set_subject("ada")?;
    let same = Arc::clone(&store);
    store.before(Failing::Replace, move || {
        for key in same.all().expect("the store is well").into_keys() {
            let in_an_hour = Utc::now() + TimeDelta::hours(1);
            same.commit(&key, b"of another version", in_an_hour).expect("the store is well");
        }
    });
    assert_eq!(token(&session.finish()?), None);
    assert_eq!(store.all()?.into_keys().collect::<Vec<_>>(), before);
    Ok(())
}

#[test]
fn log_out_everywhere_misses_no_session_that_was_to_change_hands() -> TestResult {
    let (sessions, store) = scene();
    let token = logged_in(sessions)?;
    let mut session = sessions.load([&*token])?;
    session.set_subject("grace")?;
    store.before(Failing::Replace, move || {
        sessions.destroy_all("ada").expect("the store is well");
    });
    assert!(failed(&store, Failing::ReplaceNeverMatches, session).is_some());
    assert!(sessions.load([&*token])?.is_empty());
    assert!(store.all()?.is_empty());
    Ok(())
}

#[test]
fn tie_is_undone_to_what_the_newest_data_say() -> TestResult {
    let (sessions, store) = scene();
    let token = logged_in(sessions)?;
    let load = || sessions.load([&*token]);
    let [mut clearing, mut failing, mut setting] = [load()?, load()?, load()?];
    clearing.clear_subject()?;
    clearing.insert("visits", "many")?;
    failing.set_subject("ada")?;
    failing.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
    setting.set_subject("ada")?;
    setting.insert("theme", "dark")?;
    let same = Arc::clone(&store);
    store.before(Failing::Replace, move || {
        clearing.finish().expect("the store is well");
        same.before(Failing::SetSubject, move || {
            setting.finish().expect("the store is well");
        });
    });
    assert!(matches!(failing.finish(), Err(Error::WrongType { .. })));
    assert_eq!(sessions.load([&*token])?.subject().as_deref(), Some("ada"));
    assert!(is_listed(sessions)?);
    Ok(())
}

#[test]
fn session_stays_in_the_index_where_nobody_can_tell_what_its_newest_data_say() -> TestResult {
    let (sessions, store) = scene();
    let token = logged_in(sessions)?;
    let [mut clearing, mut setting] = [sessions.load([&*token])?, sessions.load([&*token])?];
    clearing.clear_subject()?;
    setting.set_subject("ada")?;
    setting.insert("theme", "dark")?;
    let same = Arc::clone(&store);
    store.before(Failing::SetSubject, move || {
        setting.finish().expect("the store is well");
        same.fail(Failing::Find);
    });
    assert!(clearing.finish().is_err());
    store.fail(Failing::Nothing);
    assert_eq!(sessions.load([&*token])?.subject().as_deref(), Some("ada"));
    assert!(is_listed(sessions)?);
    Ok(())
}

#[test]
fn session_that_could_not_be_written_keeps_its_place_in_the_index() -> TestResult {
    for failing in [Failing::Replace, Failing::ReplaceNeverMatches, Failing::ReplaceUnheard] {
        let (sessions, store) = scene();
        let token = logged_in(sessions)?;
        for clears in [true, false] {
            let mut session = sessions.load([&*token])?;
            if clears {
                session.clear_subject()?;
            } else {
                session.set_subject("grace")?;
            }
            assert!(failed(&store, failing, session).is_some(), "{failing:?}");
            let subject = sessions.load([&*token])?.subject();
            if subject.as_deref() == Some("ada") {
                assert!(is_listed(sessions)?, "{failing:?}, clears: {clears}");
            }
        }
    }
    Ok(())
}

#[test]
fn subject_that_one_request_clears_and_another_sets_is_in_the_index() -> TestResult {
    for operation in [Failing::Replace, Failing::SetSubject] {
        for clears_first in [true, false] {
            let (sessions, store) = scene();
            let token = logged_in(sessions)?;
            let [mut session, mut other] = [sessions.load([&*token])?, sessions.load([&*token])?];
            let (clearing, setting) =
                if clears_first { (&mut session, &mut other) } else { (&mut other, &mut session) };
            clearing.clear_subject()?;
            setting.set_subject("ada")?;
            setting.insert("visits", 1)?;
            store.before(operation, move || drop(other.finish().expect("the store is well")));
            session.finish()?;
            let session = sessions.load([&*token])?;
            if session.subject().is_some() {
                assert!(is_listed(sessions)?, "{operation:?}, clears first: {clears_first}");
            }
        }
    }
    Ok(())
}

#[test]
fn log_out_holds_though_a_renewal_is_undone_after_it() -> TestResult {
    for operation in [Failing::SetSubject, Failing::Replace] {
        let (sessions, store) = scene();
        let old = anonymous(sessions)?;
        let mut session = sessions.load([&*old])?;
        session.set_subject("ada")?;
        let mut log_out = sessions.load([&*old])?;
        log_out.destroy();
        store.before(operation, move || drop(log_out.finish().expect("the store is well")));
        assert!(failed(&store, operation, session).is_some(), "{operation:?}");
        assert!(sessions.load([&*old])?.is_empty(), "{operation:?}");
        assert!(store.all()?.is_empty(), "{operation:?}");
    }
    Ok(())
}

#[test]
fn log_out_holds_though_a_renewal_is_undone_in_the_middle_of_it() -> TestResult {
    let (sessions, store) = scene();
    let old = anonymous(sessions)?;
    let mut session = sessions.load([&*old])?;
    session.set_subject("ada")?;
    let mut log_out = sessions.load([&*old])?;
    log_out.destroy();
    let (tell, hear) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let (leave, left) = mpsc::channel();
    let same = Arc::clone(&store);
    store.before(Failing::SetSubject, move || {
        same.before(Failing::AfterDelete, move || {
            tell.send(()).expect("the other request waits");
            wait.recv().expect("the other request tells");
        });
        leave.send(thread::spawn(|| log_out.finish().map(drop))).expect("the test listens");
        hear.recv().expect("the log out comes to the store");
    });
    assert!(failed(&store, Failing::SetSubject, session).is_some());
    go_on.send(()).expect("the log out waits");
    left.recv().expect("it has begun").join().expect("no panic")?;
    assert!(sessions.load([&*old])?.is_empty());
    assert!(store.all()?.is_empty());
    Ok(())
}

#[test]
fn log_out_holds_though_a_merge_is_undone_after_it() -> TestResult {
    for is_loaded_before in [true, false] {
        let (sessions, store) = scene();
        let (own, other) = (anonymous(sessions)?, logged_in(sessions)?);
        let mut session = sessions.load([&*own])?;
        assert!(session.merge(&other)?);
        let early = if is_loaded_before { Some(sessions.load([&*other])?) } else { None };
        let others_token = other.clone();
        store.before(Failing::Replace, move || {
            let load = || sessions.load([&*others_token]).expect("the store is well");
            let mut log_out = early.unwrap_or_else(load);
            log_out.destroy();
            log_out.finish().expect("the store is well");
        });
        assert!(failed(&store, Failing::Replace, session).is_some());
        assert!(sessions.load([&*other])?.is_empty());
        assert!(!is_listed(sessions)?);
    }
    Ok(())
}

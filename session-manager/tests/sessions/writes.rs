//! What requests ask of the store, and what becomes of a request that fails.

use std::sync::Arc;

use session_manager::{Error, SessionManager, Status};
use store_core::SystemClock;

use crate::TestResult;
use crate::counting_store;
use crate::counting_store::{Failing, token};
use crate::fixture::{Fixture, renewed};

#[test]
fn reading_costs_one_find_and_writes_nothing() -> TestResult {
    let fixture = Fixture::new();
    let token = fixture.stored()?;
    let untouched = fixture.sessions.load([&*token])?;
    assert_eq!(untouched.finish()?.headers, [], "nothing depends on the cookie");
    assert_eq!(fixture.store.calls().take(), (1, 0, 0));

    let session = fixture.sessions.load([&*token])?;
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    assert_eq!(session.status(), Status::Unmodified);
    assert_eq!(session.finish()?.headers, [("Vary", "Cookie".to_owned())]);
    assert_eq!(fixture.store.calls().take(), (1, 0, 0));

    // A fresh session that is only looked at isn't stored.
    let session = fixture.sessions.load([])?;
    assert_eq!(session.get::<String>("name")?, None);
    assert_eq!(session.finish()?.headers, [("Vary", "Cookie".to_owned())]);
    assert_eq!(fixture.store.calls().take(), (0, 0, 0));
    assert_eq!(fixture.rows(), 1);
    assert_eq!(fixture.events(), []);
    Ok(())
}

#[test]
fn writing_costs_one_write_and_what_comes_to_nothing_none() -> TestResult {
    let fixture = Fixture::new();
    let token = fixture.stored()?;
    let mut session = fixture.sessions.load([&*token])?;
    session.insert("name", "Grace")?;
    session.insert("visits", 1)?;
    assert_eq!(session.status(), Status::Modified);
    session.finish()?;
    assert_eq!(fixture.store.calls().take(), (1, 0, 1));

    let mut session = fixture.sessions.load([&*token])?;
    session.insert("name", "Grace")?;
    session.flash("notice", "Never shown.")?;
    session.take_flash::<String>("notice")?;
    session.finish()?;
    assert_eq!(fixture.store.calls().take(), (1, 0, 0), "the data is what it was");

    let mut session = fixture.sessions.load([])?;
    session.insert("name", "nobody")?;
    session.remove("name");
    assert_eq!(counting_store::token(&session.finish()?), None);
    assert_eq!(fixture.store.calls().take(), (0, 0, 0), "there is nothing to store");
    Ok(())
}

#[test]
fn sessions_of_a_user_are_one_read_however_many_there_are() -> TestResult {
    let fixture = Fixture::new();
    for n in 0..50 {
        let mut session = fixture.sessions.load([])?;
        session.set_subject("ada")?;
        session.insert("n", n)?;
        session.finish()?;
    }
    fixture.store.calls().take();
    assert_eq!(fixture.sessions.sessions_of("ada")?.len(), 50);
    assert_eq!(fixture.store.calls().take(), (0, 0, 0), "but for the one that finds them");
    assert_eq!(fixture.store.calls().take_searches(), 1);
    Ok(())
}

#[test]
fn renewals_in_a_loop_leave_one_session_that_a_logout_ends_in_one_step() -> TestResult {
    let fixture = Fixture::new();
    let first = fixture.stored()?;
    let mut newest = first.clone();
    for n in 0..50 {
        if n % 2 == 0 {
            fixture.store.fail(Failing::Update);
            let mut session = fixture.sessions.load([&*newest])?;
            session.renew()?;
            assert!(session.finish().is_err());
            fixture.store.fail(Failing::Nothing);
        }
        newest = renewed(&fixture.sessions, &newest)?;
    }
    assert_eq!(fixture.rows(), 1);
    fixture.store.calls().take();
    let mut log_out = fixture.sessions.load([&*first])?;
    log_out.destroy()?;
    log_out.finish()?;
    assert_eq!(fixture.store.calls().take(), (1, 0, 1));
    assert!(fixture.sessions.load([&*newest])?.is_empty());
    Ok(())
}

#[test]
fn dropped_session_changes_nothing() -> TestResult {
    let fixture = Fixture::new();
    let token = fixture.stored()?;
    let before = fixture.row();
    let mut session = fixture.sessions.load([&*token])?;
    session.insert("name", "Grace")?;
    session.renew()?;
    drop(session);
    assert_eq!(fixture.row(), before);

    // A logout is carried out whatever becomes of the request.
    let mut session = fixture.sessions.load([&*token])?;
    session.destroy()?;
    session.insert("name", "Grace")?;
    drop(session);
    assert_eq!(fixture.rows(), 0);
    Ok(())
}

#[test]
fn faults_of_the_store_are_typed() -> TestResult {
    let fixture = Fixture::new();
    let token = fixture.stored()?;
    fixture.store.fail(Failing::Find);
    match fixture.sessions.load([&*token]) {
        Err(error @ Error::Store(store_core::Error::Unreachable { .. })) => {
            assert!(error.is_retryable());
        }
        other => panic!("{other:?}"),
    }
    fixture.store.fail(Failing::Create);
    let mut session = fixture.sessions.load([])?;
    session.set_subject("7")?;
    assert!(matches!(session.finish(), Err(Error::Store(_))));
    assert_eq!(fixture.rows(), 1, "a session that can't be linked isn't left behind");
    Ok(())
}

#[test]
fn endless_conflict_is_given_up_with_an_error() -> TestResult {
    let store = counting_store::counting_store(Arc::new(SystemClock));
    let sessions = SessionManager::new(Arc::clone(&store));
    let mut session = sessions.load([])?;
    session.insert("a", 1)?;
    let token = token(&session.finish()?).expect("it is new");
    store.fail(Failing::UpdateNeverMatches);
    let mut session = sessions.load([&*token])?;
    session.insert("a", 2)?;
    match session.finish() {
        Err(error @ Error::Conflict { attempts: 64 }) => assert!(error.is_retryable()),
        other => panic!("{other:?}"),
    }
    store.fail(Failing::Nothing);
    assert_eq!(sessions.load([&*token])?.get("a")?, Some(1));
    Ok(())
}

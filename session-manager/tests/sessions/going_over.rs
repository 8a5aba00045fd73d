//! Going over from plain tokens in the store to hashed ones.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use session_manager::{CookiePolicy, EndCause, Error, EventKind, SessionManager};
use store_core::{Clock as _, Store as _};

use crate::TestResult;
use crate::counting_store::token;
use crate::fixture::Fixture;

/// A manager that goes over, next to one with plain tokens on the same store.
fn going_over() -> (Fixture, SessionManager) {
    let fixture = Fixture::new();
    let plain = SessionManager::new(Arc::clone(&fixture.store))
        .with_clock(fixture.clock.clone())
        .with_plain_tokens_in_store();
    (fixture.with(|sessions| Ok(sessions.with_hashed_tokens_and_plain_fallback())), plain)
}

/// Stores a session under its token, as Go does or as ours does with plain tokens.
fn plain_session(fixture: &Fixture, plain: &SessionManager, is_go: bool) -> Result<String, Error> {
    let token = if is_go {
        // SCS's table, and the JSON of its codec in the guide.
        let token = format!("{}E", "Go_-".repeat(10) + "ab");
        let data = br#"{"v":1,"deadline":"2026-06-02T11:00:00Z","values":{"name":"Ada"}}"#;
        fixture.store.commit(&token, data, fixture.clock.now() + TimeDelta::hours(23))?;
        token
    } else {
        let mut session = plain.load([])?;
        session.insert("name", "Ada")?;
        token(&session.finish()?).expect("it is new")
    };
    fixture.store.calls().take();
    Ok(token)
}

fn name(sessions: &SessionManager, token: &str) -> Result<Option<String>, Error> {
    sessions.load([token])?.get("name")
}

#[test]
fn plain_session_is_moved_by_its_first_request_and_nobody_notices() -> TestResult {
    for is_go in [false, true] {
        let (fixture, plain) = going_over();
        let own = plain_session(&fixture, &plain, is_go)?;
        let (_, _, expiry) = fixture.row();

        let session = fixture.sessions.load([&*own])?;
        assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
        assert_eq!(session.token(), Some(&*own));
        let (id, deadline) = (session.id(), session.deadline());
        let finished = session.finish()?;
        assert_eq!(token(&finished), None, "the browser keeps its cookie");
        assert_eq!(fixture.store.calls().take(), (2, 0, 1), "one more read, and the move");
        let (key, data, moved_expiry) = fixture.row();
        assert_ne!(key, own);
        assert!(!String::from_utf8_lossy(&data).contains(&own));
        assert_eq!(moved_expiry, expiry);
        assert_eq!(fixture.events(), [], "it is the same session");

        for is_after_grace in [false, true] {
            if is_after_grace {
                fixture.clock.advance(TimeDelta::minutes(1));
            }
            fixture.store.calls().take();
            let session = fixture.sessions.load([&*own])?;
            assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
            assert_eq!((session.id(), session.deadline()), (id, deadline));
            session.finish()?;
            assert_eq!(fixture.store.calls().take(), (1, 0, 0), "as any other session");
            // The key of the store is worth nothing.
            assert_eq!(name(&fixture.sessions, &key)?, None);
        }
        assert_eq!(name(&plain, &own)?, None);
        assert_eq!(name(&plain, &key)?, None);
    }
    Ok(())
}

#[test]
fn requests_under_way_during_the_move_lose_nothing() -> TestResult {
    for is_go in [false, true] {
        let (fixture, plain) = going_over();
        let own = plain_session(&fixture, &plain, is_go)?;
        let sessions = &fixture.sessions;
        let mut requests = [(); 3].map(|()| sessions.load([&*own]).expect("memory doesn't fail"));
        for (n, session) in requests.iter_mut().enumerate() {
            session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1)?;
            session.insert(&format!("from {n}"), n)?;
        }
        let mut logging_in = sessions.load([&*own])?;
        for session in requests {
            assert_eq!(token(&session.finish()?), None);
        }
        logging_in.set_subject("7")?;
        logging_in.update("n", |n: Option<u32>| n.unwrap_or(0) + 1)?;
        let new = token(&logging_in.finish()?).expect("rights change");
        let session = sessions.load([&*new])?;
        assert_eq!((session.get("n")?, session.subject().as_deref()), (Some(4), Some("7")));
        assert_eq!(session.keys().count(), 5);
        assert_eq!(fixture.rows(), 1);
    }
    Ok(())
}

#[test]
fn login_with_a_plain_token_gets_a_new_one() -> TestResult {
    for is_go in [false, true] {
        let (fixture, plain) = going_over();
        let planted = plain_session(&fixture, &plain, is_go)?;
        let mut session = fixture.sessions.load([&*planted])?;
        session.set_subject("7")?;
        assert_ne!(session.token(), Some(&*planted));
        let new = token(&session.finish()?).expect("rights change");
        assert_ne!(new, planted);
        assert_eq!(fixture.sessions.load([&*new])?.subject().as_deref(), Some("7"));
        let mut old = fixture.sessions.load([&*planted])?;
        assert!(old.is_empty() && old.subject().is_none());
        old.insert("late", 1)?;
        assert!(matches!(old.finish(), Err(Error::Superseded)));
        fixture.clock.advance(TimeDelta::minutes(1));
        assert_eq!(fixture.sessions.load([&*planted])?.subject(), None);
        assert_eq!(fixture.sessions.sessions_of("7")?.len(), 1);
    }
    Ok(())
}

#[test]
fn key_of_a_hashed_session_opens_nothing_where_plain_tokens_do() -> TestResult {
    let (fixture, plain) = going_over();
    let fixture = fixture.with(|sessions| sessions.with_rotation(Duration::from_secs(600)));
    let moved = plain_session(&fixture, &plain, false)?;
    fixture.sessions.load([&*moved])?.finish()?;
    let (key, ..) = fixture.row();
    fixture.clock.advance(TimeDelta::minutes(10));
    let rotated = token(&fixture.sessions.load([&*moved])?.finish()?).expect("it is due");
    // In the grace both the old token and the old key lead to the session.
    assert!(name(&fixture.sessions, &moved)?.is_some());
    let (newest, ..) = fixture.row();
    for (key, is_newest) in [(&key, false), (&newest, true)] {
        fixture.events();
        let mut session = fixture.sessions.load([&**key])?;
        assert!(session.is_empty() && session.token().is_none() && session.key().is_none());
        // The old one looks like a plain token that was rotated before the session was moved.
        let unknown: &[_] = if is_newest { &[EventKind::UnknownToken] } else { &[] };
        assert_eq!(fixture.events(), unknown);
        assert!(!fixture.sessions.load([])?.merge(key)?);
        session.insert("planted", 1)?;
        if is_newest {
            assert_ne!(token(&session.finish()?).expect("it is new"), **key);
        } else {
            assert!(matches!(session.finish(), Err(Error::Superseded)));
        }
        assert!(!fixture.sessions.load([&*rotated])?.contains("planted"));
    }
    assert!(name(&fixture.sessions, &rotated)?.is_some());
    Ok(())
}

#[test]
fn logout_of_a_plain_session_is_final_though_it_is_moved_meanwhile() -> TestResult {
    for is_go in [false, true] {
        for moves in 0..3 {
            let (fixture, plain) = going_over();
            let own = plain_session(&fixture, &plain, is_go)?;
            let mut leaving = fixture.sessions.load([&*own])?;
            let mut slow = fixture.sessions.load([&*own])?;
            slow.insert("late", 1)?;
            if moves == 1 {
                fixture.sessions.load([&*own])?.finish()?;
            }
            fixture.events();
            // Also if the cookie isn't the first.
            if moves == 2 {
                let other = {
                    let mut session = fixture.sessions.load([])?;
                    session.insert("other", 1)?;
                    token(&session.finish()?).expect("it is new")
                };
                leaving = fixture.sessions.load([&*other, &*own])?;
                assert!(leaving.contains("other"));
                fixture.events();
            }
            leaving.destroy()?;
            let ended = vec![EventKind::Ended(EndCause::Logout); if moves == 2 { 2 } else { 1 }];
            assert_eq!(fixture.events(), ended, "{moves}");
            assert_eq!(token(&leaving.finish()?).as_deref(), Some(""));
            assert_eq!(fixture.rows(), 0);
            assert!(matches!(slow.finish(), Err(Error::Superseded)));
            assert_eq!(name(&fixture.sessions, &own)?, None);
        }
    }
    Ok(())
}

#[test]
fn token_that_is_only_moved_is_as_old_as_before() -> TestResult {
    for is_go in [false, true] {
        let (fixture, plain) = going_over();
        let fixture = fixture.with(|sessions| sessions.with_rotation(Duration::from_secs(600)));
        let plain = plain.with_rotation(Duration::from_secs(600))?;
        let own = plain_session(&fixture, &plain, is_go)?;
        fixture.clock.advance(TimeDelta::minutes(10));
        let under_way = fixture.sessions.load([&*own])?;
        assert_eq!(token(&fixture.sessions.load([&*own])?.finish()?), None);
        let new = token(&fixture.sessions.load([&*own])?.finish()?).expect("it is due");
        assert!(name(&fixture.sessions, &new)?.is_some());
        assert!(name(&fixture.sessions, &own)?.is_some(), "for the grace");
        assert_eq!(token(&under_way.finish()?), None);
    }
    Ok(())
}

#[test]
fn plain_sessions_are_merged_and_listed_and_those_of_others_are_not() -> TestResult {
    let (fixture, plain) = going_over();
    let other = plain_session(&fixture, &plain, true)?;
    let mut session = fixture.sessions.load([])?;
    session.insert("cart", 3)?;
    let own = token(&session.finish()?).expect("it is new");
    let mut session = fixture.sessions.load([&*own])?;
    assert!(session.merge(&other)?);
    session.finish()?;
    assert_eq!(fixture.sessions.load([&*own])?.keys().collect::<Vec<_>>(), ["cart", "name"]);
    assert_eq!((fixture.rows(), name(&fixture.sessions, &other)?), (1, None));

    let mut session = plain.load([])?;
    session.set_subject("7")?;
    let listed = token(&session.finish()?).expect("it is new");
    assert_eq!(fixture.sessions.sessions_of("7")?.len(), 1);
    fixture.sessions.load([&*listed])?.finish()?;
    assert_eq!(fixture.sessions.sessions_of("7")?.len(), 1, "and after the move");

    let office = SessionManager::new(Arc::clone(&fixture.store))
        .with_plain_tokens_in_store()
        .with_cookie(CookiePolicy::new().with_name("__Host-office"))?;
    let mut session = office.load([])?;
    session.insert("name", "Grace")?;
    let clerk = token(&session.finish()?).expect("it is new");
    assert_eq!(name(&fixture.sessions, &clerk)?, None);
    fixture.sessions.load([&*clerk])?.destroy()?;
    assert_eq!(name(&office, &clerk)?.as_deref(), Some("Grace"));

    // Without the option, and with one of the others after it, tokens in the store are no cookies.
    let hashed = SessionManager::new(Arc::clone(&fixture.store));
    let again = plain_session(&fixture, &plain, true)?;
    assert_eq!(name(&hashed, &again)?, None);
    let scs = hashed.with_hashed_tokens_and_plain_fallback().with_scs_hashed_tokens_in_store();
    assert_eq!(name(&scs, &again)?, None);
    Ok(())
}

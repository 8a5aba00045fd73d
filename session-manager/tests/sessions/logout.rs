//! Sessions that end: this one, the others of its user, and all of them.

use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::TimeDelta;
use session_manager::{EndCause, Error, EventKind, SessionManager, Status};
use store_core::{Clock as _, MemoryStore, Store as _};

use crate::TestResult;
use crate::counting_store::token;
use crate::fixture::{Fixture, header, logged_in_sessions, manager};

#[test]
fn destroyed_session_is_gone_from_store_and_browser() -> TestResult {
    let fixture = Fixture::new();
    let old = fixture.stored()?;
    let mut session = fixture.sessions.load([&*old])?;
    session.destroy()?;
    assert_eq!(session.status(), Status::Destroyed);
    assert!(session.is_empty());
    assert_eq!(session.token(), None);
    let finished = session.finish()?;
    assert_eq!(token(&finished).as_deref(), Some(""));
    let set_cookie = header(&finished.headers, "Set-Cookie").expect("it takes the cookie away");
    assert!(set_cookie.contains("Max-Age=0") && set_cookie.contains("Expires=Thu, 01 Jan 1970"));
    assert_eq!(header(&finished.headers, "Cache-Control"), Some("no-store"));
    assert_eq!(fixture.rows(), 0);
    assert_eq!(fixture.events(), [EventKind::Ended(EndCause::Logout)]);
    assert!(fixture.sessions.load([&*old])?.is_empty());

    let mut fresh = fixture.sessions.load([])?;
    fresh.destroy()?;
    assert_eq!(token(&fresh.finish()?), None, "there was no cookie to take away");
    Ok(())
}

#[test]
fn what_follows_a_destruction_goes_into_a_fresh_session() -> TestResult {
    let fixture = Fixture::new();
    let old = fixture.stored()?;
    let mut session = fixture.sessions.load([&*old])?;
    session.insert("last", "words")?;
    session.destroy()?;
    session.flash("notice", "You are logged out.")?;
    assert_eq!(session.status(), Status::Modified);
    let new = token(&session.finish()?).expect("it is new");
    assert!(!new.is_empty() && new != old);
    assert_eq!(fixture.rows(), 1);
    assert_eq!(fixture.events(), [EventKind::Ended(EndCause::Logout), EventKind::Created]);

    let mut session = fixture.sessions.load([&*new])?;
    assert!(!session.contains("name") && !session.contains("last"));
    let notice: Option<String> = session.take_flash("notice")?;
    assert_eq!(notice.as_deref(), Some("You are logged out."));
    session.finish()?;
    let mut session = fixture.sessions.load([&*new])?;
    assert_eq!(session.take_flash::<String>("notice")?, None, "it was shown once");
    Ok(())
}

#[test]
fn login_with_a_token_that_was_logged_out_a_moment_ago_is_one() -> TestResult {
    let fixture = Fixture::new();
    let old = fixture.stored()?;
    let mut log_out = fixture.sessions.load([&*old])?;
    log_out.destroy()?;
    log_out.finish()?;
    let mut session = fixture.sessions.load([&*old])?;
    session.renew()?;
    session.insert("user_id", 7)?;
    assert_eq!(session.status(), Status::Modified);
    let new = token(&session.finish()?).expect("its own session");
    assert_eq!(fixture.sessions.load([&*new])?.get("user_id")?, Some(7));
    Ok(())
}

#[test]
fn logout_ends_a_session_that_another_process_renews_at_the_same_moment() -> TestResult {
    let store = Arc::new(MemoryStore::new()?);
    let sessions = SessionManager::new(Arc::clone(&store));
    let elsewhere = SessionManager::new(store);
    for is_loaded_before in [true, false] {
        let old = logged_in_sessions(&sessions, 1)?.remove(0);
        let early = if is_loaded_before { Some(elsewhere.load([&*old])?) } else { None };
        let mut renewing = sessions.load([&*old])?;
        renewing.renew()?;
        let new = token(&renewing.finish()?).expect("it is renewed");
        let mut leaving = match early {
            Some(session) => session,
            None => elsewhere.load([&*old])?,
        };
        leaving.destroy()?;
        leaving.finish()?;
        assert_eq!(sessions.destroy_all_of("7")?, 0, "nobody is logged in");
        assert!(sessions.load([&*new])?.is_empty());
    }
    Ok(())
}

#[test]
fn logout_everywhere_else_and_then_here_ends_all_sessions() -> TestResult {
    let sessions = manager()?;
    let tokens = logged_in_sessions(&sessions, 3)?;
    let mut session = sessions.load([&*tokens[0]])?;
    session.destroy_others()?;
    session.destroy()?;
    session.finish()?;
    assert_eq!(sessions.sessions_of("7")?.len(), 0);
    Ok(())
}

#[test]
fn logout_everywhere_else_holds_though_another_request_renews_the_session() -> TestResult {
    let sessions = manager()?;
    let tokens = logged_in_sessions(&sessions, 3)?;
    let mut slow = sessions.load([&*tokens[0]])?;
    slow.destroy_others()?;
    let mut renewing = sessions.load([&*tokens[0]])?;
    renewing.renew()?;
    let new = token(&renewing.finish()?).expect("it is renewed");
    slow.finish()?;
    assert_eq!(sessions.sessions_of("7")?.len(), 1, "the others have ended");
    assert_eq!(sessions.load([&*new])?.get("user")?, Some(7), "and this one goes on");
    Ok(())
}

#[test]
fn logout_everywhere_else_holds_though_the_subject_is_cleared_after_it() -> TestResult {
    let sessions = manager()?;
    let tokens = logged_in_sessions(&sessions, 3)?;
    let mut session = sessions.load([&*tokens[0]])?;
    session.destroy_others()?;
    session.clear_subject()?;
    session.insert("seen", true)?;
    let new = token(&session.finish()?).expect("it changes with the rights");
    assert_eq!(sessions.sessions_of("7")?.len(), 0);
    let session = sessions.load([&*new])?;
    assert_eq!(session.get("seen")?, Some(true), "this one goes on");
    assert_eq!(session.get::<u32>("user")?, None, "without what belongs to the user");
    Ok(())
}

#[test]
fn walk_shows_all_sessions_and_can_end_them() -> TestResult {
    let fixture = Fixture::new();
    let mut tokens = Vec::new();
    for n in 0..5 {
        let mut session = fixture.sessions.load([])?;
        session.insert("n", n)?;
        tokens.push(token(&session.finish()?).expect("it is new"));
    }
    fixture.store.commit("undecodable", b"?", fixture.clock.now() + TimeDelta::hours(1))?;
    fixture.events();
    let mut seen = Vec::new();
    let mut failure = None;
    fixture.sessions.for_each(|session| {
        let mut look = || {
            let n: u32 = session.get("n")?.unwrap_or(99);
            assert_eq!(session.keys().collect::<Vec<_>>(), ["n"]);
            assert_eq!(session.deadline(), session.expiry());
            if n.is_multiple_of(2) {
                fixture.sessions.destroy(session.key())?;
            }
            seen.push(n);
            Ok(())
        };
        failure = failure.take().or(look().err());
        ControlFlow::Continue(())
    })?;
    failure.map_or(Ok(()), |failure: Error| Err(failure))?;
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    let undecodable = |kind: &&EventKind| **kind == EventKind::Undecodable;
    assert_eq!(fixture.events().iter().filter(undecodable).count(), 1);
    for (n, token) in tokens.iter().enumerate() {
        assert_eq!(fixture.sessions.load([&**token])?.is_empty(), n % 2 == 0, "session {n}");
    }
    Ok(())
}

//! Changes of sessions that aren't the request's.

use std::time::Duration;

use chrono::TimeDelta;
use session_manager::{EndCause, Error, EventKind, SessionManager};
use store_core::{Clock as _, Store as _};

use crate::TestResult;
use crate::counting_store::token;
use crate::fixture::{Fixture, renewed};

/// Logs Ada in with a role, and returns the token.
fn editor(sessions: &SessionManager) -> Result<String, Error> {
    let mut session = sessions.load([])?;
    session.set_subject("ada")?;
    session.insert("role", "editor")?;
    Ok(token(&session.finish()?).expect("it is new"))
}

fn role(sessions: &SessionManager, cookie: &str) -> Result<Option<String>, Error> {
    sessions.load([cookie])?.get("role")
}

#[test]
fn all_sessions_of_a_user_are_changed_and_none_of_another() -> TestResult {
    let fixture = Fixture::new();
    let sessions = &fixture.sessions;
    let cookies = [editor(sessions)?, editor(sessions)?];
    let mut other = sessions.load([])?;
    other.set_subject("grace")?;
    other.insert("role", "editor")?;
    let other = token(&other.finish()?).expect("it is new");
    assert_eq!(sessions.update_all_of("ada", |session| session.insert("role", "reader"))?, 2);
    for cookie in &cookies {
        assert_eq!(role(sessions, cookie)?.as_deref(), Some("reader"), "under its token");
    }
    assert_eq!(role(sessions, &other)?.as_deref(), Some("editor"));
    assert_eq!(sessions.update_all_of("nobody", |_| panic!("there is none"))?, 0);
    assert_eq!(sessions.update_all_of("", |_| panic!("there is none"))?, 0);
    Ok(())
}

#[test]
fn it_is_no_use_of_the_session() -> TestResult {
    let fixture =
        Fixture::new().with(|sessions| sessions.with_idle_timeout(Duration::from_secs(30 * 60)));
    let cookie = editor(&fixture.sessions)?;
    let (_, _, expiry) = fixture.row();
    fixture.clock.advance(TimeDelta::minutes(20));
    fixture.sessions.update_all_of("ada", |session| session.insert("role", "reader"))?;
    fixture.sessions.update_all_of("ada", |_| Ok(()))?;
    assert_eq!(fixture.row().2, expiry);
    assert_eq!(role(&fixture.sessions, &cookie)?.as_deref(), Some("reader"));
    Ok(())
}

/// A request of the session writes between the read and the write.
#[test]
fn what_a_quicker_request_has_changed_stays() -> TestResult {
    let fixture = Fixture::new();
    let (sessions, cookie) = (&fixture.sessions, editor(&fixture.sessions)?);
    let changed = sessions.update_all_of("ada", |session| {
        let mut quicker = sessions.load([&*cookie])?;
        quicker.insert("cart", "tea")?;
        quicker.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
        quicker.finish()?;
        session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
        session.insert("role", "reader")
    })?;
    assert_eq!(changed, 1);
    let session = sessions.load([&*cookie])?;
    assert_eq!(session.get::<String>("role")?.as_deref(), Some("reader"));
    assert_eq!(session.get::<String>("cart")?.as_deref(), Some("tea"));
    assert_eq!(session.get("visits")?, Some(2));
    Ok(())
}

/// The rights of a session are taken away also where it changes its token at that moment.
#[test]
fn session_that_is_renewed_meanwhile_is_changed_under_its_new_token() -> TestResult {
    let fixture = Fixture::new();
    let (sessions, mut cookie) = (&fixture.sessions, editor(&fixture.sessions)?);
    let changed = sessions.update_all_of("ada", |session| {
        for _ in 0..2 {
            cookie = renewed(sessions, &cookie)?;
        }
        session.insert("role", "reader")
    })?;
    assert_eq!(changed, 1);
    assert_eq!(role(sessions, &cookie)?.as_deref(), Some("reader"));

    let listed = &sessions.sessions_of("ada")?[0];
    let cookie = renewed(sessions, &cookie)?;
    assert!(sessions.update(listed, |session| session.insert("role", "guest"))?);
    assert_eq!(role(sessions, &cookie)?.as_deref(), Some("guest"), "from an older list");
    Ok(())
}

#[test]
fn session_that_ends_or_passes_to_another_user_meanwhile_is_left_alone() -> TestResult {
    let fixture = Fixture::new();
    let (sessions, cookie) = (&fixture.sessions, editor(&fixture.sessions)?);
    let mut taken = String::new();
    let changed = sessions.update_all_of("ada", |session| {
        let mut login = sessions.load([&*cookie])?;
        login.set_subject("grace")?;
        login.insert("role", "editor")?;
        taken = token(&login.finish()?).expect("it changes");
        session.insert("role", "reader")
    })?;
    assert_eq!(changed, 0);
    assert_eq!(role(sessions, &taken)?.as_deref(), Some("editor"));

    let listed = &sessions.sessions_of("grace")?[0];
    let is_changed = sessions.update(listed, |session| {
        sessions.load([&*taken])?.destroy()?;
        session.insert("role", "reader")
    })?;
    assert!(!is_changed);
    assert!(!sessions.update(listed, |session| session.insert("role", "reader"))?);
    assert_eq!(fixture.rows(), 0, "it doesn't come back");
    Ok(())
}

#[test]
fn only_its_own_browser_can_get_it_a_new_token() -> TestResult {
    let fixture = Fixture::new();
    let (sessions, cookie) = (&fixture.sessions, editor(&fixture.sessions)?);
    let before = fixture.row();
    let renewed = sessions.update_all_of("ada", |session| {
        session.insert("role", "reader")?;
        session.renew()
    });
    assert!(matches!(renewed, Err(Error::Superseded)));
    let taken = sessions.update_all_of("ada", |session| session.set_subject("grace"));
    assert!(matches!(taken, Err(Error::Superseded)));
    assert_eq!(fixture.row(), before);
    assert_eq!(role(sessions, &cookie)?.as_deref(), Some("editor"));
    Ok(())
}

#[test]
fn one_that_can_not_be_changed_keeps_none_of_the_others_from_it() -> TestResult {
    let fixture = Fixture::new();
    let sessions = &fixture.sessions;
    for _ in 0..3 {
        editor(sessions)?;
        fixture.clock.advance(TimeDelta::minutes(1));
    }
    let mut calls = 0;
    let outcome = sessions.update_all_of("ada", |session| {
        calls += 1;
        session.insert(if calls == 2 { "__subject" } else { "role" }, "reader")
    });
    assert!(matches!(outcome, Err(Error::ReservedKey { .. })));
    let roles = sessions.sessions_of("ada")?;
    let roles = roles.iter().map(|session| session.get::<String>("role"));
    let roles: Result<Vec<_>, _> = roles.collect();
    let readers = roles?.into_iter().flatten().filter(|role| role == "reader").count();
    assert_eq!(readers, 2);
    Ok(())
}

#[test]
fn all_sessions_end_also_those_that_can_not_be_decoded() -> TestResult {
    let fixture = Fixture::new();
    let cookie = editor(&fixture.sessions)?;
    let later = fixture.clock.now() + TimeDelta::hours(1);
    fixture.store.commit("of a newer version", b"\xff", later)?;
    assert_eq!(fixture.sessions.destroy_all()?, 2);
    assert_eq!(fixture.rows(), 0);
    assert_eq!(fixture.sessions.load([&*cookie])?.subject(), None);
    Ok(())
}

#[test]
fn one_that_is_ended_from_elsewhere_is_revoked_and_nothing_follows_it() -> TestResult {
    let fixture = Fixture::new();
    let sessions = &fixture.sessions;
    let (_, cookie) = (editor(sessions)?, editor(sessions)?);
    fixture.events();
    let changed = sessions.update_all_of("ada", |session| {
        session.destroy()?;
        session.flash("notice", "You were logged out.")
    })?;
    assert_eq!(changed, 2);
    let revoked = EventKind::Ended(EndCause::Revoked);
    assert_eq!(fixture.events(), [revoked.clone(), revoked]);
    assert_eq!(fixture.rows(), 0, "no browser would have what follows");
    assert_eq!(role(sessions, &cookie)?, None);
    Ok(())
}

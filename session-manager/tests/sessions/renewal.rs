//! New tokens: by renewal and by rotation, and what the old ones are worth.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use session_manager::{Error, EventKind, Session, SessionManager, Status};
use store_core::{Clock as _, ManualClock, MemoryOptions};

use crate::TestResult;
use crate::counting_store::{Failing, token};
use crate::fixture::{Fixture, logged_in, manager, renewed};

#[test]
fn renewal_changes_the_token_and_nothing_else() -> TestResult {
    let fixture = Fixture::new();
    let old = fixture.stored()?;
    let (old_key, _, expiry) = fixture.row();
    fixture.clock.advance(TimeDelta::hours(1));
    let mut session = fixture.sessions.load([&*old])?;
    session.renew()?;
    assert_eq!(session.status(), Status::Modified);
    let announced = session.token().expect("it is stored").to_owned();
    let new = token(&session.finish()?).expect("the browser must know");
    assert_eq!(new, announced);
    assert_ne!(new, old);
    let (new_key, _, new_expiry) = fixture.row();
    assert_ne!(new_key, old_key);
    assert_eq!(new_expiry, expiry, "the deadline stays");
    assert_eq!(fixture.store.calls().take(), (1, 0, 1), "one atomic step");
    assert_eq!(fixture.events(), [EventKind::Renewed]);

    assert!(fixture.sessions.load([&*old])?.is_empty());
    assert_eq!(fixture.events(), [EventKind::Lost]);
    assert_eq!(fixture.sessions.load([&*new])?.get::<String>("name")?.as_deref(), Some("Ada"));

    // What was never stored has no token that anybody could know.
    let mut fresh = fixture.sessions.load([])?;
    fresh.renew()?;
    assert_eq!((fresh.token(), fresh.status()), (None, Status::Unmodified));
    Ok(())
}

#[test]
fn renewal_that_fails_leaves_the_old_token_good() -> TestResult {
    let fixture = Fixture::new();
    let old = fixture.stored()?;
    let mut session = fixture.sessions.load([&*old])?;
    session.renew()?;
    session.insert("user_id", 7)?;
    fixture.store.fail(Failing::UpdateNeverMatches);
    assert!(matches!(session.finish(), Err(Error::Conflict { .. })));
    fixture.store.fail(Failing::Nothing);
    let session = fixture.sessions.load([&*old])?;
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    assert_eq!(session.get::<u32>("user_id")?, None, "nothing of the failed request is kept");
    Ok(())
}

#[test]
fn token_from_before_a_renewal_gets_a_fresh_session_after_the_grace() -> TestResult {
    let fixture = Fixture::new();
    let old = fixture.stored()?;
    let new = renewed(&fixture.sessions, &old)?;
    fixture.clock.advance(TimeDelta::seconds(29));
    let mut late = fixture.sessions.load([&*old])?;
    late.insert("visits", 1)?;
    assert!(matches!(late.finish(), Err(Error::Superseded)));

    // A request that still has the old token later has missed something.
    fixture.clock.advance(TimeDelta::seconds(1));
    let mut later = fixture.sessions.load([&*old])?;
    later.insert("visits", 1)?;
    assert!(token(&later.finish()?).is_some_and(|fresh| fresh != old && fresh != new));
    assert_eq!(fixture.rows(), 2);
    Ok(())
}

#[test]
fn clock_that_goes_back_does_not_lengthen_the_grace() -> TestResult {
    let fixture = Fixture::new().with(|sessions| sessions.with_rotation(Duration::from_secs(60)));
    let old = fixture.stored()?;
    fixture.clock.advance(TimeDelta::seconds(60));
    let session = fixture.sessions.load([&*old])?;
    assert!(token(&session.finish()?).is_some());
    assert!(fixture.sessions.load([&*old])?.contains("name"), "it opens for the grace");
    fixture.clock.advance(TimeDelta::hours(-1));
    assert!(fixture.sessions.load([&*old])?.is_empty());
    Ok(())
}

#[test]
fn what_needs_the_session_is_refused_with_a_token_that_was_just_renewed() -> TestResult {
    let sessions = manager()?;
    let old = logged_in(&sessions, "alice")?;
    let mut renewing = sessions.load([&*old])?;
    renewing.renew()?;
    let new = token(&renewing.finish()?).expect("it is renewed");
    let mut late = sessions.load([&*old])?;
    assert!(matches!(late.clear_subject(), Err(Error::Superseded)));
    assert!(matches!(late.destroy_others(), Err(Error::Superseded)));
    assert_eq!(late.finish()?.headers, [("Vary", "Cookie".to_owned())]);
    assert_eq!(sessions.load([&*new])?.subject().as_deref(), Some("alice"));
    Ok(())
}

#[test]
fn token_is_rotated_automatically_and_requests_under_way_go_on() -> TestResult {
    let every = Duration::from_secs(15 * 60);
    let fixture = Fixture::new().with(|sessions| sessions.with_rotation(every));
    let old = fixture.stored()?;
    fixture.clock.advance(TimeDelta::minutes(15) - TimeDelta::seconds(1));
    assert_eq!(token(&fixture.sessions.load([&*old])?.finish()?), None, "not yet");
    assert_eq!(fixture.store.calls().take(), (1, 0, 0));

    // Reading is enough, and it is one write.
    fixture.clock.advance(TimeDelta::seconds(1));
    let (mut first, mut second) =
        (fixture.sessions.load([&*old])?, fixture.sessions.load([&*old])?);
    let deadline = first.deadline();
    first.insert("a", 1)?;
    fixture.store.calls().take();
    let new = token(&first.finish()?).expect("it is rotated");
    assert_eq!(fixture.store.calls().take(), (0, 0, 1));
    assert_eq!(fixture.events(), [EventKind::Renewed]);

    // One that had loaded it before, and one that comes with the old token, write under the new
    // one.
    second.insert("b", 2)?;
    assert_eq!(
        second.finish()?.headers,
        [("Vary", "Cookie".to_owned())],
        "the cookie is another response's"
    );
    let mut late = fixture.sessions.load([&*old])?;
    assert_eq!((late.get("a")?, late.get("b")?), (Some(1), Some(2)));
    assert_eq!(late.token(), None, "which only the other response knows");
    late.insert("c", 3)?;
    assert_eq!(token(&late.finish()?), None);
    let session = fixture.sessions.load([&*new])?;
    assert_eq!(session.keys().collect::<Vec<_>>(), ["name", "a", "b", "c"]);
    assert_eq!(session.deadline(), deadline);
    assert_eq!(fixture.rows(), 1);

    // A change of rights has to come with the new token.
    let mut login = fixture.sessions.load([&*old])?;
    login.set_subject("ada")?;
    assert!(matches!(login.finish(), Err(Error::Superseded)));
    let mut login = fixture.sessions.load([&*new])?;
    login.set_subject("ada")?;
    let logged_in = token(&login.finish()?).expect("it changes");
    for closed in [&old, &new] {
        assert!(
            fixture.sessions.load([&**closed])?.is_empty(),
            "what a login closes, it closes for all"
        );
    }

    // A logout may come with any.
    let mut log_out = fixture.sessions.load([&*old])?;
    log_out.destroy()?;
    assert_eq!(token(&log_out.finish()?).as_deref(), Some(""));
    assert!(fixture.sessions.load([&*logged_in])?.is_empty());
    assert_eq!(fixture.rows(), 0);
    Ok(())
}

#[test]
fn token_that_was_rotated_automatically_is_worth_nothing_after_the_grace() -> TestResult {
    let fixture = Fixture::new().with(|sessions| sessions.with_rotation(Duration::from_secs(60)));
    let old = fixture.stored()?;
    fixture.clock.advance(TimeDelta::minutes(1));
    let new = token(&fixture.sessions.load([&*old])?.finish()?).expect("it is rotated");
    fixture.clock.advance(TimeDelta::seconds(29));
    assert!(fixture.sessions.load([&*old])?.contains("name"));
    fixture.clock.advance(TimeDelta::seconds(1));
    assert!(fixture.sessions.load([&*old])?.is_empty());
    assert!(fixture.sessions.load([&*new])?.contains("name"));
    Ok(())
}

#[test]
fn old_token_opens_nothing_after_a_renewal_though_an_automatic_rotation_was_due() -> TestResult {
    let change_rights: [fn(&mut Session<'_>) -> Result<(), Error>; 2] =
        [|session| session.renew(), |session| session.set_subject("7")];
    for change_rights in change_rights {
        let fixture =
            Fixture::new().with(|sessions| sessions.with_rotation(Duration::from_secs(60)));
        let old = fixture.stored()?;
        fixture.clock.advance(TimeDelta::seconds(60));
        let mut session = fixture.sessions.load([&*old])?;
        change_rights(&mut session)?;
        let new = token(&session.finish()?).expect("the browser must know");
        let mut late = fixture.sessions.load([&*old])?;
        assert!(late.is_empty());
        late.insert("late", 1)?;
        assert!(matches!(late.finish(), Err(Error::Superseded)));
        assert!(!fixture.sessions.load([&*new])?.is_empty());
    }
    Ok(())
}

#[test]
fn rotation_of_a_session_that_has_ended_is_no_error() -> TestResult {
    let fixture = Fixture::new().with(|sessions| sessions.with_rotation(Duration::from_secs(600)));
    let token = fixture.stored()?;
    fixture.clock.advance(TimeDelta::seconds(600));
    let reading = fixture.sessions.load([&*token])?;
    let mut log_out = fixture.sessions.load([&*token])?;
    log_out.destroy()?;
    log_out.finish()?;
    assert_eq!(reading.finish()?.headers, [], "it has only read");
    assert_eq!(fixture.rows(), 0);
    Ok(())
}

#[test]
fn token_that_is_told_is_the_one_that_the_browser_gets() -> TestResult {
    let clock = Arc::new(ManualClock::new(Utc::now()));
    let options = MemoryOptions::new().with_clock(clock.clone());
    let sessions = SessionManager::new(options.build()?)
        .with_clock(clock.clone())
        .with_rotation(Duration::from_secs(900))?;
    let old = logged_in(&sessions, "alice")?;
    clock.advance(TimeDelta::minutes(16));
    let mut session = sessions.load([&*old])?;
    let told = session.token().map(str::to_owned);
    assert_ne!(told.as_deref(), Some(&*old), "a new one is due");
    session.renew()?;
    assert_eq!(session.token(), told.as_deref(), "told once, it stays");
    assert_eq!(token(&session.finish()?), told);

    clock.advance(TimeDelta::minutes(16));
    let session = sessions.load(told.as_deref())?;
    let told_again = session.token().map(str::to_owned);
    assert_ne!(told_again, told);
    assert_eq!(token(&session.finish()?), told_again);
    Ok(())
}

#[test]
fn list_of_sessions_has_this_one_while_its_token_is_being_renewed() -> TestResult {
    let clock = Arc::new(ManualClock::new(Utc::now()));
    let options = MemoryOptions::new().with_clock(clock.clone());
    let sessions = SessionManager::new(options.build()?)
        .with_clock(clock.clone())
        .with_rotation(Duration::from_secs(900))?;
    let old = logged_in(&sessions, "alice")?;
    let is_listed = |session: &Session<'_>| -> Result<bool, Error> {
        let listed = sessions.sessions_of("alice")?;
        Ok(listed.iter().any(|listed| session.key() == Some(listed.key())))
    };
    clock.advance(TimeDelta::minutes(16));
    let mut session = sessions.load([&*old])?;
    assert_ne!(session.token(), Some(&*old), "a new one is due");
    assert!(is_listed(&session)?);
    session.renew()?;
    assert!(is_listed(&session)?);
    let new = token(&session.finish()?).expect("the browser must know");
    assert!(is_listed(&sessions.load([&*new])?)?);
    Ok(())
}

#[test]
fn clocks_of_two_processes_need_not_agree_to_the_second() -> TestResult {
    let clock = Arc::new(ManualClock::new(Utc::now()));
    let ahead = Arc::new(ManualClock::new(clock.now() + TimeDelta::seconds(2)));
    let store = Arc::new(MemoryOptions::new().with_clock(clock.clone()).build()?);
    let every = Duration::from_secs(900);
    let sessions =
        SessionManager::new(Arc::clone(&store)).with_clock(clock).with_rotation(every)?;
    let elsewhere = SessionManager::new(store).with_clock(ahead.clone()).with_rotation(every)?;
    let cookie = logged_in(&elsewhere, "alice")?;
    assert_eq!(token(&sessions.load([&*cookie])?.finish()?), None, "it has just got its token");
    ahead.advance(TimeDelta::hours(1));
    let cookie = logged_in(&elsewhere, "alice")?;
    assert!(token(&sessions.load([&*cookie])?.finish()?).is_some(), "nobody knows how old it is");
    Ok(())
}

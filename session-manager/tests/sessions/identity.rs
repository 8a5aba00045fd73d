//! What tells sessions apart: their ids, when they began, where they are used, and what is
//! reported of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use session_manager::{
    Device, EndCause, Error, Event, EventKind, Session, SessionId, SessionLimit, SessionManager,
    StoredSession,
};
use store_core::{Clock as _, MemoryStore};

use crate::TestResult;
use crate::counting_store::token;
use crate::fixture::{Fixture, renewed};

/// Logs somebody in, and returns token and id.
fn logged_in(sessions: &SessionManager, subject: &str) -> Result<(String, SessionId), Error> {
    let mut session = sessions.load([])?;
    session.set_subject(subject)?;
    let finished = session.finish()?;
    assert_eq!(finished.subject.as_deref(), Some(subject));
    Ok((token(&finished).expect("it is new"), finished.id.expect("it is stored")))
}

/// A fixture whose events are kept whole.
fn with_events() -> (Fixture, impl Fn() -> Vec<Event>) {
    let events = Arc::<Mutex<Vec<_>>>::default();
    let hook = Arc::clone(&events);
    let fixture = Fixture::new().with(|sessions| {
        Ok(sessions.with_event_hook(move |event| {
            hook.lock().expect("nobody panics with it").push(event.clone());
        }))
    });
    (fixture, move || std::mem::take(&mut *events.lock().expect("nobody panics with it")))
}

#[test]
fn id_stays_with_the_session_and_not_with_the_browser() -> TestResult {
    let (fixture, events) = with_events();
    let (mut cookie, id) = logged_in(&fixture.sessions, "ada")?;
    let created = fixture.sessions.load([&*cookie])?.created();
    assert_eq!(created, Some(fixture.clock.now()));
    fixture.clock.advance(TimeDelta::hours(1));
    for _ in 0..3 {
        cookie = renewed(&fixture.sessions, &cookie)?;
        let session = fixture.sessions.load([&*cookie])?;
        assert_eq!((session.id(), session.created()), (Some(id), created));
        let listed = &fixture.sessions.sessions_of("ada")?[0];
        assert_eq!((listed.id(), listed.created()), (id, created));
    }
    assert!(events().iter().all(|event| event.session == id), "through all of its tokens");

    let mut session = fixture.sessions.load([&*cookie])?;
    session.set_subject("grace")?;
    assert_eq!(session.id(), None, "not yet");
    let finished = session.finish()?;
    let other = finished.id.expect("it is stored");
    assert_ne!(other, id, "it is another session");
    let cookie = token(&finished).expect("it changes");
    let session = fixture.sessions.load([&*cookie])?;
    assert_eq!((session.id(), session.created()), (Some(other), Some(fixture.clock.now())));
    let told: Vec<_> = events()
        .into_iter()
        .map(|event| (event.kind, event.session, event.previous, event.subject))
        .collect();
    let ended = EventKind::Ended(EndCause::TakenOver);
    assert_eq!(
        told,
        [
            (ended, id, None, Some("ada".to_owned())),
            (EventKind::Created, other, Some(id), Some("grace".to_owned())),
        ]
    );
    Ok(())
}

#[test]
fn session_ends_by_its_id_and_only_for_its_user() -> TestResult {
    let (fixture, events) = with_events();
    let (cookie, id) = logged_in(&fixture.sessions, "ada")?;
    let (_, other) = logged_in(&fixture.sessions, "grace")?;
    // The list was made before it got another token.
    let cookie = renewed(&fixture.sessions, &cookie)?;
    events();
    assert!(!fixture.sessions.destroy_one_of("ada", other)?);
    assert!(!fixture.sessions.destroy_one_of("", id)?);
    assert_eq!(events(), []);
    assert!(fixture.sessions.destroy_one_of("ada", id)?);
    let [event] = &events()[..] else { panic!("one session has ended") };
    assert_eq!(event.kind, EventKind::Ended(EndCause::Revoked));
    assert_eq!((event.session, event.subject.as_deref()), (id, Some("ada")));
    assert!(!fixture.sessions.destroy_one_of("ada", id)?, "it has ended");
    assert_eq!(fixture.sessions.load([&*cookie])?.subject(), None);
    assert_eq!(fixture.sessions.sessions_of("grace")?.len(), 1);
    Ok(())
}

#[test]
fn list_begins_with_the_newest_login_and_knows_the_devices() -> TestResult {
    let fixture = Fixture::new().with(|sessions| sessions.with_idle_timeout(IDLE));
    for label in ["first", "second", "third"] {
        let mut session = fixture.sessions.load([])?;
        session.set_subject("ada")?;
        session.set_device(&Device::new().with_label(label).with_address("192.0.2.7"))?;
        session.finish()?;
        fixture.clock.advance(TimeDelta::minutes(1));
    }
    let labels = || {
        let all = fixture.sessions.sessions_of("ada")?;
        let labels = all.iter().map(|session| session.device().unwrap_or_default());
        Ok::<Vec<_>, Error>(labels.map(|device| device.label().map(str::to_owned)).collect())
    };
    assert_eq!(labels()?.into_iter().flatten().collect::<Vec<_>>(), ["third", "second", "first"]);
    // Another user of the same browser isn't on the device that this one has described.
    let (cookie, _) = logged_in(&fixture.sessions, "ada")?;
    let mut session = fixture.sessions.load([&*cookie])?;
    session.set_device(&Device::new().with_label("kitchen"))?;
    session.set_subject("grace")?;
    session.finish()?;
    assert_eq!(fixture.sessions.sessions_of("grace")?[0].device(), None);
    Ok(())
}

const IDLE: Duration = Duration::from_secs(30 * 60);

#[test]
fn last_use_is_known_within_a_tenth_of_the_idle_timeout() -> TestResult {
    let fixture = Fixture::new();
    let (_, _) = logged_in(&fixture.sessions, "grace")?;
    assert_eq!(fixture.sessions.sessions_of("grace")?[0].last_used(), None, "nothing tells it");

    let fixture = Fixture::new().with(|sessions| sessions.with_idle_timeout(IDLE));
    let (cookie, _) = logged_in(&fixture.sessions, "ada")?;
    let began = fixture.clock.now();
    let last_used = || Ok::<_, Error>(fixture.sessions.sessions_of("ada")?[0].last_used());
    fixture.clock.advance(TimeDelta::minutes(1));
    fixture.sessions.load([&*cookie])?.finish()?;
    assert_eq!(last_used()?, Some(began));
    fixture.clock.advance(TimeDelta::minutes(10));
    let used = fixture.clock.now();
    fixture.sessions.load([&*cookie])?.finish()?;
    fixture.clock.advance(TimeDelta::minutes(10));
    assert_eq!(last_used()?, Some(used));
    Ok(())
}

#[test]
fn every_end_is_reported_with_its_cause_and_user() -> TestResult {
    let (fixture, events) = with_events();
    let sessions = &fixture.sessions;
    let (own, own_id) = logged_in(sessions, "ada")?;
    let (_, other_id) = logged_in(sessions, "ada")?;
    let told = || {
        let events = events().into_iter();
        events.map(|event| (event.kind, event.session, event.subject)).collect::<Vec<_>>()
    };
    let ended = |cause, id| (EventKind::Ended(cause), id, Some("ada".to_owned()));
    told();

    let mut session = sessions.load([&*own])?;
    session.destroy_others()?;
    session.finish()?;
    assert_eq!(told(), [ended(EndCause::LogoutEverywhere, other_id)]);

    assert_eq!(sessions.destroy_all_of("ada")?, 1);
    assert_eq!(told(), [ended(EndCause::LogoutEverywhere, own_id)]);

    let (cookie, id) = logged_in(sessions, "ada")?;
    told();
    let key = sessions.load([&*cookie])?.key().expect("it is stored").clone();
    sessions.destroy(&key)?;
    assert_eq!(told(), [ended(EndCause::Revoked, id)]);

    let (cookie, id) = logged_in(sessions, "ada")?;
    let cookie = renewed(sessions, &cookie)?;
    told();
    sessions.load([&*cookie])?.destroy()?;
    assert_eq!(told(), [ended(EndCause::Logout, id)]);

    let (merged, id) = logged_in(sessions, "ada")?;
    told();
    let mut session = sessions.load([])?;
    session.merge(&merged)?;
    let finished = session.finish()?;
    assert_ne!(finished.id, Some(id));
    let [merge, created] = &told()[..] else { panic!("one has ended, and one has begun") };
    assert_eq!(*merge, ended(EndCause::Merged, id));
    assert_eq!((&created.0, Some(created.1)), (&EventKind::Created, finished.id));
    Ok(())
}

#[test]
fn session_whose_deadline_is_moved_into_the_past_ends_and_nobody_has_logged_in() -> TestResult {
    let (fixture, events) = with_events();
    let sessions = &fixture.sessions;
    let past = fixture.clock.now() - TimeDelta::seconds(1);
    let ended = |cause, id| (EventKind::Ended(cause), id, Some("ada".to_owned()));
    let told = || {
        let events = events().into_iter();
        events.map(|event| (event.kind, event.session, event.subject)).collect::<Vec<_>>()
    };
    for is_renewed in [false, true] {
        let (cookie, id) = logged_in(sessions, "ada")?;
        told();
        let mut session = sessions.load([&*cookie])?;
        if is_renewed {
            session.renew()?;
        }
        session.set_deadline(past);
        let finished = session.finish()?;
        assert_eq!((finished.id, finished.subject), (None, None));
        assert_eq!(told(), [ended(EndCause::Deadline, id)]);
    }

    let (_, id) = logged_in(sessions, "ada")?;
    told();
    let end = |session: &mut Session<'_>| {
        session.set_deadline(past);
        Ok(())
    };
    assert_eq!(sessions.update_all_of("ada", end)?, 1);
    assert_eq!(told(), [ended(EndCause::Deadline, id)]);

    // Another user's session that was never there, in the place of one that has ended.
    let (cookie, id) = logged_in(sessions, "ada")?;
    for (cookie, expected) in
        [(Some(&*cookie), vec![ended(EndCause::TakenOver, id)]), (None, Vec::new())]
    {
        told();
        let mut session = sessions.load(cookie)?;
        session.set_subject("grace")?;
        session.set_deadline(past);
        let finished = session.finish()?;
        assert_eq!((finished.id, finished.subject), (None, None));
        assert_eq!(told(), expected);
    }
    assert_eq!(fixture.rows(), 0);
    Ok(())
}

#[test]
fn identity_is_proved_by_a_login_and_again_by_a_step_up() -> TestResult {
    let fixture = Fixture::new();
    let window = Duration::from_secs(10 * 60);
    let mut session = fixture.sessions.load([])?;
    assert!(!session.authenticated_within(Duration::MAX));
    assert!(matches!(session.mark_authenticated(), Err(Error::SubjectMissing)));
    session.set_subject("ada")?;
    assert!(session.authenticated_within(window));
    let old = token(&session.finish()?).expect("it is new");

    fixture.clock.advance(TimeDelta::minutes(10));
    assert!(fixture.sessions.load([&*old])?.authenticated_within(window), "just about");
    fixture.clock.advance(TimeDelta::milliseconds(1_000));
    let mut session = fixture.sessions.load([&*old])?;
    assert!(!session.authenticated_within(window));
    // Nobody has proved anything by it.
    session.set_subject("ada")?;
    assert!(!session.authenticated_within(window));
    session.mark_authenticated()?;
    assert!(session.authenticated_within(window));
    let new = token(&session.finish()?).expect("rights have changed");
    assert_eq!(fixture.sessions.load([&*old])?.subject(), None);
    let mut session = fixture.sessions.load([&*new])?;
    assert_eq!(session.authenticated(), Some(fixture.clock.now()));
    session.clear();
    assert!(session.authenticated_within(window), "it is none of the application's values");
    session.clear_subject()?;
    assert_eq!(session.authenticated(), None);
    Ok(())
}

/// A clock that was set back makes nobody trusted for longer.
#[test]
fn proof_from_the_future_is_as_old_as_it_is_far() -> TestResult {
    let fixture = Fixture::new();
    let (cookie, _) = logged_in(&fixture.sessions, "ada")?;
    fixture.clock.advance(-TimeDelta::hours(1));
    let session = fixture.sessions.load([&*cookie])?;
    assert!(!session.authenticated_within(Duration::from_secs(10 * 60)));
    Ok(())
}

#[test]
fn login_beyond_the_limit_ends_the_oldest_logins_and_no_other_users() -> TestResult {
    let (fixture, events) = with_events();
    let fixture = fixture.with(|sessions| sessions.with_session_limit(SessionLimit::EndOldest(2)));
    let sessions = &fixture.sessions;
    logged_in(sessions, "grace")?;
    let (mut ids, mut newest) = (Vec::new(), String::new());
    for _ in 0..4 {
        let (cookie, id) = logged_in(sessions, "ada")?;
        ids.push(id);
        newest = cookie;
        fixture.clock.advance(TimeDelta::minutes(1));
    }
    let ended: Vec<_> = events()
        .into_iter()
        .filter(|event| event.kind == EventKind::Ended(EndCause::Limit))
        .map(|event| (event.session, event.subject))
        .collect();
    assert_eq!(ended, [ids[0], ids[1]].map(|id| (id, Some("ada".to_owned()))));
    let left: Vec<_> = sessions.sessions_of("ada")?.iter().map(StoredSession::id).collect();
    assert_eq!(left, [ids[3], ids[2]]);
    assert_eq!(sessions.sessions_of("grace")?.len(), 1);

    // A limit that was lowered holds from the next login on, which may be that of a session that
    // takes over one of the others.
    let fixture = fixture.with(|sessions| sessions.with_session_limit(SessionLimit::EndOldest(1)));
    let sessions = &fixture.sessions;
    renewed(sessions, &newest)?;
    assert_eq!(sessions.sessions_of("ada")?.len(), 2);
    let (cookie, _) = logged_in(sessions, "ada")?;
    assert_eq!(sessions.sessions_of("ada")?.len(), 1);
    let mut session = sessions.load([])?;
    session.merge(&cookie)?;
    session.set_subject("ada")?;
    let id = session.finish()?.id;
    assert_eq!(sessions.sessions_of("ada")?.first().map(StoredSession::id), id);
    assert_eq!(sessions.sessions_of("ada")?.len(), 1);
    Ok(())
}

#[test]
fn login_that_is_refused_leaves_everything_as_it_was() -> TestResult {
    let fixture = Fixture::new().with(|sessions| {
        assert!(matches!(
            SessionManager::new(MemoryStore::new()?).with_session_limit(SessionLimit::Refuse(0)),
            Err(Error::InvalidOption { .. })
        ));
        sessions.with_session_limit(SessionLimit::Refuse(1))
    });
    let sessions = &fixture.sessions;
    let mut session = sessions.load([])?;
    session.insert("cart", "tea")?;
    let cookie = token(&session.finish()?).expect("it is new");
    let mut quicker = sessions.load([&*cookie])?;
    quicker.set_subject("ada")?;
    logged_in(sessions, "ada")?;
    // The one hears of it at once, and the other one when it is written.
    let mut late = sessions.load([&*cookie])?;
    assert!(matches!(late.set_subject("ada"), Err(Error::TooManySessions { max: 1 })));
    assert_eq!(late.finish()?.subject, None);
    assert!(matches!(quicker.finish(), Err(Error::TooManySessions { max: 1 })));
    let session = sessions.load([&*cookie])?;
    assert_eq!(session.subject(), None);
    assert_eq!(session.get::<String>("cart")?.as_deref(), Some("tea"));
    Ok(())
}

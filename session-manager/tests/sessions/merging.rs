//! Sessions that take over others.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use session_manager::{EndCause, Error, EventKind, SessionManager};
use store_core::{Clock as _, ManualClock, MemoryOptions};

use crate::TestResult;
use crate::counting_store::{Failing, token};
use crate::fixture::{Fixture, header, logged_in, logged_in_sessions, manager};

#[test]
fn merging_takes_over_values_and_ends_the_other() -> TestResult {
    let fixture = Fixture::new();
    let other = fixture.stored()?;
    let mut session = fixture.sessions.load([])?;
    session.insert("name", "before")?;
    session.insert("cart", 3)?;
    let own = token(&session.finish()?).expect("it is new");
    fixture.clock.advance(TimeDelta::minutes(1));

    let mut session = fixture.sessions.load([&*own])?;
    assert!(!session.merge("no token")?);
    assert!(!session.merge(&"A".repeat(43))?);
    assert!(session.merge(&own)?, "itself");
    assert!(session.merge(&other)?);
    assert!(session.merge(&other)?, "once is enough");
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    assert_eq!(fixture.rows(), 2, "nothing is written before the end");
    session.finish()?;
    assert_eq!(fixture.rows(), 1);
    let session = fixture.sessions.load([&*own])?;
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    assert_eq!(session.get("cart")?, Some(3));
    assert!(fixture.sessions.load([&*other])?.is_empty());
    Ok(())
}

#[test]
fn what_was_chosen_for_a_merged_session_holds_for_the_one_that_takes_it_over() -> TestResult {
    let fixture = Fixture::new();
    let mut other = fixture.sessions.load([])?;
    other.remember_me(true)?;
    other.set_idle_timeout(Some(Duration::from_secs(60)))?;
    let other = token(&other.finish()?).expect("it is new");
    let own = fixture.stored()?;
    let mut session = fixture.sessions.load([&*own])?;
    assert!(session.merge(&other)?);
    assert_eq!(session.expiry(), fixture.clock.now() + TimeDelta::minutes(1));
    let headers = session.finish()?.headers;
    assert!(header(&headers, "Set-Cookie").is_some_and(|cookie| cookie.contains("Max-Age=60")));
    Ok(())
}

#[test]
fn merged_session_stays_if_its_values_cannot_be_written() -> TestResult {
    let fixture = Fixture::new();
    let other = fixture.stored()?;
    let own = fixture.stored()?;
    let mut session = fixture.sessions.load([&*other])?;
    session.insert("theme", "dark")?;
    session.finish()?;
    let mut session = fixture.sessions.load([&*own])?;
    session.insert("cart", 3)?;
    assert!(session.merge(&other)?);
    fixture.store.fail(Failing::Update);
    assert!(session.finish().is_err());
    fixture.store.fail(Failing::Nothing);
    assert!(fixture.sessions.load([&*other])?.contains("name"));
    assert!(!fixture.sessions.load([&*own])?.contains("cart"));

    let mut session = fixture.sessions.load([&*own])?;
    assert!(session.merge(&other)?);
    let mut log_out = fixture.sessions.load([&*own])?;
    log_out.destroy()?;
    log_out.finish()?;
    assert!(matches!(session.finish(), Err(Error::Superseded)));
    assert!(fixture.sessions.load([&*other])?.contains("name"), "its values were not taken over");
    assert_eq!(fixture.rows(), 1);
    Ok(())
}

#[test]
fn merging_brings_back_nothing_of_a_destroyed_session() -> TestResult {
    let sessions = manager()?;
    for is_stored in [true, false] {
        let other = logged_in_sessions(&sessions, 1)?.remove(0);
        let own = if is_stored { logged_in_sessions(&sessions, 1)?.pop() } else { None };
        let mut session = sessions.load(own.as_deref())?;
        session.insert("seen", true)?;
        assert!(session.merge(&other)?);

        let mut leaving = sessions.load([&*other])?;
        leaving.destroy()?;
        leaving.finish()?;

        assert!(matches!(session.finish(), Err(Error::Superseded)), "nothing is written");
        assert!(sessions.load([&*other])?.is_empty());
        if let Some(own) = own {
            assert!(!sessions.load([&*own])?.contains("seen"));
        }
    }
    Ok(())
}

#[test]
fn merging_of_two_requests_gives_the_values_to_one() -> TestResult {
    let sessions = manager()?;
    let other = logged_in_sessions(&sessions, 1)?.remove(0);
    let mut first = sessions.load([])?;
    let mut second = sessions.load([])?;
    assert!(first.merge(&other)? && second.merge(&other)?);
    let new = token(&first.finish()?).expect("it is new");
    assert!(matches!(second.finish(), Err(Error::Superseded)), "it hears that it has nothing");
    assert_eq!(sessions.load([&*new])?.get("user")?, Some(7));
    assert!(sessions.load([&*other])?.is_empty());
    Ok(())
}

#[test]
fn merging_each_other_gives_all_values_to_one() -> TestResult {
    let sessions = manager()?;
    let tokens = logged_in_sessions(&sessions, 2)?;
    let mut both = [sessions.load([&*tokens[0]])?, sessions.load([&*tokens[1]])?];
    for (n, session) in both.iter_mut().enumerate() {
        session.insert(&format!("from {n}"), n)?;
        assert!(session.merge(&tokens[1 - n])?);
    }
    let [first, second] = both;
    first.finish()?;
    assert!(matches!(second.finish(), Err(Error::Superseded) | Ok(_)));
    let session = sessions.load([&*tokens[0]])?;
    assert_eq!(session.get("from 0")?, Some(0));
    assert_eq!(session.get("user")?, Some(7));
    assert!(sessions.load([&*tokens[1]])?.is_empty());
    Ok(())
}

#[test]
fn what_other_requests_do_to_a_merged_session_is_taken_over() -> TestResult {
    let sessions = manager()?;
    let tokens = logged_in_sessions(&sessions, 2)?;
    let mut early = sessions.load([&*tokens[1]])?;
    early.insert("old", 1)?;
    early.finish()?;
    let mut session = sessions.load([&*tokens[0]])?;
    assert!(session.merge(&tokens[1])?);
    let mut other = sessions.load([&*tokens[1]])?;
    other.insert("cart", 3)?;
    other.remove("old");
    other.finish()?;
    session.finish()?;
    let session = sessions.load([&*tokens[0]])?;
    assert_eq!(session.get("cart")?, Some(3), "an insert that was answered isn't lost");
    assert!(!session.contains("old"), "nor does a removed value come back");
    assert!(sessions.load([&*tokens[1]])?.is_empty());
    Ok(())
}

#[test]
fn merged_session_ends_though_the_merging_one_is_destroyed() -> TestResult {
    let sessions = manager()?;
    let other = logged_in_sessions(&sessions, 1)?.remove(0);
    let mut session = sessions.load([])?;
    assert!(session.merge(&other)?);
    session.destroy()?;
    session.finish()?;
    assert!(sessions.load([&*other])?.is_empty());
    Ok(())
}

#[test]
fn session_whose_deadline_has_passed_is_not_merged() -> TestResult {
    let clock = Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse().expect("noon")));
    // The store's clock stands, so it still has the session.
    let store = MemoryOptions::new()
        .with_clock(Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse().expect("noon"))))
        .build()?;
    let sessions = SessionManager::new(store).with_clock(clock.clone());
    let other = logged_in_sessions(&sessions, 1)?.remove(0);
    clock.advance(TimeDelta::hours(25));
    let mut session = sessions.load([])?;
    assert!(!session.merge(&other)?);
    assert!(session.is_empty());
    Ok(())
}

#[test]
fn fresh_session_that_merges_and_ends_at_once_has_never_begun() -> TestResult {
    let fixture = Fixture::new();
    let other = fixture.stored()?;
    let mut session = fixture.sessions.load([])?;
    assert!(session.merge(&other)?);
    session.set_deadline(fixture.clock.now());
    let finished = session.finish()?;
    assert_eq!((token(&finished), finished.id), (Some(String::new()), None));
    assert_eq!(fixture.events(), [EventKind::Ended(EndCause::Merged)]);
    assert_eq!(fixture.rows(), 0);
    Ok(())
}

#[test]
fn several_sessions_can_be_merged_into_one() -> TestResult {
    let sessions = manager()?;
    let with = |key: &str| -> Result<_, Error> {
        let mut session = sessions.load([])?;
        session.insert(key, true)?;
        Ok(token(&session.finish()?).expect("it is new"))
    };
    let [own, first, second] = [with("own")?, with("first")?, with("second")?];
    let mut session = sessions.load([&*own])?;
    for other in [&first, &second, &first] {
        assert!(session.merge(other)?);
    }
    session.finish()?;
    let session = sessions.load([&*own])?;
    assert_eq!(session.keys().collect::<Vec<_>>(), ["own", "first", "second"]);
    for other in [&first, &second] {
        assert!(sessions.load([&**other])?.is_empty());
    }
    Ok(())
}

#[test]
fn session_that_is_rotated_before_the_merge_is_written_is_not_merged() -> TestResult {
    let fixture = Fixture::new().with(|sessions| sessions.with_rotation(Duration::from_secs(600)));
    let (own, other) = (fixture.stored()?, fixture.stored()?);
    fixture.clock.advance(TimeDelta::seconds(600));
    let mut session = fixture.sessions.load([&*own])?;
    assert!(session.merge(&other)?);
    let other = token(&fixture.sessions.load([&*other])?.finish()?).expect("it is due");
    assert!(matches!(session.finish(), Err(Error::Superseded)));
    assert!(fixture.sessions.load([&*other])?.contains("name"));
    assert_eq!(fixture.rows(), 2);
    Ok(())
}

#[test]
fn longer_life_of_a_merged_session_is_taken_over_unless_it_is_another_users() -> TestResult {
    let later = TimeDelta::hours(1);
    for (own, other, is_taken_over) in
        [("alice", "alice", true), ("alice", "bob", false), ("bob", "alice", false)]
    {
        let fixture = Fixture::new();
        let early = logged_in(&fixture.sessions, own)?;
        let deadline = fixture.sessions.load([&*early])?.deadline();
        fixture.clock.advance(later);
        let late = logged_in(&fixture.sessions, other)?;

        let mut session = fixture.sessions.load([&*early])?;
        assert!(session.merge(&late)?);
        let expected = if is_taken_over { deadline + later } else { deadline };
        assert_eq!(session.deadline(), expected, "{other} into {own}");
        session.finish()?;
        assert_eq!(fixture.row().2, expected);

        let mut session = fixture.sessions.load([&*logged_in(&fixture.sessions, own)?])?;
        assert!(session.merge(&early)?);
        assert_eq!(session.deadline(), deadline + later, "a shorter one takes nothing");
    }
    Ok(())
}

#[test]
fn merging_and_logging_out_everywhere_else_goes_together() -> TestResult {
    for is_logged_in in [false, true] {
        let sessions = manager()?;
        let tokens = logged_in_sessions(&sessions, 3)?;
        let mut session = sessions.load(is_logged_in.then_some(&*tokens[0]))?;
        assert!(session.merge(&tokens[1])?);
        session.set_subject("7")?;
        session.destroy_others()?;
        session.insert("seen", true)?;
        let own = token(&session.finish()?).unwrap_or_else(|| tokens[0].clone());
        assert_eq!(sessions.sessions_of("7")?.len(), 1, "logged in: {is_logged_in}");
        assert_eq!(sessions.load([&*own])?.get("seen")?, Some(true));
    }
    Ok(())
}

#[test]
fn values_of_a_user_never_become_anothers_by_merging() -> TestResult {
    let secret = |sessions: &SessionManager, token: &str| -> Result<_, Error> {
        sessions.load([token])?.get::<String>("secret of")
    };
    for (user, seen) in [("alice", Some("alice".to_owned())), ("bob", None)] {
        let sessions = manager()?.with_kept_values(["language"]);
        // Back from another site, without the cookie.
        let mut session = sessions.load([])?;
        assert!(session.merge(&logged_in(&sessions, "alice")?)?);
        assert_eq!(session.subject(), None, "a token of somebody's logs nobody in");
        session.set_subject(user)?;
        let merged = token(&session.finish()?).expect("it is new");
        assert_eq!(secret(&sessions, &merged)?, seen, "in one request");

        let mut session = sessions.load([])?;
        assert!(session.merge(&logged_in(&sessions, "alice")?)?);
        let between = token(&session.finish()?).expect("it is new");
        let mut session = sessions.load([&*between])?;
        session.set_subject(user)?;
        let merged = token(&session.finish()?).expect("rights change");
        assert_eq!(secret(&sessions, &merged)?, seen, "in two requests");
        assert_eq!(sessions.load([&*merged])?.get("language")?, Some("alice".to_owned()));
    }

    let sessions = manager()?.with_kept_values(["language"]);
    let bob = logged_in(&sessions, "bob")?;
    let mut session = sessions.load([&*bob])?;
    assert!(session.merge(&logged_in(&sessions, "alice")?)?);
    session.finish()?;
    assert_eq!(secret(&sessions, &bob)?, Some("bob".to_owned()), "nor over values of one's own");
    assert_eq!(sessions.load([&*bob])?.get("language")?, Some("alice".to_owned()));
    Ok(())
}

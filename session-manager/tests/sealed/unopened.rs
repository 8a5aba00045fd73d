//! Sessions that only other processes can open: nothing takes their place.

use std::sync::Arc;

use session_manager::{
    Error, EventKind, Json, Sealed, SessionLimit, SessionManager, Status, Unopened,
};
use store_core::Store;

use crate::counting_store::{Failing, counting_store, token};
use crate::{Events, Manager, Session, TestResult, keys, manager_with, memory, row, rows};

const UNKNOWN: Unopened = Unopened::UnknownKey { id: 2 };

/// A process that has the new key, which seals.
fn new(store: &Arc<impl Store + ?Sized + 'static>) -> Manager {
    manager_with(Arc::clone(store), Sealed::new(Json, keys(&[2, 1])))
}

/// A process that nobody has given it yet.
fn old(store: &Arc<impl Store + ?Sized + 'static>) -> Manager {
    manager_with(Arc::clone(store), Sealed::new(Json, keys(&[1])))
}

fn log_in(sessions: &Manager) -> Result<String, Error> {
    let mut session = sessions.load([])?;
    session.set_subject("ada")?;
    session.insert("n", 1)?;
    Ok(token(&session.finish()?).expect("it is new"))
}

fn is_unopened<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Unopened(UNKNOWN)))
}

type Act = fn(&mut Session<'_>) -> TestResult;

#[test]
fn session_of_a_missing_key_is_left_alone_and_comes_back_with_the_key() -> TestResult {
    let store = memory();
    let cookie = log_in(&new(&store))?;
    let before = row(&*store);
    let (sessions, events) = Events::of(old(&store));

    let session = sessions.load([&*cookie])?;
    assert_eq!((session.subject(), session.is_empty()), (None, true));
    assert_eq!(events.take(), [EventKind::Unopened(UNKNOWN)]);
    assert_eq!(session.status(), Status::Unmodified);
    let finished = session.finish()?;
    assert_eq!((token(&finished), finished.id), (None, None), "the cookie is left alone");

    let acts: [Act; 5] = [
        |session| session.insert("n", 2),
        |session| session.update("n", |n: Option<i32>| n.unwrap_or(0) + 1).map(drop),
        |session| session.renew(),
        |session| session.remember_me(true),
        |session| session.flash("notice", "hello"),
    ];
    for act in acts {
        let mut session = sessions.load([&*cookie])?;
        act(&mut session)?;
        assert!(session.removal_headers().is_empty());
        let outcome = session.finish();
        assert!(is_unopened(&outcome), "{outcome:?}");
        assert!(outcome.is_err_and(|error| error.is_retryable()));
    }
    let mut session = sessions.load([&*cookie])?;
    assert!(is_unopened(&session.form_token()));
    assert!(is_unopened(&session.clear_subject()));
    assert!(is_unopened(&session.mark_authenticated()));
    assert!(is_unopened(&session.destroy_others()));
    let form = new(&store).load([&*cookie])?.form_token()?;
    assert!(is_unopened(&session.check_form_token(&form)), "nobody can say that it is forged");
    assert_eq!(row(&*store), before);
    assert_eq!(new(&store).load([&*cookie])?.subject().as_deref(), Some("ada"));
    Ok(())
}

#[test]
fn visitor_whose_session_cannot_be_opened_can_log_in_and_out() -> TestResult {
    let store = memory();
    let cookie = log_in(&new(&store))?;
    let sessions = old(&store);
    let mut session = sessions.load([&*cookie])?;
    session.set_subject("ada")?;
    session.insert("n", 5)?;
    let second = token(&session.finish()?).expect("a session of its own");
    assert_eq!(rows(&*store).len(), 2);
    assert_eq!(sessions.load([&*second])?.get("n")?, Some(5));
    assert_eq!(new(&store).load([&*cookie])?.get("n")?, Some(1));

    let mut session = sessions.load([&*cookie])?;
    session.destroy()?;
    assert_eq!(token(&session.finish()?).as_deref(), Some(""), "the cookie goes");
    assert!(new(&store).load([&*cookie])?.is_empty());
    assert_eq!(rows(&*store).len(), 1);
    Ok(())
}

#[test]
fn session_that_cannot_be_opened_hides_no_other_cookie() -> TestResult {
    let store = memory();
    let (unknown, good) = (log_in(&new(&store))?, log_in(&old(&store))?);
    let sessions = old(&store);
    assert_eq!(sessions.load([&*unknown, &*good])?.subject().as_deref(), Some("ada"));
    Ok(())
}

/// It was opened when the request was loaded, and another process has sealed it since then.
#[test]
fn request_that_meets_a_conflict_with_a_newer_key_changes_nothing() -> TestResult {
    let store = counting_store(Arc::new(store_core::SystemClock));
    let sessions = old(&store);
    let cookie = log_in(&sessions)?;
    let mut slow = sessions.load([&*cookie])?;
    slow.insert("slow", 1)?;
    assert_eq!(new(&store).reseal_all()?.resealed, 1);
    let before = row(&*store);
    assert!(is_unopened(&slow.finish()));
    assert_eq!(row(&*store), before);

    // The same for one that is merged.
    let other = log_in(&sessions)?;
    let mut session = sessions.load([&*other])?;
    assert!(is_unopened(&session.merge(&cookie)));
    let third = log_in(&sessions)?;
    assert!(session.merge(&third)?);
    let newer = new(&store);
    let mut quick = newer.load([&*third])?;
    quick.insert("n", 2)?;
    quick.finish()?;
    let before = rows(&*store);
    assert!(is_unopened(&session.finish()));
    assert_eq!(rows(&*store), before);
    Ok(())
}

/// What takes rights away must not pass over a session in silence.
#[test]
fn changing_all_sessions_of_a_user_says_which_it_could_not_change() -> TestResult {
    let store = memory();
    let (unknown, good) = (log_in(&new(&store))?, log_in(&old(&store))?);
    let (sessions, events) = Events::of(old(&store));
    assert_eq!(sessions.sessions_of("ada")?.len(), 1);
    assert_eq!(events.take(), [EventKind::Unopened(UNKNOWN)]);
    let changed = sessions.update_all_of("ada", |session| session.insert("n", 0));
    assert!(is_unopened(&changed));
    assert_eq!(sessions.load([&*good])?.get("n")?, Some(0), "the others are changed");
    assert_eq!(new(&store).load([&*unknown])?.get("n")?, Some(1));
    assert_eq!(new(&store).update_all_of("ada", |session| session.insert("n", 0))?, 2);
    // Ending needs no key.
    assert_eq!(sessions.destroy_all_of("ada")?, 2);
    Ok(())
}

#[test]
fn session_of_a_missing_key_counts_for_a_limit_and_gives_way_last() -> TestResult {
    let store = memory();
    let unknown = log_in(&new(&store))?;
    let limited = old(&store).with_session_limit(SessionLimit::EndOldest(2))?;
    let first = log_in(&limited)?;
    let second = log_in(&limited)?;
    assert!(limited.load([&*first])?.is_empty());
    assert!(limited.load([&*second])?.contains("n"));
    assert!(new(&store).load([&*unknown])?.contains("n"));
    let refusing = old(&store).with_session_limit(SessionLimit::Refuse(2))?;
    let refused = log_in(&refusing);
    assert!(matches!(refused, Err(Error::TooManySessions { max: 2 })), "{refused:?}");
    Ok(())
}

/// The second process was written for a newer form.
#[test]
fn session_of_a_newer_version_is_left_alone() -> TestResult {
    let store = memory();
    let cookie = log_in(&old(&store))?;
    let (key, mut data) = row(&*store);
    data[1] = 2;
    store.commit(&key, &data, chrono::Utc::now() + chrono::TimeDelta::hours(1))?;
    let (sessions, events) = Events::of(old(&store));
    let mut session = sessions.load([&*cookie])?;
    session.insert("n", 2)?;
    let newer = Unopened::NewerVersion { version: 2 };
    assert!(matches!(session.finish(), Err(Error::Unopened(why)) if why == newer));
    assert_eq!(events.take(), [EventKind::Unopened(newer)]);
    assert_eq!(row(&*store), (key, data));
    Ok(())
}

#[test]
fn key_that_is_lost_for_good_gives_its_visitors_fresh_sessions() -> TestResult {
    let store = memory();
    let cookie = log_in(&new(&store))?;
    let lost = keys(&[1]).with_lost_key(2).expect("the ring doesn't have it");
    let (sessions, events) = Events::of(manager_with(Arc::clone(&store), Sealed::new(Json, lost)));
    let mut session = sessions.load([&*cookie])?;
    session.insert("n", 2)?;
    assert!(token(&session.finish()?).is_some());
    assert_eq!(events.take(), [EventKind::Undecodable, EventKind::Created]);
    assert_eq!(rows(&*store).len(), 2);
    Ok(())
}

/// A store that fails isn't a key that is missing.
#[test]
fn failing_store_is_told_from_a_missing_key() -> TestResult {
    let store = counting_store(Arc::new(store_core::SystemClock));
    let cookie = log_in(&new(&store))?;
    store.fail_once(Failing::Find);
    assert!(matches!(old(&store).load([&*cookie]), Err(Error::Store(_))));
    // Nor is a manager without keys one that opens.
    let plain = SessionManager::new(Arc::clone(&store));
    assert!(plain.load([&*cookie])?.is_empty());
    Ok(())
}

//! Requests that fail, or meet others, in the middle of being written: what a session does is done
//! as a whole or not at all, nobody who has logged out comes back, and the index says what the data
//! say.

mod counting_store;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{TimeDelta, Utc};
use counting_store::{CountingStore, Failing, counting_store, token};
use session_manager::{Error, EventKind, Session, SessionManager};
use store_core::{Store, SystemClock};

type TestResult = Result<(), Error>;

/// A manager, which lives forever so that sessions can be passed around, and its store.
fn fixture() -> (&'static SessionManager, Arc<CountingStore>) {
    let store = counting_store(Arc::new(SystemClock));
    (Box::leak(Box::new(SessionManager::new(Arc::clone(&store)))), store)
}

/// Does something to a session, and returns the token that it has then.
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

/// Writes a session on a store that fails, and is well again afterwards; returns the error.
fn failed(store: &CountingStore, failing: Failing, session: Session<'_>) -> Option<Error> {
    store.fail(failing);
    let outcome = session.finish();
    store.fail(Failing::Nothing);
    outcome.err()
}

/// Each session that says who has logged in is in the index, and no other is.
fn assert_index_is_true(sessions: &SessionManager) -> TestResult {
    let mut by_data = Vec::new();
    sessions.for_each(|session| {
        by_data.extend(session.subject().map(|subject| (subject, session.key().clone())));
        ControlFlow::Continue(())
    })?;
    let mut by_index = Vec::new();
    for subject in ["ada", "grace"] {
        for session in sessions.sessions_of(subject)? {
            by_index.push((subject.to_owned(), session.key().clone()));
        }
    }
    by_data.sort_by_key(|(subject, key)| (subject.clone(), key.as_str().to_owned()));
    by_index.sort_by_key(|(subject, key)| (subject.clone(), key.as_str().to_owned()));
    assert_eq!(by_data, by_index);
    Ok(())
}

#[test]
fn login_that_fails_leaves_nobody_logged_in_under_the_old_token() -> TestResult {
    for failing in [Failing::Update, Failing::UpdateUnheard, Failing::DeleteBySubject] {
        let (sessions, store) = fixture();
        let old = anonymous(sessions)?;
        let mut session = sessions.load([&*old])?;
        session.set_subject("ada")?;
        session.insert("user_id", 7)?;
        session.destroy_others()?;
        let error = failed(&store, failing, session);
        assert!(matches!(error, Some(Error::Store(_))), "{failing:?}");
        let session = sessions.load([&*old])?;
        assert_eq!(session.subject(), None, "{failing:?}");
        assert!(!session.contains("user_id"), "{failing:?}");
        assert_eq!(store.count()?, 1, "{failing:?}: before or after, and nothing in between");
        assert_index_is_true(sessions)?;
        let again = request(sessions, &old, |session| session.set_subject("ada"))?;
        assert!(again != old && is_listed(sessions)?, "{failing:?}: the visitor can try again");
    }
    Ok(())
}

#[test]
fn login_that_was_not_written_leaves_the_visitor_as_before() -> TestResult {
    for failing in [Failing::Update, Failing::UpdateNeverMatches, Failing::DeleteBySubject] {
        let (sessions, store) = fixture();
        let old = anonymous(sessions)?;
        let mut session = sessions.load([&*old])?;
        session.set_subject("ada")?;
        session.destroy_others()?;
        assert!(failed(&store, failing, session).is_some(), "{failing:?}");
        let session = sessions.load([&*old])?;
        assert_eq!((session.get("cart")?, session.subject()), (Some(3), None), "{failing:?}");
        assert!(!is_listed(sessions)?, "{failing:?}");
    }
    Ok(())
}

#[test]
fn merge_that_fails_is_done_as_a_whole_or_not_at_all() -> TestResult {
    for failing in [Failing::Update, Failing::UpdateUnheard] {
        for is_stored in [true, false] {
            let (sessions, store) = fixture();
            let own = if is_stored { anonymous(sessions)? } else { String::new() };
            let other = logged_in(sessions)?;
            request(sessions, &other, |session| session.insert("theme", "dark"))?;
            let mut session = sessions.load([&*own])?;
            assert!(session.merge(&other)?);
            assert!(failed(&store, failing, session).is_some(), "{failing:?}");
            let (left, was_done) =
                (sessions.load([&*other])?.subject(), failing == Failing::UpdateUnheard);
            assert_eq!(left.as_deref(), (!was_done).then_some("ada"), "{failing:?}");
            if is_stored {
                assert_eq!(sessions.load([&*own])?.contains("theme"), was_done, "{failing:?}");
            }
            assert_index_is_true(sessions)?;
        }
    }
    Ok(())
}

#[test]
fn session_that_only_others_can_read_keeps_its_token() -> TestResult {
    let (sessions, store) = fixture();
    let old = anonymous(sessions)?;
    let before: Vec<_> = store.all()?.into_keys().collect();
    let mut session = sessions.load([&*old])?;
    session.set_subject("ada")?;
    let same = Arc::clone(&store);
    store.before(Failing::Update, move || {
        for key in same.all().expect("the store is well").into_keys() {
            let in_an_hour = Utc::now() + TimeDelta::hours(1);
            same.commit(&key, b"of another version", in_an_hour).expect("the store is well");
        }
    });
    assert!(matches!(session.finish(), Err(Error::Superseded)));
    assert_eq!(store.all()?.into_keys().collect::<Vec<_>>(), before);
    Ok(())
}

#[test]
fn logout_everywhere_misses_no_session_that_was_to_change_hands() -> TestResult {
    let (sessions, store) = fixture();
    let token = logged_in(sessions)?;
    let mut session = sessions.load([&*token])?;
    session.set_subject("grace")?;
    store.before(Failing::Update, move || {
        sessions.destroy_all_of("ada").expect("the store is well");
    });
    assert!(matches!(session.finish(), Err(Error::Superseded)));
    assert!(sessions.load([&*token])?.is_empty());
    assert!(store.all()?.is_empty());
    Ok(())
}

/// What requests do to the subject.
const ACTS: [fn(&mut Session<'_>) -> TestResult; 5] = [
    |session| session.clear_subject(),
    |session| session.set_subject("grace"),
    |session| {
        session.set_subject("ada")?;
        session.insert("theme", "dark")
    },
    |session| session.renew(),
    |session| session.insert("visits", 1),
];

#[test]
fn index_says_what_the_data_say_whatever_fails() -> TestResult {
    for failing in [Failing::Update, Failing::UpdateNeverMatches, Failing::UpdateUnheard] {
        for (n, act) in ACTS.iter().enumerate() {
            let (sessions, store) = fixture();
            let token = logged_in(sessions)?;
            let mut session = sessions.load([&*token])?;
            act(&mut session)?;
            assert!(failed(&store, failing, session).is_some(), "{failing:?}, act {n}");
            assert_index_is_true(sessions)?;
            let was_done = failing == Failing::UpdateUnheard;
            assert_eq!(sessions.sessions_of("ada")?.len(), usize::from(!was_done || n > 1));
        }
    }
    Ok(())
}

#[test]
fn index_says_what_the_data_say_while_others_write() -> TestResult {
    for (n, act) in ACTS.iter().enumerate() {
        for (m, other) in ACTS.iter().enumerate() {
            let (sessions, store) = fixture();
            let token = logged_in(sessions)?;
            let [mut session, mut first] = [sessions.load([&*token])?, sessions.load([&*token])?];
            act(&mut session)?;
            other(&mut first)?;
            store.before(Failing::Update, move || drop(first.finish().expect("it comes first")));
            match session.finish() {
                Ok(_) => {}
                Err(Error::Superseded) => assert!(m < 2 || m == 3, "{n}, {m}: rights changed"),
                Err(error) => return Err(error),
            }
            assert_eq!(store.count()?, 1, "{n}, {m}");
            assert_index_is_true(sessions)?;
        }
    }
    Ok(())
}

#[test]
fn logout_in_the_middle_of_another_request_holds_whatever_fails() -> TestResult {
    for failing in [Failing::Nothing, Failing::Update, Failing::UpdateUnheard] {
        for (n, act) in ACTS.iter().enumerate() {
            let (sessions, store) = fixture();
            let old = logged_in(sessions)?;
            let mut session = sessions.load([&*old])?;
            act(&mut session)?;
            // With the token that the browser had when both requests were sent.
            let mut log_out = sessions.load([&*old])?;
            store.before(Failing::Update, move || {
                log_out.destroy().expect("deleting doesn't fail");
            });
            failed(&store, failing, session);
            assert!(sessions.load([&*old])?.is_empty(), "{failing:?}, act {n}");
            assert!(store.all()?.is_empty(), "{failing:?}, act {n}");
        }
    }
    Ok(())
}

#[test]
fn logout_in_the_middle_of_a_merge_holds_whatever_fails() -> TestResult {
    for failing in [Failing::Nothing, Failing::Update] {
        for is_loaded_before in [true, false] {
            let (sessions, store) = fixture();
            let (own, other) = (anonymous(sessions)?, logged_in(sessions)?);
            let mut session = sessions.load([&*own])?;
            assert!(session.merge(&other)?);
            let early = if is_loaded_before { Some(sessions.load([&*other])?) } else { None };
            let others_token = other.clone();
            store.before(Failing::Update, move || {
                let load = || sessions.load([&*others_token]).expect("the store is well");
                let mut log_out = early.unwrap_or_else(load);
                log_out.destroy().expect("the store is well");
                log_out.finish().expect("the store is well");
            });
            assert!(failed(&store, failing, session).is_some());
            assert!(sessions.load([&*other])?.is_empty());
            assert!(sessions.load([&*own])?.contains("cart"), "it is as before");
            assert!(!is_listed(sessions)?);
        }
    }
    Ok(())
}

#[test]
fn panic_in_an_update_that_is_run_again_leaves_the_session_as_it_was() -> TestResult {
    let (sessions, store) = fixture();
    let old = anonymous(sessions)?;
    let mut session = sessions.load([&*old])?;
    session.renew()?;
    let mut is_first = true;
    session.update("cart", move |cart: Option<u32>| {
        if !std::mem::take(&mut is_first) {
            resume_unwind(Box::new("it panics"));
        }
        cart.unwrap_or(0) + 1
    })?;
    let other = old.clone();
    store.before(Failing::Update, move || {
        request(sessions, &other, |session| session.insert("theme", "dark")).expect("it is well");
    });
    assert!(catch_unwind(AssertUnwindSafe(|| session.finish())).is_err());
    let session = sessions.load([&*old])?;
    assert_eq!(session.get("cart")?, Some(3), "the old token is good, and nothing changed");
    drop(session);
    request(sessions, &old, |session| session.insert("more", 1))?;
    Ok(())
}

#[test]
fn panic_in_an_event_hook_loses_no_answer() -> TestResult {
    let store = counting_store(Arc::new(SystemClock));
    let panics = Arc::new(AtomicBool::new(false));
    let sessions = SessionManager::new(store).with_event_hook({
        let panics = Arc::clone(&panics);
        move |event| {
            if event.kind != EventKind::Lost && panics.load(Ordering::Relaxed) {
                resume_unwind(Box::new("the hook panics"));
            }
        }
    });
    panics.store(true, Ordering::Relaxed);
    let old = anonymous(&sessions)?;
    let new = request(&sessions, &old, |session| session.set_subject("ada"))?;
    assert_ne!(new, old, "the browser hears of its token");
    assert_eq!(sessions.load([&*new])?.subject().as_deref(), Some("ada"));
    let gone = request(&sessions, &new, |session| {
        session.destroy()?;
        Ok(())
    })?;
    assert_eq!(gone, "");
    Ok(())
}

//! Rows that somebody who can write to the store has moved.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use session_manager::{CookiePolicy, Error, EventKind, Json, Sealed};
use store_core::Store;

use crate::counting_store::token;
use crate::fixture::renewed;
use crate::{Events, Manager, TestResult, keys, manager, manager_with, memory, row, rows};

fn log_in(sessions: &Manager, user: &str) -> Result<String, Error> {
    let mut session = sessions.load([])?;
    session.set_subject(user)?;
    Ok(token(&session.finish()?).expect("it is new"))
}

fn key(sessions: &Manager, token: &str) -> Result<String, Error> {
    Ok(sessions.load([token])?.key().expect("it is stored").as_str().to_owned())
}

fn put(store: &Arc<dyn Store>, key: &str, data: &[u8]) -> TestResult {
    Ok(store.commit(key, data, Utc::now() + TimeDelta::hours(1))?)
}

#[test]
fn row_copied_to_another_key_does_not_open() -> TestResult {
    let store = memory();
    let (sessions, events) = Events::of(manager(Arc::clone(&store)));
    let (mine, admin) = (log_in(&sessions, "mallory")?, log_in(&sessions, "admin")?);
    let (mine_key, admin_key) = (key(&sessions, &mine)?, key(&sessions, &admin)?);
    let of_admin = rows(&*store)[&admin_key].clone();
    put(&store, &mine_key, &of_admin)?;
    events.take();
    let session = sessions.load([&*mine])?;
    assert_eq!((session.subject(), session.is_empty()), (None, true));
    assert_eq!(events.take(), [EventKind::Undecodable]);
    assert_eq!(sessions.load([&*admin])?.subject().as_deref(), Some("admin"));
    assert_eq!(rows(&*store)[&mine_key], of_admin, "it is left as it is");
    Ok(())
}

/// Also if the cookie's name is the one difference, as where keys don't depend on it.
#[test]
fn row_of_another_application_does_not_open() -> TestResult {
    let (shop, work) = (memory(), memory());
    let plain = |store: &Arc<dyn Store>, name: &str| {
        manager(Arc::clone(store))
            .with_scs_hashed_tokens_in_store()
            .with_cookie(CookiePolicy::new().with_name(name))
    };
    let customers = plain(&shop, "__Host-shop")?;
    let (workers, events) = Events::of(plain(&work, "__Host-work")?);
    let cookie = log_in(&customers, "ada")?;
    let (key, data) = row(&*shop);
    put(&work, &key, &data)?;
    assert_eq!(workers.load([&*cookie])?.subject(), None);
    assert_eq!(events.take(), [EventKind::Undecodable], "it isn't even read whose it is");
    assert_eq!(customers.load([&*cookie])?.subject().as_deref(), Some("ada"));
    assert_eq!(plain(&work, "__Host-shop")?.load([&*cookie])?.subject().as_deref(), Some("ada"));
    Ok(())
}

#[test]
fn session_with_a_new_token_is_sealed_for_its_new_place() -> TestResult {
    let store = memory();
    let sessions = manager(Arc::clone(&store));
    let first = log_in(&sessions, "ada")?;
    let (old_key, before) = row(&*store);
    let second = renewed(&sessions, &first)?;
    let (new_key, after) = row(&*store);
    assert_ne!(old_key, new_key);
    assert_eq!(sessions.load([&*second])?.subject().as_deref(), Some("ada"));

    // What was sealed for the old place doesn't open in the new one, and the other way round.
    put(&store, &new_key, &before)?;
    assert_eq!(sessions.load([&*second])?.subject(), None);
    put(&store, &new_key, &after)?;
    assert_eq!(sessions.load([&*second])?.subject().as_deref(), Some("ada"));
    put(&store, &old_key, &after)?;
    assert_eq!(sessions.load([&*first])?.subject(), None);
    Ok(())
}

/// What no codec can notice: the guide says so.
#[test]
fn old_row_put_back_in_its_own_place_opens() -> TestResult {
    let store = memory();
    let sessions = manager(Arc::clone(&store));
    let cookie = log_in(&sessions, "ada")?;
    let (key, old) = row(&*store);
    let mut session = sessions.load([&*cookie])?;
    session.insert("role", "reader")?;
    session.finish()?;
    put(&store, &key, &old)?;
    assert_eq!(sessions.load([&*cookie])?.get::<String>("role")?, None);
    Ok(())
}

/// Moving a session from its plain token to the hash is another place, too.
#[test]
fn session_that_is_moved_to_the_hash_of_its_token_is_sealed_there() -> TestResult {
    let store = memory();
    let plain = manager(Arc::clone(&store)).with_plain_tokens_in_store();
    let cookie = log_in(&plain, "ada")?;
    let hashed = manager(Arc::clone(&store)).with_hashed_tokens_and_plain_fallback();
    let session = hashed.load([&*cookie])?;
    assert_eq!(session.subject().as_deref(), Some("ada"));
    session.finish()?;
    assert_ne!(row(&*store).0, cookie);
    assert_eq!(hashed.load([&*cookie])?.subject().as_deref(), Some("ada"));
    Ok(())
}

#[test]
fn store_shows_no_value_and_no_name_of_one() -> TestResult {
    let store = memory();
    let sessions = manager(Arc::clone(&store));
    let mut session = sessions.load([])?;
    session.set_subject("ada@example.org")?;
    session.insert("address", "12 St James's Square")?;
    session.finish()?;
    let (_, data) = row(&*store);
    for text in ["ada", "address", "12 St", "deadline", "values", "__subject", "__Host-session"] {
        assert!(!data.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
    }
    Ok(())
}

/// A write that changes nothing isn't made, although it would be sealed to other bytes.
#[test]
fn edits_that_come_to_nothing_write_nothing() -> TestResult {
    let store = memory();
    let sessions = manager_with(Arc::clone(&store), Sealed::new(Json, keys(&[1])));
    let cookie = log_in(&sessions, "ada")?;
    let before = row(&*store);
    let mut session = sessions.load([&*cookie])?;
    session.insert("visits", 1)?;
    session.remove("visits");
    session.finish()?;
    assert_eq!(row(&*store), before);
    let mut session = sessions.load([&*cookie])?;
    session.insert("visits", 1)?;
    session.finish()?;
    assert_ne!(row(&*store), before);
    Ok(())
}

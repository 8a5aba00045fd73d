//! Users in the store's index as keyed hashes.

use std::sync::Arc;

use session_manager::{Error, Json, Sealed, SecretKey, SessionManager};
use store_core::Store;

use crate::counting_store::{Failing, counting_store, token};
use crate::{TestResult, keys, memory, secret};

type Manager = SessionManager<Sealed<Json>>;

fn manager(store: &Arc<impl Store + ?Sized + 'static>, key: Option<SecretKey>) -> Manager {
    let codec = Sealed::new(Json, keys(&[1]));
    let sessions = SessionManager::new(Arc::clone(store)).with_codec(codec);
    match key {
        Some(key) => sessions.with_hashed_subjects(key),
        None => sessions,
    }
}

fn log_in(sessions: &Manager, user: &str) -> Result<String, Error> {
    let mut session = sessions.load([])?;
    session.set_subject(user)?;
    Ok(token(&session.finish()?).expect("it is new"))
}

#[test]
fn index_has_a_hash_of_the_user_and_the_cookie_under_the_key() -> TestResult {
    let store = memory();
    log_in(&manager(&store, Some(secret(1))), "ada")?;
    assert!(store.find_by_subject("__Host-session:ada")?.is_empty());
    // HMAC-SHA-256 with 32 bytes of 1, of "__Host-session", a NUL and "ada", by another program.
    let hash = "__Host-session=EeQYaQkYvRVDRC88WgHju264Cw6q-aLmJ5K-tG_7aaQ";
    assert_eq!(store.find_by_subject(hash)?.len(), 1);
    Ok(())
}

/// Somebody who has read the index can't choose a name that is found there.
#[test]
fn user_with_the_name_of_a_hash_is_another_one() -> TestResult {
    let store = memory();
    let hashed = manager(&store, Some(secret(1)));
    log_in(&hashed, "ada")?;
    let plain = manager(&store, None);
    for name in [
        "=EeQYaQkYvRVDRC88WgHju264Cw6q-aLmJ5K-tG_7aaQ",
        "EeQYaQkYvRVDRC88WgHju264Cw6q-aLmJ5K-tG_7aaQ",
    ] {
        assert!(plain.sessions_of(name)?.is_empty());
        assert_eq!(plain.destroy_all_of(name)?, 0);
    }
    assert_eq!(hashed.sessions_of("ada")?.len(), 1);
    Ok(())
}

#[test]
fn lengths_of_subjects_are_limited_as_before() -> TestResult {
    let store = memory();
    for key in [None, Some(secret(1))] {
        let sessions = manager(&store, key);
        let mut session = sessions.load([])?;
        let longest = "x".repeat(store_core::MAX_SUBJECT_LEN - "__Host-session:".len());
        assert!(matches!(session.set_subject(""), Err(Error::Store(_))));
        assert!(matches!(session.set_subject(&format!("{longest}x")), Err(Error::Store(_))));
        session.set_subject(&longest)?;
        session.finish()?;
        assert_eq!(sessions.sessions_of(&longest)?.len(), 1);
    }
    Ok(())
}

/// From none to a key, to another one, and back to none.
#[test]
fn subjects_are_indexed_again_when_their_key_changes() -> TestResult {
    let store = memory();
    let steps = [None, Some(secret(1)), Some(secret(2)), None];
    let mut before = manager(&store, steps[0].clone());
    let cookie = log_in(&before, "ada")?;
    log_in(&before, "ada")?;
    log_in(&before, "grace")?;
    let mut session = before.load([])?;
    session.insert("n", 1)?;
    session.finish()?;
    for key in &steps[1..] {
        let after = manager(&store, key.clone());
        assert!(after.sessions_of("ada")?.is_empty());
        assert_eq!(after.reindex_subjects()?, 3);
        assert_eq!(after.sessions_of("ada")?.len(), 2);
        assert_eq!(after.sessions_of("grace")?.len(), 1);
        assert!(before.sessions_of("ada")?.is_empty());
        assert_eq!(after.load([&*cookie])?.subject().as_deref(), Some("ada"));
        before = after;
    }
    assert_eq!(before.destroy_all_of("ada")?, 2);
    assert!(before.load([&*cookie])?.is_empty());
    Ok(())
}

#[test]
fn indexing_again_overwrites_and_revives_nothing() -> TestResult {
    type Act = fn(&Manager, &str) -> TestResult;
    let acts: [(Act, u64); 4] = [
        (
            |sessions, cookie| {
                let mut session = sessions.load([cookie])?;
                session.insert("n", 2)?;
                session.finish().map(drop)
            },
            1,
        ),
        (
            |sessions, cookie| {
                let mut session = sessions.load([cookie])?;
                session.renew()?;
                session.insert("n", 2)?;
                session.finish().map(drop)
            },
            1,
        ),
        (|sessions, cookie| sessions.load([cookie])?.destroy(), 0),
        (
            |sessions, cookie| {
                let mut session = sessions.load([cookie])?;
                session.set_subject("grace")?;
                session.finish().map(drop)
            },
            0,
        ),
    ];
    for (act, left) in acts {
        let store = counting_store(Arc::new(store_core::SystemClock));
        let cookie = log_in(&manager(&store, None), "ada")?;
        let other = manager(&store, Some(secret(1)));
        store.before(Failing::Update, move || act(&other, &cookie).expect("memory doesn't fail"));
        let sessions = manager(&store, Some(secret(1)));
        assert_eq!(sessions.reindex_subjects()?, left);
        let all = sessions.sessions_of("ada")?;
        assert_eq!(all.len() as u64, left);
        for session in all {
            assert_eq!(session.get("n")?, Some(2), "what the request has written stays");
        }
    }
    Ok(())
}

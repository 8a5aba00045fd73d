//! Sessions that are sealed and users that are hashed, with the application's keys and without.

use std::error::Error;
use std::fs;
use std::sync::Arc;

use session_manager::{
    Codec, Json, KeyRing, MessagePack, Sealed, SecretKey, SessionId, SessionManager,
};
use store_core::Store;

use crate::TestResult;
use crate::place::Place;

on_every_store! {
    sealed_sessions_are_unknown_without_the_keys
    sealed_sessions_are_shown_with_the_keys
    sealed_sessions_end_by_their_id
    users_are_found_by_the_key_of_their_hashes
    keys_that_are_none_are_refused_and_not_shown
}

const KEYS: &str = "1 c2Vzc2lvbi1tYW5hZ2VyIGRvY3Mga2V5LCBpbnNlYyE=";
const OTHER_KEYS: &str = "1 YW5vdGhlciBvbmUsIHdoaWNoIGlzbid0IHNlY3JldCE=";
const SUBJECT_KEY: &str = "YW5vdGhlciBvbmUsIHdoaWNoIGlzbid0IHNlY3JldCE=";

/// Stores two sessions, one of them in MessagePack.
fn fill(place: &Place) -> Result<[SessionId; 2], Box<dyn Error>> {
    let store = place.open();
    let packed = Sealed::new(MessagePack, KeyRing::from_text(KEYS)?);
    let json = Sealed::new(Json, KeyRing::from_text(KEYS)?);
    Ok([log_in(&store, json, "ada")?, log_in(&store, packed, "grace")?])
}

fn log_in<C: Codec>(
    store: &Arc<dyn Store>,
    codec: C,
    user: &str,
) -> Result<SessionId, Box<dyn Error>> {
    let sessions = SessionManager::new(Arc::clone(store)).with_codec(codec);
    let sessions = sessions.with_hashed_subjects(SecretKey::from_base64(SUBJECT_KEY)?);
    let mut session = sessions.load([])?;
    session.set_subject(user)?;
    Ok(session.finish()?.id.expect("it is stored"))
}

/// Writes a file next to the store, and returns its path.
fn file(place: &Place, name: &str, content: &str) -> Result<String, std::io::Error> {
    let path = place.directory().join(name);
    fs::write(&path, content)?;
    Ok(path.display().to_string())
}

fn sealed_sessions_are_unknown_without_the_keys(place: &Place) -> TestResult {
    let ids = fill(place)?;
    let other_keys = file(place, "keys", OTHER_KEYS)?;
    let keys = file(place, "right-keys", KEYS)?;
    for arguments in [
        &["list"][..],
        &["list", "--keys", &other_keys],
        &["list", "--keys", &keys, "--cookie", "__Host-another"],
    ] {
        let shown = place.run(arguments).done();
        assert_eq!(shown.matches("unknown  unknown  unknown").count(), 2, "{shown}");
        assert!(!shown.contains("ada"), "{shown}");
    }
    let ended = place.run(&["logout", "--id", &ids[0].to_string(), "--yes"]);
    ended.ended(3, "no session has the id");
    Ok(())
}

fn sealed_sessions_are_shown_with_the_keys(place: &Place) -> TestResult {
    let ids = fill(place)?;
    let keys = file(place, "keys", KEYS)?;
    let shown = place.run(&["list", "--keys", &keys]).done();
    for (id, user) in ids.iter().zip(["ada", "grace"]) {
        let row = shown.lines().find(|row| row.starts_with(&id.to_string())).expect("it is shown");
        assert!(row.contains(user) && row.contains("__Host-session"), "{row}");
    }
    Ok(())
}

fn sealed_sessions_end_by_their_id(place: &Place) -> TestResult {
    let ids = fill(place)?;
    let keys = file(place, "keys", KEYS)?;
    for id in ids {
        let by_id = ["logout", "--id", &id.to_string(), "--keys", &keys, "--yes"];
        assert_eq!(place.run(&by_id).done(), "1 session ended\n");
    }
    assert_eq!(place.open().count()?, 0);
    Ok(())
}

fn users_are_found_by_the_key_of_their_hashes(place: &Place) -> TestResult {
    fill(place)?;
    let key = file(place, "subject-key", SUBJECT_KEY)?;
    place.run(&["list", "--subject", "ada"]).ended(0, "no session of");
    let shown = place.run(&["list", "--subject", "ada", "--subject-key", &key, "--json"]).done();
    assert_eq!(shown.lines().count(), 1, "{shown}");
    let logout = ["logout", "--subject", "ada", "--subject-key", &key, "--yes"];
    assert_eq!(place.run(&logout).done(), "1 session ended\n");
    assert_eq!(place.open().count()?, 1);
    Ok(())
}

fn keys_that_are_none_are_refused_and_not_shown(place: &Place) -> TestResult {
    fill(place)?;
    let bad = file(place, "bad", "s3cret")?;
    for arguments in [
        &["list", "--keys", &bad][..],
        &["list", "--keys", "no such file"],
        &["list", "--subject", "ada", "--subject-key", &bad],
        &["list", "--subject-key", &bad],
        &["logout", "--subject", "ada", "--as-stored", "--subject-key", &bad],
    ] {
        let refused = place.run(arguments);
        refused.ended(2, "key");
        assert!(!refused.err.contains("s3cret"), "{}", refused.err);
    }
    Ok(())
}

//! Sealed sessions and files of keys: what opens is what was sealed in that place, bit for bit, and
//! whatever doesn't open is left alone.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, TimeDelta};
use session_manager::{
    Codec as _, Error, Json, KeyError, KeyRing, Row, Sealed, SecretKey, SessionManager, Unopened,
};
use store_core::{CleanupOptions, ManualClock, MemoryOptions, Store as _};

use super::text;
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "sealed",
    words: &[
        b"\xC1",
        b"\xC1\x01",
        b"\xC1\x01\x00\x00\x00\x01",
        b"\xC1\x01\x00\x00\x00\x02",
        b"\xC1\x01\x00\x00\x00\x03",
        b"\xC1\x02",
        b"\xC1\xFF",
        br#"{"v":1,"deadline":"2126-11-21T15:30:00Z","values":{"visits":3}}"#,
        b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
        b"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=",
        b"4294967295 ",
        b"1 ",
        b"lost",
        b"#",
        b"\n",
        b"\r\n",
        b"\t",
        b"=",
    ],
    seeds,
    max_len: 16 * 1024,
    max_memory: |len| (4 << 20) + 64 * len,
    test,
};

const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const COOKIE: &str = "__Host-session";

/// A session, and how many of its bytes others can choose.
const TEXT: &[u8] = br#"{"v":1,"deadline":"2126-11-21T15:30:00.000000Z","values":{"visits":3,"__manager":"plain:__Host-session"}}"#;

/// A ring that has the key 3 for lost.
fn ring() -> KeyRing {
    let key = |id: u8| SecretKey::from_bytes(&[id; 32]).expect("it has the length of one");
    let ring = KeyRing::new(1, key(1)).with_key(2, key(2)).expect("another id");
    ring.with_lost_key(3).expect("another id")
}

/// What was sealed in the place of the token: by the key that seals, and one that only opens.
fn sealed() -> &'static [Vec<u8>] {
    static SEALED: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SEALED.get_or_init(|| {
        let key = |id: u8| SecretKey::from_bytes(&[id; 32]).expect("it has the length of one");
        let seal = |id: u8, row: Row<'_>| {
            let codec = Sealed::new(Json, KeyRing::new(id.into(), key(id)));
            codec.seal(&row, TEXT.to_vec()).expect("there is randomness")
        };
        vec![seal(1, Row::new(COOKIE, TOKEN)), seal(2, Row::new(COOKIE, TOKEN))]
    })
}

/// Those, and the same of other places.
fn seeds() -> Vec<Vec<u8>> {
    let codec = Sealed::new(Json, ring());
    let elsewhere = [Row::new(COOKIE, "another key"), Row::new("__Host-other", TOKEN)];
    let elsewhere =
        elsewhere.map(|row| codec.seal(&row, TEXT.to_vec()).expect("there is randomness"));
    sealed().iter().cloned().chain(elsewhere).collect()
}

fn test(input: &[u8]) -> String {
    format!("{}; {}", open(input), read_ring(&text(input)))
}

/// Has the manager find the input in the place of the token.
fn open(input: &[u8]) -> String {
    let now = DateTime::from_timestamp(1_767_225_600, 0).expect("the first of January 2026");
    let clock = Arc::new(ManualClock::new(now));
    let store = MemoryOptions::new().with_clock(clock.clone());
    let store = store.with_cleanup(CleanupOptions::disabled()).build();
    let store = Arc::new(store.expect("memory needs nothing"));
    store.commit(TOKEN, input, now + TimeDelta::days(1)).expect("in memory");
    let sessions = SessionManager::new(Arc::clone(&store))
        .with_clock(clock)
        .with_plain_tokens_in_store()
        .with_codec(Sealed::new(Json, ring()));
    let mut session = sessions.load([TOKEN]).expect("in memory");
    let is_opened = session.token().is_some();
    assert_eq!(is_opened, sealed().iter().any(|row| row == input), "what opens was sealed there");
    if is_opened {
        assert_eq!(session.get("visits").expect("types aren't strict"), Some(3));
        return "opened".to_owned();
    }
    session.insert("new", 1).expect("a number");
    let outcome = match session.finish() {
        Ok(finished) => {
            assert!(finished.id.is_some(), "the request got a fresh session");
            "undecodable"
        }
        Err(Error::Unopened(Unopened::UnknownKey { .. })) => "unknown key",
        Err(Error::Unopened(Unopened::NewerVersion { .. })) => "newer version",
        Err(other) => panic!("{other:?}"),
    };
    let resealed = sessions.reseal_all().expect("in memory").resealed;
    assert_eq!(resealed, 0, "what can't be opened was sealed");
    let found = store.find(TOKEN).expect("in memory");
    assert_eq!(found.as_deref(), Some(input), "what can't be opened was changed");
    outcome.to_owned()
}

/// Reads the input as a file of keys.
fn read_ring(text: &str) -> String {
    let shown = match KeyRing::from_text(text) {
        Ok(ring) => {
            assert!(text.contains('='), "there is no key");
            let shown = format!("{ring:?}");
            let is_shown = |byte: char| byte.is_ascii_alphanumeric() || " ,:{}[]".contains(byte);
            assert!(shown.chars().all(is_shown), "{shown}");
            return "a ring".to_owned();
        }
        Err(KeyError::DuplicateId { .. }) => "a duplicate".to_owned(),
        Err(error) => error.to_string(),
    };
    // Not as many outcomes as lines.
    if shown.len() > "line 99 is not an id and a key".len() {
        "a long line".to_owned()
    } else {
        shown
    }
}

//! The data of a session in the store, which another program may have written there: the request
//! gets a session that it can use, or a typed error, and what can't be decoded is left alone.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use session_manager::{Codec, Error, Finished, MessagePack, SessionManager};
use store_core::{CleanupOptions, ManualClock, MemoryOptions, MemoryStore, Store};

use super::no_seeds;
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "stored_data",
    words: &[
        br#"{"v":1,"deadline":"2126-11-21T15:30:00Z","values":{"#,
        br#""__manager":"plain:__Host-session""#,
        br#""__rotated":"#,
        br#""__rememberMe":true"#,
        br#""__subject":"ada""#,
        br#""__owner":"ada""#,
        br#""__flash.a":1"#,
        br#""9999-12-31T23:59:59.999999999-23:59""#,
        br#""0000-01-01T00:00:00+23:59""#,
        b"9223372036854775807",
        b"-9223372036854775808",
        b"\xA8deadline\xCF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\xA8deadline\xD3\x80\x00\x00\x00\x00\x00\x00\x00",
        b"\xA9__rotated\xC4\x09\xD3",
        b"\xA9__subject\xC4\x04\xA3ada",
        b"\xA7__owner\xC4\x04\xA3ada",
        b"\xAC__rememberMe\xC4\x01\xC3",
        b"\xA9__flash.a\xC4\x01\x01",
        b",",
        b"}",
        b"{",
    ],
    seeds: no_seeds,
    max_len: 16 * 1024,
    max_memory: |len| (4 << 20) + 256 * len,
    test,
};

const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The same in each run, so that the age of a seed's token is, too.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).expect("the first of January 2026")
}

fn test(input: &[u8]) -> String {
    let clock = Arc::new(ManualClock::new(now()));
    let manager = |store| {
        SessionManager::new(store)
            .with_clock(clock.clone())
            .with_plain_tokens_in_store()
            .with_idle_timeout(Duration::from_secs(60))
            .and_then(|sessions| sessions.with_rotation(Duration::from_secs(3_600)))
            .expect("the options are right")
    };
    let stores = [(); 4].map(|()| {
        let store = MemoryOptions::new().with_clock(clock.clone());
        let store = store.with_cleanup(CleanupOptions::disabled()).build();
        Arc::new(store.expect("memory needs nothing"))
    });
    let outcomes = [
        use_session(&stores[0], &manager(Arc::clone(&stores[0])), input),
        use_session(&stores[1], &manager(Arc::clone(&stores[1])).with_codec(MessagePack), input),
        log_in(&stores[2], &manager(Arc::clone(&stores[2])), input),
        log_in(&stores[3], &manager(Arc::clone(&stores[3])).with_codec(MessagePack), input),
    ];
    outcomes.join("; ")
}

/// Reads all values and writes one.
fn use_session<C: Codec>(store: &MemoryStore, sessions: &SessionManager<C>, data: &[u8]) -> String {
    store.commit(TOKEN, data, now() + TimeDelta::days(1)).expect("in memory");
    let mut session = sessions.load([TOKEN]).expect("in memory");
    let is_fresh = session.token().is_none();
    let keys: Vec<String> = session.keys().map(str::to_owned).collect();
    for key in &keys {
        // A value need not be of a type that there is a name for.
        match session.get::<Value>(key) {
            Ok(_) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    let outcome = match session.insert("new", "x") {
        Ok(()) => session.finish(),
        Err(other) => panic!("{other:?}"),
    };
    let outcome = match outcome {
        Ok(Finished { headers, .. }) => {
            let set_cookie = headers.iter().find(|(name, _)| *name == "Set-Cookie");
            let set_cookie = set_cookie.map(|(_, value)| value.as_str());
            let token = set_cookie.map_or(TOKEN, |cookie| {
                let pair = cookie.split(';').next().unwrap_or_default();
                pair.split_once('=').expect("a pair").1
            });
            let session = sessions.load([token]).expect("in memory");
            assert_eq!(session.get::<String>("new").expect("a string").as_deref(), Some("x"));
            for key in &keys {
                assert!(session.contains(key), "{key:?} is gone");
            }
            if set_cookie.is_none() { "written" } else { "written under a new token" }
        }
        Err(Error::Superseded) => "superseded",
        Err(other) => panic!("{other:?}"),
    };
    if is_fresh {
        let found = store.find(TOKEN).expect("in memory");
        assert_eq!(found.as_deref(), Some(data), "what can't be decoded was changed");
    }
    let origin = if is_fresh { "fresh" } else { "loaded" };
    format!("{origin}, {} values, {outcome}", keys.len().min(3))
}

/// A login of another user, who may keep nothing of what was there.
fn log_in<C: Codec>(store: &MemoryStore, sessions: &SessionManager<C>, data: &[u8]) -> String {
    store.commit(TOKEN, data, now() + TimeDelta::days(1)).expect("in memory");
    let mut session = sessions.load([TOKEN]).expect("in memory");
    let before = session.subject();
    session.set_subject("grace").expect("a subject");
    if before.as_deref() == Some("grace") {
        return "the same user".to_owned();
    }
    session.remember_me(true).expect("a bool");
    let outcome = match session.finish() {
        Ok(Finished { headers, .. }) => {
            let cookie = headers.iter().find(|(name, _)| *name == "Set-Cookie");
            let cookie = &cookie.expect("a login brings a new token").1;
            let pair = cookie.split(';').next().unwrap_or_default();
            let token = pair.split_once('=').expect("a pair").1;
            assert_ne!(token, TOKEN);
            let session = sessions.load([token]).expect("in memory");
            assert_eq!(session.subject().as_deref(), Some("grace"));
            assert!(before.is_none() || session.is_empty(), "another user's values");
            let old = sessions.load([TOKEN]).expect("in memory");
            assert!(old.is_empty(), "the token from before the login");
            "logged in"
        }
        Err(Error::Superseded) => "superseded",
        Err(other) => panic!("{other:?}"),
    };
    format!("{}, {outcome}", if before.is_some() { "somebody" } else { "nobody" })
}

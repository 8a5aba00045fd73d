//! Tokens of forms: a session takes those of its own secret, and nothing else.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use session_manager::{Error, SessionManager};
use store_core::{CleanupOptions, ManualClock, MemoryOptions, MemoryStore, Store};

use super::{no_seeds, text};
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "form_tokens",
    words: &[
        OWN_FORM.as_bytes(),
        OWN_FORM_OTHERWISE_MASKED.as_bytes(),
        b"h7HeoFOBCZf1WbNDMmgWok5iGOG8y2BDpfX6_My377Q",
        b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        b"=",
        b"+",
        b"/",
        b"-",
        b"_",
        b" ",
        b"%2B",
        b"\0",
        "é".as_bytes(),
    ],
    seeds: no_seeds,
    max_len: 8 * 1024,
    max_memory: |len| 64 * 1024 + 32 * len,
    test,
};

/// The cookies of four sessions: one that has been used, another one, one that was renewed a moment
/// ago, and one that has ended.
const COOKIES: [&str; 4] = [
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA",
    "RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRA",
    "EEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEA",
];

/// A token of the first session's forms: a mask of zeros, and the secret.
const OWN_FORM: &str =
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACHsd6gU4EJl_VZs0MyaBaiTmIY4bzLYEOl9fr8zLfvtA";

/// Another one, under a mask of ones.
const OWN_FORM_OTHERWISE_MASKED: &str =
    "__________________________________________94TiFfrH72aAqmTLzNl-ldsZ3nHkM0n7xaCgUDM0gQSw";

type Secret = [u8; 32];

thread_local! {
    static SITE: Site = Site::new();
}

struct Site {
    sessions: SessionManager,
    /// What a browser may send, and the secrets that are good then.
    visitors: Vec<(Option<String>, Vec<Secret>)>,
}

impl Site {
    fn new() -> Self {
        // So that the grace never ends.
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let store = MemoryOptions::new()
            .with_cleanup(CleanupOptions::disabled())
            .with_clock(clock.clone())
            .build();
        let store = Arc::new(store.expect("memory needs nothing"));
        let sessions =
            SessionManager::new(Arc::clone(&store)).with_clock(clock).with_plain_tokens_in_store();
        let secrets = COOKIES.map(|cookie| {
            plant(&sessions, &store, cookie);
            make_secret(&sessions, cookie)
        });
        let [own, other, renewed, ended] = COOKIES;
        let mut session = sessions.load([renewed]).expect("in memory");
        session.renew().expect("there is randomness");
        let finished = session.finish().expect("in memory");
        let set_cookie = finished.headers.iter().find(|(name, _)| *name == "Set-Cookie");
        let cookie = set_cookie.and_then(|(_, value)| value.split(['=', ';']).nth(1));
        let newest = cookie.expect("it was renewed").to_owned();
        sessions.load([ended]).and_then(|mut session| session.destroy()).expect("in memory");

        let newest_secret = make_secret(&sessions, &newest);
        let visitors = vec![
            (Some(own.to_owned()), vec![secrets[0]]),
            (Some(other.to_owned()), vec![secrets[1]]),
            (Some(newest), vec![newest_secret, secrets[2]]),
            // The second of two clicks on “Log in”.
            (Some(renewed.to_owned()), vec![secrets[2]]),
            (Some(ended.to_owned()), vec![]),
            (None, vec![]),
        ];
        Self { sessions, visitors }
    }
}

/// Stores a session under this token, which is random otherwise.
fn plant(sessions: &SessionManager, store: &MemoryStore, cookie: &str) {
    let mut session = sessions.load([]).expect("in memory");
    session.insert("cookie", cookie).expect("a string");
    session.finish().expect("in memory");
    let mut rows = store.all().expect("in memory").into_iter();
    let (random, data) =
        rows.find(|(key, _)| !COOKIES.contains(&&**key)).expect("it was just stored");
    store.delete(&random).expect("in memory");
    let expiry = DateTime::UNIX_EPOCH + TimeDelta::days(1);
    store.create(cookie, &data, expiry, None).expect("in memory");
}

/// Shows a form, and returns the secret of the session's forms.
fn make_secret(sessions: &SessionManager, cookie: &str) -> Secret {
    let mut session = sessions.load([cookie]).expect("in memory");
    let token = session.form_token().expect("there is randomness");
    session.finish().expect("in memory");
    unmask(&token).expect("it is a token")
}

/// The input is a token, and changes one: pairs of a position and the character there.
fn test(input: &[u8]) -> String {
    let mut changed = OWN_FORM.as_bytes().to_vec();
    for pair in input.chunks_exact(2) {
        let position = usize::from(pair[0]) % changed.len();
        changed[position] = pair[1];
    }
    [text(input), text(&changed)].map(|token| check(&token)).join("; ")
}

fn check(token: &str) -> String {
    let secret = unmask(token);
    let count = SITE.with(|site| {
        let takers = site.visitors.iter().map(|(cookie, good)| {
            let session = site.sessions.load(cookie.as_deref()).expect("in memory");
            let is_taken = match session.check_form_token(token) {
                Ok(()) => true,
                Err(Error::FormToken) => false,
                Err(other) => panic!("{other:?}"),
            };
            assert_eq!(is_taken, secret.is_some_and(|secret| good.contains(&secret)), "{token:?}");
            is_taken
        });
        takers.filter(|is_taken| *is_taken).count()
    });
    format!("form {}, taken by {count}", secret.is_some())
}

/// Reads a token in another way than the manager does: 86 characters of base64url, of which the
/// last one has only two bits, are a mask and what is under it.
fn unmask(token: &str) -> Option<Secret> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if token.len() != 86 || !token.ends_with(['A', 'Q', 'g', 'w']) {
        return None;
    }
    let mut bits = Vec::new();
    for byte in token.bytes() {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        bits.extend((0..6).rev().map(|bit| digit >> bit & 1 == 1));
    }
    let byte = |bits: &[bool]| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
    let bytes: Vec<u8> = bits.chunks_exact(8).map(byte).collect();
    let (mask, masked) = bytes.split_at(32);
    let unmasked: Vec<u8> = mask.iter().zip(masked).map(|(mask, byte)| mask ^ byte).collect();
    unmasked.try_into().ok()
}

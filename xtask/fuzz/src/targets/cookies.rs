//! Cookie headers: the session that is opened is the one that the first live token names.

use std::cell::RefCell;
use std::sync::Arc;

use http::HeaderValue;
use session_manager::{BoxError, Session, SessionManager};
use store_core::{Change, MemoryStore, Rotation, Store};

use super::{in_a_day, is_token, memory_store, no_seeds};
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "cookies",
    words: &[
        b"\n",
        b";",
        b"; ",
        b"=",
        b"\"",
        b" ",
        b"\t",
        b",",
        b"$Version=1; ",
        b"__Host-session",
        b"__Host-session=",
        b"__host-session=",
        b"\xC2\xA0",
        b"\xFF",
        LIVE[0].as_bytes(),
        LIVE[1].as_bytes(),
        RENEWED.as_bytes(),
        ROTATED.as_bytes(),
        b"__Host-session=DDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDA",
    ],
    seeds: no_seeds,
    max_len: 8 * 1024,
    max_memory: |len| 256 * 1024 + 64 * len,
    test,
};

const NAME: &str = "__Host-session";

/// Tokens of live sessions, each of which knows its own.
const LIVE: [&str; 2] =
    ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA"];

/// Its session was renewed a moment ago, as the first one of those, and it opens nothing.
const RENEWED: &str = "RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRA";

/// Its session got another token a moment ago, the second one of those, and it still opens it.
const ROTATED: &str = "SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSA";

/// Cookies of the session's name that a manager tries.
const MAX_COOKIES: usize = 4;

/// What a request with these headers opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opened {
    Session(&'static str),
    /// Nothing, and the request was outrun by a login.
    Superseded,
    Nothing,
}

thread_local! {
    static SITE: RefCell<Site> = RefCell::new(Site::new());
}

struct Site {
    store: Arc<MemoryStore>,
    sessions: SessionManager,
    /// Has other cookies' sessions in its store, none of which it may open.
    hashing: SessionManager,
}

impl Site {
    fn new() -> Self {
        let store = Arc::new(memory_store());
        let sessions = SessionManager::new(Arc::clone(&store)).with_plain_tokens_in_store();
        let hashing = SessionManager::new(Arc::clone(&store));
        let site = Self { store, sessions, hashing };
        site.plant();
        site
    }

    /// Puts the sessions under their tokens, which are random otherwise.
    fn plant(&self) {
        for (old, token, opens) in [(RENEWED, LIVE[0], false), (ROTATED, LIVE[1], true)] {
            let mut session = self.sessions.load([]).expect("the store is in memory");
            session.insert("own", token).expect("a string");
            session.finish().expect("the store is in memory");
            let (random, data) = self
                .store
                .all()
                .expect("in memory")
                .into_iter()
                .find(|(key, _)| ![LIVE[0], LIVE[1]].contains(&&**key))
                .expect("it was stored");
            self.store.delete(&random).expect("in memory");
            self.store.create(old, &data, in_a_day(), None).expect("in memory");
            let rotation = Rotation::new(token).with_grace(Rotation::MAX_GRACE);
            let rotation = if opens { rotation.old_token_opens() } else { rotation };
            let change = Change::new(&data, in_a_day()).with_rotation(rotation);
            assert!(self.store.update(old, &data, &change).expect("in memory"));
        }
    }
}

fn test(input: &[u8]) -> String {
    SITE.with_borrow(|site| {
        let headers: Vec<&[u8]> = input.split(|byte| *byte == b'\n').take(8).collect();
        let sent: Vec<&str> = headers.iter().flat_map(|header| tokens(header)).collect();
        let expected = opened(&sent);
        let session = site.sessions.load_from_headers(headers.iter().copied());
        let session = session.expect("the store is in memory");
        check(&session, expected);
        let hashing = site.hashing.load_from_headers(headers.iter().copied());
        assert!(hashing.expect("the store is in memory").is_empty(), "a key is no token");
        through_http(site, &headers);
        through_rouille(site, &headers);
        after_a_good_one(site, &headers, input.len());
        format!("{expected:?}, {} tokens", sent.len().min(MAX_COOKIES + 1))
    })
}

fn check(session: &Session<'_>, expected: Opened) {
    let own: Option<String> = session.get("own").expect("it is a string");
    let expected = match expected {
        Opened::Session(token) => Some(token),
        Opened::Superseded | Opened::Nothing => None,
    };
    assert_eq!(own.as_deref(), expected);
}

/// Only headers that the types of `http` can hold.
fn through_http(site: &Site, headers: &[&[u8]]) {
    let mut request = http::Request::new(());
    let map = request.headers_mut();
    let values = headers.iter().filter_map(|header| HeaderValue::from_bytes(header).ok());
    for value in values {
        map.append("cookie", value);
    }
    let kept = map.get_all("cookie").into_iter().map(HeaderValue::as_bytes);
    let sent: Vec<&str> = kept.flat_map(tokens).collect();
    let expected = opened(&sent);
    let response = site.sessions.http(&mut request, |_, session| {
        write(session, expected)?;
        Ok(http::Response::new(String::new()))
    });
    let cookies = response.headers().get_all("set-cookie").into_iter();
    let cookies = cookies.map(|value| value.to_str().expect("of ASCII").to_owned());
    answered(site, response.status().as_u16(), &cookies.collect::<Vec<_>>(), expected);
}

/// Only headers that are text, as rouille reads them.
fn through_rouille(site: &Site, headers: &[&[u8]]) {
    let texts: Vec<&str> =
        headers.iter().filter_map(|header| str::from_utf8(header).ok()).collect();
    let sent: Vec<&str> = texts.iter().flat_map(|text| tokens(text.as_bytes())).collect();
    let expected = opened(&sent);
    let headers = texts.iter().map(|text| ("cookie".to_owned(), (*text).to_owned())).collect();
    let request = rouille::Request::fake_http("GET", "/", headers, Vec::new());
    let response = site.sessions.rouille(&request, |session| {
        write(session, expected)?;
        Ok(rouille::Response::text(""))
    });
    let cookies = response.headers.iter().filter(|(name, _)| name == "Set-Cookie");
    let cookies: Vec<_> = cookies.map(|(_, value)| value.to_string()).collect();
    answered(site, response.status_code, &cookies, expected);
}

fn write(session: &mut Session<'_>, expected: Opened) -> Result<(), BoxError> {
    check(session, expected);
    session.insert("written", true)?;
    Ok(())
}

/// What was written is there, under the token that the browser has then.
fn answered(site: &Site, status: u16, cookies: &[String], expected: Opened) {
    match expected {
        Opened::Session(token) => {
            assert_eq!((status, cookies), (200, &[][..]));
            let session = site.sessions.load([token]).expect("in memory");
            assert_eq!(session.get("written").expect("a bool"), Some(true));
            check(&session, expected);
        }
        Opened::Superseded => assert_eq!((status, cookies), (409, &[][..])),
        Opened::Nothing => {
            assert_eq!((status, cookies.len()), (200, 1));
            let pair = cookies[0].split(';').next().expect("it isn't empty");
            let (name, token) = pair.split_once('=').expect("a pair");
            assert!(name == NAME && is_token(token), "{name}");
            let mut session =
                site.sessions.load_from_headers([pair.as_bytes()]).expect("in memory");
            assert_eq!(session.get("written").expect("a bool"), Some(true));
            assert!(!session.contains("own"), "another's session");
            session.destroy().expect("in memory");
        }
    }
}

/// What follows a live session's cookie changes nothing, whatever it is.
fn after_a_good_one(site: &Site, headers: &[&[u8]], len: usize) {
    let token = LIVE[len % 2];
    let first = [format!("{NAME}={token}; ").as_bytes(), headers[0]].concat();
    let all = [&first[..]].into_iter().chain(headers[1..].iter().copied());
    let session = site.sessions.load_from_headers(all).expect("in memory");
    check(&session, Opened::Session(token));
}

/// What is opened by a request with these tokens, in their order.
fn opened(tokens: &[&str]) -> Opened {
    let mut is_superseded = false;
    for token in tokens.iter().take(MAX_COOKIES) {
        match *token {
            token if token == LIVE[0] => return Opened::Session(LIVE[0]),
            token if token == LIVE[1] || token == ROTATED => return Opened::Session(LIVE[1]),
            token => is_superseded |= token == RENEWED,
        }
    }
    if is_superseded { Opened::Superseded } else { Opened::Nothing }
}

/// The tokens that a header brings, found in another way than in the manager: from the cookie's
/// name on, where it begins a cookie.
fn tokens(header: &[u8]) -> Vec<&str> {
    let is_space = |byte: &&u8| matches!(**byte, b' ' | b'\t');
    let skip = |bytes: &[u8], what: &dyn Fn(&&u8) -> bool| bytes.iter().take_while(what).count();
    let mut found = Vec::new();
    for (start, name) in header.windows(NAME.len()).enumerate() {
        let before = header[..start].iter().rev().find(|byte| !is_space(byte));
        if name != NAME.as_bytes() || before.is_some_and(|byte| *byte != b';') {
            continue;
        }
        let mut rest = &header[start + NAME.len()..];
        rest = &rest[skip(rest, &is_space)..];
        let Some(value) = rest.strip_prefix(b"=") else { continue };
        rest = &value[skip(value, &is_space)..];
        rest = &rest[skip(rest, &|byte| **byte == b'"')..];
        let Some((token, after)) = rest.split_at_checked(43) else { continue };
        rest = &after[skip(after, &|byte| **byte == b'"')..];
        rest = &rest[skip(rest, &is_space)..];
        let is_end = rest.first().is_none_or(|byte| *byte == b';');
        if let Ok(token) = str::from_utf8(token)
            && is_end
            && is_token(token)
        {
            found.push(token);
        }
    }
    found
}

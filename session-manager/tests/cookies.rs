//! What requests bring: cookies of browsers, of other applications, and of attackers.

mod adapter;

use std::sync::{Arc, Mutex};

use adapter::{
    ADAPTERS, Adapter, NAME, Page, Switched, TestResult, cookie, from_http, from_rouille, manager,
    memory, value_of,
};
use http::HeaderValue;
use session_manager::{Event, EventKind, Header, SessionManager};

type Events = Arc<Mutex<Vec<EventKind>>>;

fn manager_with_events() -> (SessionManager, Events) {
    let events = Events::default();
    let hook = {
        let events = Arc::clone(&events);
        move |event: &Event| events.lock().expect("nobody panics with it").push(event.kind.clone())
    };
    (manager().with_event_hook(hook), events)
}

fn take(events: &Events) -> Vec<EventKind> {
    std::mem::take(&mut *events.lock().expect("nobody panics with it"))
}

#[test]
fn unknown_token_is_not_adopted_and_is_reported() {
    for adapter in ADAPTERS {
        let (sessions, events) = manager_with_events();
        let invented = "A".repeat(43);
        let reply = adapter.visit(&sessions, &[&cookie(&invented)]);
        assert_eq!(reply.body, "visit 1");
        assert_eq!(take(&events), [EventKind::UnknownToken, EventKind::Created], "{adapter:?}");
        let token = reply.token().expect("it is new");
        assert_ne!(token, invented);

        // Nor one that was renewed: for a while not even its cookie is replaced, because the
        // request may have been under way at that time.
        let renewed = adapter.serve(&sessions, &[&cookie(&token)], |session| {
            session.renew()?;
            Ok(Page::default())
        });
        let renewed = renewed.token().expect("it is renewed");
        assert_eq!(take(&events), [EventKind::Renewed]);
        let old = adapter.visit(&sessions, &[&cookie(&token)]);
        assert_eq!((old.status, take(&events)), (409, vec![EventKind::Lost]));
        assert_eq!(old.token(), None);
        let seen = adapter.serve(&sessions, &[&cookie(&token)], |session| {
            Ok(format!("{:?}", session.get::<u32>("visits")?).into())
        });
        assert_eq!((&*seen.body, seen.token()), ("None", None), "{adapter:?}: it opens nothing");
        take(&events);
        assert_eq!(adapter.visit(&sessions, &[&cookie(&renewed)]).body, "visit 2");

        // What hasn't the form of a token is noise, not an attempt.
        for noise in ["", "1", "' OR 1=1 --", "../../etc/passwd", "%00"] {
            adapter.serve(&sessions, &[&cookie(noise)], |session| {
                assert!(session.is_empty());
                Ok(Page::default())
            });
        }
        assert_eq!(take(&events), []);
    }
}

#[test]
fn duplicate_cookies_are_each_tried_but_at_most_four() {
    for adapter in ADAPTERS {
        let store = Switched::on();
        let sessions = SessionManager::new(Arc::clone(&store));
        let good = cookie(&adapter.stored(&sessions));
        let stale = cookie(&"A".repeat(43));
        store.calls();
        let visits = |cookies: &[&str]| {
            let mut visits = None;
            adapter.serve(&sessions, cookies, |session| {
                visits = session.get::<u32>("visits")?;
                Ok(Page::default())
            });
            visits
        };
        for before in 0..4 {
            let one_header = format!("{}{good}", format!("{stale}; ").repeat(before));
            assert_eq!(visits(&[&one_header]), Some(1), "{adapter:?}, {before} before it");
            assert_eq!(store.calls(), before + 1);

            let mut headers = vec![&*stale; before];
            headers.push(&good);
            assert_eq!(visits(&headers), Some(1), "{adapter:?}, {before} headers before it");
            assert_eq!(store.calls(), before + 1);
        }
        let flood = format!("{}{good}", format!("{stale}; ").repeat(100));
        assert_eq!(visits(&[&flood]), None, "{adapter:?}");
        assert_eq!(store.calls(), 4, "a request can't make the store work for many");
    }
}

#[test]
fn cookie_is_found_wherever_a_browser_puts_it() {
    let sessions = manager();
    for adapter in ADAPTERS {
        let token = adapter.stored(&sessions);
        let is_found = |cookies: &[&str]| {
            let mut is_found = false;
            adapter.serve(&sessions, cookies, |session| {
                is_found = session.contains("visits");
                Ok(Page::default())
            });
            is_found
        };
        let other = format!("big={}", "x".repeat(8_192));
        let plain = cookie(&token);
        for header in [
            plain.clone(),
            format!("a=1; {plain}; b=2"),
            format!("a=1;{plain};b=2"),
            format!("{other}; {plain}; {other}"),
            format!("{NAME}=\"{token}\""),
            format!("  {NAME} =\t{token}  ;; ;a"),
            format!("a; =; ==; b=\"c; {plain}"),
            format!("{NAME}; {plain}"),
            format!("{NAME}=; {plain}"),
            format!("{NAME}={}; {plain}", "x".repeat(8_192)),
        ] {
            assert!(is_found(&[&header]), "{adapter:?}: {header}");
        }
        assert!(is_found(&["a=1", &plain, "b=2"]), "{adapter:?}: of several headers");
        assert!(is_found(&["", &plain]), "{adapter:?}: after an empty header");
        assert!(!is_found(&[]) && !is_found(&[""]), "{adapter:?}");
    }
}

#[test]
fn cookies_of_similar_names_and_forms_are_passed_over() {
    for adapter in ADAPTERS {
        let store = Switched::on();
        let sessions = SessionManager::new(Arc::clone(&store));
        let token = adapter.stored(&sessions);
        store.calls();
        for header in [
            format!("x{NAME}={token}"),
            format!("x__Host-session={token}"),
            format!("{NAME}2={token}"),
            format!("session={token}"),
            format!("_Host-session={token}"),
            format!("__host-session={token}"),
            format!("__HOST-SESSION={token}"),
            format!("__Host-Session={token}"),
            format!("\"{NAME}\"={token}"),
            format!("{NAME}[]={token}"),
            format!("={NAME}={token}"),
            format!("x={NAME}={token}"),
            format!("$Version=1, {NAME}={token}"),
            format!("x=1, {NAME}={token}"),
            format!("%5F%5FHost-session={token}"),
            token.clone(),
            format!("{NAME}:{token}"),
            format!("{NAME}={token}={token}"),
            format!("{NAME}={token}, a=1"),
            format!("{NAME}={token}%20"),
            format!("{NAME}={} {}", &token[..20], &token[20..]),
            format!("{NAME}={}", &token[1..]),
            format!("{NAME}=x{token}"),
            format!("{NAME}={}", token.repeat(190)),
        ] {
            adapter.serve(&sessions, &[&header], |session| {
                assert!(session.is_empty(), "{adapter:?}: {header}");
                Ok(Page::default())
            });
        }
        assert_eq!(store.calls(), 0, "{adapter:?}: none of them is the store's business");
    }
}

/// Browsers take a name with other white space before `__Host-` for an ordinary one, which any host
/// of the domain may set, so such a name must not be read as the session's.
#[test]
fn white_space_that_is_not_ascii_is_part_of_a_name() -> TestResult {
    let sessions = manager();
    let token = Adapter::Http.stored(&sessions);
    for space in
        ['\u{85}', '\u{a0}', '\u{1680}', '\u{2000}', '\u{2028}', '\u{3000}', '\u{b}', '\u{c}']
    {
        for header in [
            format!("{space}{NAME}={token}"),
            format!("{NAME}{space}={token}"),
            format!("{NAME}={space}{token}"),
        ] {
            let session = sessions.load_from_headers([header.as_bytes()])?;
            assert!(session.is_empty(), "{:?}", header.replace(&token, "TOKEN"));
        }
        let header = format!("{space}{NAME}={token}");
        let request = rouille::Request::fake_http(
            "GET",
            "/",
            vec![("Cookie".to_owned(), header.clone())],
            vec![],
        );
        let reply = from_rouille(sessions.rouille(&request, |session| {
            Ok(rouille::Response::text(session.is_empty().to_string()))
        }));
        assert_eq!(reply.body, "true", "rouille: {space:?}");
    }
    Ok(())
}

#[test]
fn names_of_the_cookie_header_have_no_case() {
    let sessions = manager();
    let token = cookie(&Adapter::Rouille.stored(&sessions));
    for name in ["Cookie", "cookie", "COOKIE", "cOoKiE"] {
        let headers =
            vec![("X-Cookie".to_owned(), "a=1".to_owned()), (name.to_owned(), token.clone())];
        let request = rouille::Request::fake_http("GET", "/", headers, vec![]);
        let reply = from_rouille(sessions.rouille(&request, |session| {
            Ok(rouille::Response::text(session.contains("visits").to_string()))
        }));
        assert_eq!(reply.body, "true", "{name}");
    }
    let headers = vec![("X-Cookie".to_owned(), token.clone()), ("Cookie2".to_owned(), token)];
    let request = rouille::Request::fake_http("GET", "/", headers, vec![]);
    let reply = from_rouille(sessions.rouille(&request, |session| {
        Ok(rouille::Response::text(session.contains("visits").to_string()))
    }));
    assert_eq!(reply.body, "false", "other headers carry no session");
}

#[test]
fn token_is_accepted_from_cookies_alone() {
    let sessions = manager();
    let token = Adapter::Rouille.stored(&sessions);
    let headers = vec![
        ("Authorization".to_owned(), format!("Bearer {token}")),
        (NAME.to_owned(), token.clone()),
        ("Set-Cookie".to_owned(), cookie(&token)),
        ("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
    ];
    let url = format!("/;{}?{}", cookie(&token), cookie(&token));
    let request = rouille::Request::fake_https("POST", url, headers, cookie(&token).into_bytes());
    let reply =
        from_rouille(sessions.rouille(&request, |session| {
            Ok(rouille::Response::text(session.is_empty().to_string()))
        }));
    assert_eq!(reply.body, "true");
    assert!(reply.all("Set-Cookie").is_empty());
}

#[test]
fn bytes_that_are_not_utf_8_hide_no_session() -> TestResult {
    let sessions = manager();
    let token = cookie(&Adapter::Http.stored(&sessions));
    let is_found = |headers: &[Vec<u8>]| -> TestResult<bool> {
        let mut request = http::Request::new(());
        for header in headers {
            request.headers_mut().append("Cookie", HeaderValue::from_bytes(header)?);
        }
        let reply = from_http(sessions.http(&mut request, |_, session| {
            Ok(http::Response::new(session.contains("visits").to_string()))
        }));
        let directly = sessions.load_from_headers(headers.iter().map(Vec::as_slice))?;
        assert_eq!(directly.contains("visits").to_string(), reply.body);
        Ok(directly.contains("visits"))
    };
    let own = token.as_bytes();
    assert!(is_found(&[own.to_vec()])?);
    assert!(is_found(&[[b"a=\xff; ", own, b"; \xfe\xff=b"].concat()])?);
    assert!(is_found(&[b"\xff\xfe\xfd".to_vec(), own.to_vec()])?);
    assert!(is_found(&[[b"name=caf\xe9;", own].concat()])?);
    assert!(is_found(&[[NAME.as_bytes(), b"=\xff; ", own].concat()])?);
    for spoilt in [
        [own, b"\xff"].concat(),
        [b"\xff", own].concat(),
        [b"\xa0", own].concat(),
        [NAME.as_bytes(), b"\xff=", &own[NAME.len() + 1..]].concat(),
        [NAME.as_bytes(), b"=\xff", &own[NAME.len() + 1..]].concat(),
    ] {
        assert!(!is_found(&[spoilt])?);
    }
    Ok(())
}

#[test]
fn any_bytes_at_all_give_a_fresh_session() -> TestResult {
    let sessions = manager();
    let mut tried = 0;
    for name in [NAME.as_bytes(), b"", b"\0", b"\xff"] {
        for separator in [&b"="[..], b"", b" = ", b"==", b"=\"", b";="] {
            for byte in 0..=u8::MAX {
                let header = [name, separator, &[byte; 43], b"\"; "].concat();
                let session = sessions.load_from_headers([&*header, &[byte], b""])?;
                assert!(session.is_empty());
                assert_eq!(session.finish()?.headers, [("Vary", "Cookie".to_owned())]);
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 4 * 6 * 256);
    Ok(())
}

#[test]
fn nothing_that_is_sent_or_inserted_reaches_a_header() -> TestResult {
    const EVIL: [&str; 7] = [
        "evil\r\nSet-Cookie: evil=1",
        "evil; Domain=evil.example",
        "\"evil\"",
        "evil\nX-Evil: 1",
        "evil\r\n\r\n<script>evil</script>",
        "evil\0",
        "evil, __Host-session=evil",
    ];
    fn check(headers: &[Header], sessions: &SessionManager) -> TestResult {
        let mut token = None;
        for (name, value) in headers {
            assert!(["Set-Cookie", "Cache-Control", "Vary"].contains(name), "{name}");
            assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{value:?}");
            assert!(!value.contains("evil"), "{value:?}");
            if *name == "Set-Cookie" {
                token = value_of(value, NAME);
                assert!(value.ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/"), "{value:?}");
            }
        }
        let token = token.expect("it is new");
        assert_eq!(token.len(), 43);
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert!(!sessions.load([token])?.is_empty());
        Ok(())
    }

    let sessions = SessionManager::new(memory());
    for evil in EVIL {
        for header in [evil.to_owned(), cookie(evil), format!("{evil}={evil}; {}", cookie(evil))] {
            let mut session = sessions.load_from_headers([header.as_bytes()])?;
            session.insert(evil, evil)?;
            session.flash(evil, evil)?;
            session.set_subject(evil)?;
            check(&session.finish()?.headers, &sessions)?;

            let headers = vec![("Cookie".to_owned(), header)];
            let request = rouille::Request::fake_http("GET", "/", headers, vec![]);
            let response = sessions.rouille(&request, |session| {
                session.insert(evil, evil)?;
                Ok(rouille::Response::empty_204())
            });
            for (name, value) in &response.headers {
                assert!(!name.contains("evil") && !value.contains("evil"), "{name}: {value}");
            }
        }
    }
    Ok(())
}

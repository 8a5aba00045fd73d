//! What a session adds to a response, and what it leaves alone.

mod adapter;

use std::cell::Cell;
use std::sync::Arc;

use adapter::{ADAPTERS, Act, NAME, Page, TestResult, cookie, from_rouille, manager, memory};
use session_manager::{CookiePolicy, SessionManager};
use store_core::Store as _;

#[test]
fn three_lines_are_a_session() {
    let sessions = manager();
    let request = rouille::Request::fake_http("GET", "/", vec![], vec![]);
    let response = sessions.rouille(&request, |session| {
        let visits: u32 = session.get("visits")?.unwrap_or(0);
        session.insert("visits", visits + 1)?;
        Ok(rouille::Response::text(format!("visit {}", visits + 1)))
    });
    assert_eq!(from_rouille(response).body, "visit 1");

    for adapter in ADAPTERS {
        let first = adapter.visit(&sessions, &[]);
        assert_eq!((first.status, &*first.body), (200, "visit 1"), "{adapter:?}");
        let set_cookie = first.all("Set-Cookie");
        assert_eq!(set_cookie.len(), 1, "{first:?}");
        assert!(set_cookie[0].ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/"), "{first:?}");

        let cookie = cookie(&first.token().expect("it is new"));
        for visit in 2..5 {
            let next = adapter.visit(&sessions, &[&cookie]);
            assert_eq!(next.body, format!("visit {visit}"), "{adapter:?}");
            assert!(next.all("Set-Cookie").is_empty(), "the browser has it: {next:?}");
        }
        assert_eq!(adapter.visit(&sessions, &[]).body, "visit 1", "another browser");
    }
}

#[test]
fn headers_of_the_application_stay_next_to_those_of_the_session() {
    let sessions = manager();
    for adapter in ADAPTERS {
        let reply = adapter.serve(&sessions, &[], |session| {
            session.insert("visits", 1)?;
            let headers = vec![
                ("Set-Cookie", "theme=dark; Path=/"),
                ("Set-Cookie", "lang=eo; Path=/"),
                ("Vary", "Accept-Encoding"),
                ("Cache-Control", "private"),
                ("X-Frame-Options", "DENY"),
            ];
            Ok(Page { status: Some(201), headers, body: "made".to_owned() })
        });
        assert_eq!((reply.status, &*reply.body), (201, "made"), "{adapter:?}");
        let cookies = reply.all("Set-Cookie");
        assert_eq!(cookies.len(), 3, "{reply:?}");
        assert_eq!(cookies[..2], ["theme=dark; Path=/", "lang=eo; Path=/"]);
        assert!(cookies[2].starts_with(NAME), "{reply:?}");
        assert_eq!(reply.all("Vary"), ["Accept-Encoding", "Cookie"]);
        assert_eq!(reply.all("Cache-Control"), ["private", "no-store"]);
        assert_eq!(reply.all("X-Frame-Options"), ["DENY"]);
    }
}

#[test]
fn response_varies_by_cookie_only_where_the_session_was_read() {
    let sessions = manager();
    for adapter in ADAPTERS {
        let token = cookie(&adapter.stored(&sessions));
        let stale = cookie(&"A".repeat(43));
        for cookies in [&[][..], &[&*token], &[&*stale], &["other=1"]] {
            let reply = adapter.serve(&sessions, cookies, |_| Ok(Page::default()));
            for name in ["Set-Cookie", "Cache-Control", "Vary"] {
                assert!(reply.all(name).is_empty(), "{adapter:?} {cookies:?}: {reply:?}");
            }
            let uses: [Act; 7] = [
                |session| session.get::<u32>("visits").map(drop),
                |session| {
                    let _ = session.contains("visits");
                    Ok(())
                },
                |session| {
                    let _ = session.keys().count();
                    Ok(())
                },
                |session| {
                    let _ = session.token();
                    Ok(())
                },
                |session| {
                    let _ = session.deadline();
                    Ok(())
                },
                |session| {
                    let _ = session.subject();
                    Ok(())
                },
                |session| session.take_flash::<String>("message").map(drop),
            ];
            for (n, use_session) in uses.iter().enumerate() {
                let reply = adapter.serve(&sessions, cookies, |session| {
                    use_session(session)?;
                    Ok(Page::default())
                });
                assert_eq!(reply.all("Vary"), ["Cookie"], "{adapter:?}, use {n}: {reply:?}");
                assert!(reply.all("Set-Cookie").is_empty(), "{adapter:?}, use {n}: {reply:?}");
            }
        }
    }
}

#[test]
fn no_cache_keeps_a_response_that_sets_the_cookie() -> TestResult {
    let sessions = manager();
    for adapter in ADAPTERS {
        let created = adapter.visit(&sessions, &[]);
        let token = created.token().expect("it is new");
        let renewed = adapter.serve(&sessions, &[&cookie(&token)], |session| {
            session.renew()?;
            Ok(Page::default())
        });
        let newer = renewed.token().expect("it is renewed");
        assert_ne!(newer, token);
        let remembered = adapter.serve(&sessions, &[&cookie(&newer)], |session| {
            session.remember_me(true)?;
            Ok(Page::default())
        });
        let ended = adapter.serve(&sessions, &[&cookie(&newer)], |session| {
            session.destroy()?;
            Ok(Page::default())
        });
        assert_eq!(ended.token().as_deref(), Some(""), "it is taken away");
        assert!(ended.all("Set-Cookie")[0].contains("; Max-Age=0; Expires=Thu, 01 Jan 1970"));
        for reply in [created, renewed, remembered, ended] {
            assert_eq!(reply.all("Set-Cookie").len(), 1, "{adapter:?}: {reply:?}");
            assert_eq!(reply.all("Cache-Control"), ["no-store"], "{adapter:?}: {reply:?}");
            assert_eq!(reply.all("Vary"), ["Cookie"], "{adapter:?}: {reply:?}");
        }
        assert!(sessions.load([&*newer])?.is_empty());
    }
    Ok(())
}

#[test]
fn managers_of_two_cookies_stand_side_by_side_in_one_request() -> TestResult {
    let users = manager();
    let carts = manager().with_cookie(CookiePolicy::new().with_name("__Host-cart"))?;
    for adapter in ADAPTERS {
        let visit = |cookies: &[&str], is_leaving: bool| {
            // One within the other: the inner one's headers are the outer one's application's.
            let headers = Cell::new(Vec::new());
            let reply = adapter.serve(&users, cookies, |user| {
                let inner = adapter.serve(&carts, cookies, |cart| {
                    cart.update("items", |items: Option<u32>| items.unwrap_or(0) + 1)?;
                    Ok(format!("{:?}", cart.get::<u32>("items")?).into())
                });
                let visits =
                    user.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
                if is_leaving {
                    user.destroy()?;
                }
                headers.set(inner.headers);
                Ok(format!("{visits} {}", inner.body).into())
            });
            let mut reply = reply;
            reply.headers.extend(headers.into_inner());
            reply
        };
        let first = visit(&[], false);
        assert_eq!(first.body, "1 Some(1)", "{adapter:?}");
        let (user, cart) = (first.token_of(NAME), first.token_of("__Host-cart"));
        let user = format!("{NAME}={}", user.expect("it is new"));
        let cart = format!("__Host-cart={}", cart.expect("it is new"));

        let both = format!("{user}; {cart}");
        assert_eq!(visit(&[&both], false).body, "2 Some(2)", "{adapter:?}");
        assert_eq!(visit(&[&user, &cart], false).body, "3 Some(3)", "{adapter:?}");
        let last = visit(&[&both], true);
        assert_eq!(last.token_of(NAME).as_deref(), Some(""), "{adapter:?}");
        assert_eq!(last.token_of("__Host-cart"), None, "{adapter:?}: the cart stays");
        assert_eq!(visit(&[&both], false).body, "1 Some(5)", "{adapter:?}");

        // The token of one cookie is nothing under the name of the other.
        let swapped = both.replace(NAME, "x").replace("__Host-cart", NAME);
        assert_eq!(visit(&[&swapped], false).body, "1 Some(1)", "{adapter:?}");
    }
    Ok(())
}

#[test]
fn development_cookie_works_on_plain_http_and_is_another_cookie() -> TestResult {
    let store = Arc::new(memory());
    let development = SessionManager::new(Arc::clone(&store))
        .with_cookie(CookiePolicy::new().insecure_for_local_development())?;
    let production = SessionManager::new(store);
    assert_eq!((development.cookie_name(), production.cookie_name()), ("session", NAME));
    for adapter in ADAPTERS {
        let first = adapter.visit(&development, &[]);
        let set_cookie = first.all("Set-Cookie").concat();
        let token = first.token_of("session").expect("it is new");
        assert_eq!(set_cookie, format!("session={token}; HttpOnly; SameSite=Lax; Path=/"));
        let cookie = format!("session={token}");
        assert_eq!(adapter.visit(&development, &[&cookie]).body, "visit 2", "{adapter:?}");
        assert_eq!(adapter.visit(&production, &[&cookie]).body, "visit 1", "{adapter:?}");
        let secure = adapter.stored(&production);
        let secure = format!("{NAME}={secure}");
        assert_eq!(adapter.visit(&development, &[&secure]).body, "visit 1", "{adapter:?}");
    }
    Ok(())
}

#[test]
fn adapter_within_another_one_of_the_same_cookie_never_makes_two_sessions() -> TestResult {
    let store = Arc::new(memory());
    let (outer, inner) =
        (SessionManager::new(Arc::clone(&store)), SessionManager::new(Arc::clone(&store)));
    for adapter in ADAPTERS {
        for is_outer_writing in [true, false] {
            let nested = |cookies: &[&str]| {
                adapter.serve(&outer, cookies, |session| {
                    if is_outer_writing {
                        session.insert("outer", true)?;
                    }
                    let reply = adapter.visit(&inner, cookies);
                    // A page's headers are constants.
                    let leak = |value: &str| &*value.to_owned().leak();
                    let set_cookies = reply.all("Set-Cookie").into_iter();
                    let headers = set_cookies.map(|value| ("Set-Cookie", leak(value))).collect();
                    Ok(Page { headers, body: reply.body, status: None })
                })
            };
            let sessions = store.count()?;
            let reply = nested(&[]);
            assert_eq!((reply.status, reply.token()), (500, None), "{adapter:?}: {reply:?}");
            assert_eq!(store.count()?, sessions + 1, "{adapter:?}: nothing of the outer one");

            // A session that both have loaded is one, and both win.
            let token = cookie(&adapter.stored(&inner));
            let reply = nested(&[&token]);
            assert_eq!((reply.status, &*reply.body), (200, "visit 2"), "{adapter:?}: {reply:?}");
            let session = inner.load_from_headers([token.as_bytes()])?;
            assert_eq!(
                (session.get("visits")?, session.contains("outer")),
                (Some(2), is_outer_writing)
            );
        }

        // An application that has moved its cookie takes the old one away.
        let reply = adapter.serve(&outer, &[], |session| {
            session.insert("outer", true)?;
            let old = "__Host-session=; Domain=example.org; Max-Age=0";
            Ok(Page { headers: vec![("Set-Cookie", old)], ..Page::default() })
        });
        assert_eq!((reply.status, reply.all("Set-Cookie").len()), (200, 2), "{adapter:?}");
    }
    Ok(())
}

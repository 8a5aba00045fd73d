//! Handlers that fail or panic, and stores that are down: what the visitor sees, and what becomes
//! of the session.

mod adapter;

use std::error::Error as StdError;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use adapter::{
    ADAPTERS, Act, Adapter, NAME, Page, Reply, Switched, TestResult, cookie, count_visits, manager,
    value_of,
};
use session_manager::{Error, ErrorResponse, SessionManager};
use store_core::Store as _;

/// The application's error.
#[derive(Debug)]
struct Overdrawn;

impl fmt::Display for Overdrawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the account is overdrawn")
    }
}

impl StdError for Overdrawn {}

/// Unwinds as a panic does, without the message on the test's terminal.
fn unwind() -> ! {
    panic::resume_unwind(Box::new("the handler panics"))
}

#[test]
fn handler_that_fails_writes_nothing_and_says_nothing() -> TestResult {
    for adapter in ADAPTERS {
        let store = Switched::on();
        let sessions = SessionManager::new(Arc::clone(&store));
        let token = adapter.stored(&sessions);
        let before = store.all()?;
        store.calls();
        for cookies in [&[][..], &[&*cookie(&token)]] {
            let changes: [Act; 3] = [
                |session| session.insert("visits", 99),
                |session| session.renew(),
                |session| {
                    session.clear();
                    session.remember_me(true)
                },
            ];
            for change in changes {
                let reply = adapter.serve(&sessions, cookies, |session| {
                    change(session)?;
                    Err(Overdrawn.into())
                });
                assert_eq!(reply.status, 500, "{adapter:?}");
                assert_eq!(reply.all("Cache-Control"), ["no-store"], "{adapter:?}");
                for name in ["Set-Cookie", "Vary", "Retry-After"] {
                    assert!(reply.all(name).is_empty(), "{adapter:?}: {reply:?}");
                }
                assert_eq!(reply.all("Content-Type"), ["text/plain; charset=utf-8"]);
                assert!(!reply.body.contains("overdrawn"), "the visitor isn't told: {reply:?}");
                assert_eq!(store.calls(), cookies.len(), "{adapter:?}: at most it is found");
                assert_eq!(store.all()?, before, "{adapter:?}");
                store.calls();
            }
        }
        assert_eq!(adapter.visit(&sessions, &[&cookie(&token)]).body, "visit 2");
    }
    Ok(())
}

#[test]
fn logout_is_carried_out_whatever_becomes_of_the_request() -> TestResult {
    for adapter in ADAPTERS {
        let store = Switched::on();
        let sessions = SessionManager::new(Arc::clone(&store));
        let log_in = || cookie(&adapter.stored(&sessions));

        // The handler fails after it, or the store before what follows it can be written.
        for goes_down in [false, true] {
            let token = log_in();
            let reply = adapter.serve(&sessions, &[&token], |session| {
                session.destroy()?;
                session.insert("visits", 99)?;
                store.switch(goes_down);
                if goes_down { Ok(Page::default()) } else { Err(Overdrawn.into()) }
            });
            store.switch(false);
            assert_eq!(reply.status, if goes_down { 503 } else { 500 }, "{adapter:?}");
            assert_eq!(reply.token().as_deref(), Some(""), "{adapter:?}: the cookie goes");
            assert_eq!(reply.all("Cache-Control"), ["no-store"], "{adapter:?}");
            assert_eq!(reply.all("Vary"), ["Cookie"], "{adapter:?}");
            assert!(store.all()?.is_empty(), "{adapter:?}: the session has ended");
        }

        let token = log_in();
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            adapter.serve(&sessions, &[&token], |session| {
                session.destroy()?;
                unwind()
            })
        }));
        assert!(outcome.is_err() && store.all()?.is_empty(), "{adapter:?}");

        // One that the store refuses is no logout, and is answered so.
        let token = log_in();
        let reply = adapter.serve(&sessions, &[&token], |session| {
            store.switch(true);
            session.destroy()?;
            Ok(Page::default())
        });
        store.switch(false);
        assert_unavailable(&reply, adapter);
        assert_eq!(adapter.visit(&sessions, &[&token]).body, "visit 2", "{adapter:?}");
    }
    Ok(())
}

#[test]
fn answers_of_any_status_keep_the_session() {
    let sessions = manager();
    for adapter in ADAPTERS {
        for status in [204, 303, 404, 500, 503] {
            let reply = adapter.serve(&sessions, &[], |session| {
                session.insert("visits", 1)?;
                Ok(Page { status: Some(status), ..Page::default() })
            });
            assert_eq!(reply.status, status);
            let token = reply.token().expect("the handler succeeded, whatever it answered");
            assert_eq!(adapter.visit(&sessions, &[&cookie(&token)]).body, "visit 2");
        }
    }
}

/// 503, to be tried again, and no trace of the session.
fn assert_unavailable(reply: &Reply, adapter: Adapter) {
    assert_eq!(reply.status, 503, "{adapter:?}: {reply:?}");
    assert_eq!(reply.all("Retry-After"), ["5"], "{adapter:?}");
    assert_eq!(reply.all("Cache-Control"), ["no-store"], "{adapter:?}");
    assert_eq!(reply.all("Content-Type"), ["text/plain; charset=utf-8"], "{adapter:?}");
    assert!(reply.all("Set-Cookie").is_empty(), "{adapter:?}: {reply:?}");
    assert!(!reply.body.contains("switched off"), "{adapter:?}: {reply:?}");
}

#[test]
fn store_that_is_down_when_the_session_is_loaded_gives_503() {
    for adapter in ADAPTERS {
        let store = Switched::on();
        let sessions = SessionManager::new(Arc::clone(&store));
        let token = cookie(&adapter.stored(&sessions));
        store.switch(true);
        let reply = adapter.serve(&sessions, &[&token], |_| panic!("there is no session for it"));
        assert_unavailable(&reply, adapter);

        // Who has no session needs no store.
        let reply = adapter.serve(&sessions, &[], |_| Ok("welcome".to_owned().into()));
        assert_eq!((reply.status, &*reply.body), (200, "welcome"), "{adapter:?}");

        store.switch(false);
        assert_eq!(adapter.visit(&sessions, &[&token]).body, "visit 2", "nothing is lost");
    }
}

#[test]
fn store_that_goes_down_before_the_session_is_written_gives_503() {
    for adapter in ADAPTERS {
        let store = Switched::on();
        let sessions = SessionManager::new(Arc::clone(&store));
        let token = cookie(&adapter.stored(&sessions));
        for cookies in [&[][..], &[&*token]] {
            let changes: [Act; 2] = [
                |session| session.insert("visits", 99),
                |session| {
                    session.insert("visits", 99)?;
                    session.renew()
                },
            ];
            for change in changes {
                let reply = adapter.serve(&sessions, cookies, |session| {
                    change(session)?;
                    store.switch(true);
                    Ok(Page { headers: vec![("Set-Cookie", "a=b")], ..Page::default() })
                });
                assert_unavailable(&reply, adapter);
                store.switch(false);
                let mut visits = None;
                adapter.serve(&sessions, &[&token], |session| {
                    visits = session.get::<u32>("visits")?;
                    Ok(Page::default())
                });
                assert_eq!(
                    visits,
                    Some(1),
                    "{adapter:?}: the old token is good, and nothing changed"
                );
            }
        }
    }
}

#[test]
fn error_responder_of_the_application_is_asked_instead() {
    for adapter in ADAPTERS {
        let store = Switched::on();
        let sessions = SessionManager::new(Arc::clone(&store)).with_strict_types();
        let sessions = sessions.with_error_responder(|error, _| {
            let mut response = ErrorResponse::default_for(error);
            if error.is::<Overdrawn>() {
                response.status = 402;
            }
            if let Some(Error::Store(_)) = error.downcast_ref() {
                response.retry_after = Some(60);
            }
            response.content_type = "text/html; charset=utf-8";
            response.body = format!("<h1>{}</h1>", response.status);
            response
        });
        let token = cookie(&adapter.stored(&sessions));
        let reply = adapter.serve(&sessions, &[], |_| Err(Overdrawn.into()));
        assert_eq!((reply.status, &*reply.body), (402, "<h1>402</h1>"), "{adapter:?}");
        assert_eq!(reply.all("Content-Type"), ["text/html; charset=utf-8"], "{adapter:?}");
        assert!(reply.all("Retry-After").is_empty(), "{adapter:?}");
        assert_eq!(reply.all("Cache-Control"), ["no-store"], "{adapter:?}");

        let reply = adapter.serve(&sessions, &[&token], |session| {
            let name: Option<String> = session.get("visits")?;
            Ok(name.unwrap_or_default().into())
        });
        assert_eq!(
            reply.status, 500,
            "{adapter:?}: a value of another type is a fault of the program"
        );

        store.switch(true);
        let reply = adapter.serve(&sessions, &[&token], |_| Ok(Page::default()));
        assert_eq!((reply.status, &*reply.body), (503, "<h1>503</h1>"), "{adapter:?}");
        assert_eq!(reply.all("Retry-After"), ["60"], "{adapter:?}");
        assert_eq!(reply.all("Cache-Control"), ["no-store"], "{adapter:?}");
    }
}

#[test]
fn handler_that_panics_commits_nothing_and_locks_nothing() -> TestResult {
    for adapter in ADAPTERS {
        let store = Switched::on();
        let sessions = SessionManager::new(Arc::clone(&store));
        let token = cookie(&adapter.stored(&sessions));
        let before = store.all()?;
        for cookies in [&[][..], &[&*token]] {
            store.calls();
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
                adapter.serve(&sessions, cookies, |session| {
                    session.insert("visits", 99)?;
                    session.renew()?;
                    unwind()
                })
            }));
            assert!(outcome.is_err(), "{adapter:?}: the panic is the framework's to answer");
            assert_eq!(store.calls(), cookies.len(), "{adapter:?}: at most it is found");
            assert_eq!(store.all()?, before, "{adapter:?}");
        }

        // A panic in an update, too, while it is first run.
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            adapter.serve(&sessions, &[&token], |session| {
                session.update("visits", |_: Option<u32>| -> u32 { unwind() })?;
                Ok(Page::default())
            })
        }));
        assert!(outcome.is_err(), "{adapter:?}");
        assert_eq!(store.all()?, before, "{adapter:?}");
        assert_eq!(adapter.visit(&sessions, &[&token]).body, "visit 2", "{adapter:?}");
    }
    Ok(())
}

/// A rouille server on its own port; it ends when this is dropped.
struct Live {
    url: String,
    address: String,
    stop: Sender<()>,
}

impl Live {
    fn start(
        handler: impl Fn(&rouille::Request) -> rouille::Response + Send + Sync + 'static,
    ) -> TestResult<Self> {
        let server = rouille::Server::new("127.0.0.1:0", handler)?;
        let address = server.server_addr().to_string();
        let (_, stop) = server.stoppable();
        Ok(Self { url: format!("http://{address}/"), address, stop })
    }

    /// The status, the token of the cookie and the page.
    fn get(
        &self,
        path: &str,
        cookie_headers: &[&str],
    ) -> TestResult<(u16, Option<String>, String)> {
        // What doesn't answer for so long hangs.
        let patience = Some(std::time::Duration::from_secs(60));
        let config = ureq::Agent::config_builder().timeout_global(patience);
        let agent: ureq::Agent =
            config.http_status_as_error(false).max_redirects(0).proxy(None).build().into();
        let mut request = agent.get(format!("{}{path}", self.url));
        for header in cookie_headers {
            request = request.header("Cookie", *header);
        }
        let mut response = request.call()?;
        let mut token = None;
        for header in response.headers().get_all("set-cookie") {
            token = token.or(value_of(header.to_str()?, NAME).map(str::to_owned));
        }
        let page = response.body_mut().read_to_string()?;
        Ok((response.status().as_u16(), token, page))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.stop.send(());
    }
}

#[test]
fn rouille_server_serves_sessions_and_survives_panics() -> TestResult {
    let sessions = manager();
    let server = Live::start(move |request| {
        sessions.rouille(request, |session| {
            let page = count_visits(session)?;
            match &*request.url() {
                "/panic" => unwind(),
                "/fail" => Err(Overdrawn.into()),
                "/leave" => {
                    session.destroy()?;
                    Ok(rouille::Response::redirect_303("/"))
                }
                _ => Ok(rouille::Response::text(page.body)
                    .with_additional_header("Set-Cookie", "theme=dark")),
            }
        })
    })?;
    let (status, token, page) = server.get("", &[])?;
    assert_eq!((status, &*page), (200, "visit 1"));
    let token = cookie(&token.expect("it is new"));
    assert_eq!(server.get("", &[&token])?, (200, None, "visit 2".to_owned()));

    for path in ["panic", "fail"] {
        for cookies in [&[][..], &[&*token]] {
            let (status, token, _) = server.get(path, cookies)?;
            assert_eq!((status, token), (500, None), "{path}");
        }
    }
    assert_eq!(server.get("", &[&token])?.2, "visit 3", "nothing is locked, nothing committed");

    let big = format!("big={}", "x".repeat(8_192));
    assert_eq!(server.get("", &[&big, &token, "__Host-session2=x"])?.2, "visit 4");

    // The server refuses what isn't ASCII before the application sees it; it goes on serving.
    let mut stream = TcpStream::connect(&server.address)?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nCookie: a=\xff\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    assert!(!String::from_utf8_lossy(&answer).contains("visit 5"), "it is nobody's session");
    assert_eq!(server.get("", &[&token])?.2, "visit 5");

    let reply = server.get("leave", &[&token])?;
    assert_eq!((reply.0, reply.1.as_deref()), (303, Some("")), "the cookie is taken away");
    assert_eq!(server.get("", &[&token])?.2, "visit 1", "the session is gone");
    Ok(())
}

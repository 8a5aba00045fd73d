//! Handlers in the style of their framework, and what their errors are answered with.

#![expect(clippy::needless_continue, reason = "`post_input!` of rouille has one")]

mod adapter;

use std::error::Error as StdError;
use std::fmt;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use adapter::{ADAPTERS, Reply, TestResult, cookie, from_http, from_rouille, manager};
use rouille::input::json_input;
use rouille::{Request, Response, post_input, try_or_400};
use session_manager::{Error, ErrorResponse, SessionManager};

/// An error of an application, with its cause somewhere below.
#[derive(Debug)]
struct Failed(Option<Box<dyn StdError + Send + Sync>>);

impl Failed {
    fn by(cause: impl StdError + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(cause)))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cart can't be shown")
    }
}

impl StdError for Failed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.as_deref().map(|cause| cause as _)
    }
}

fn busy() -> store_core::Error {
    store_core::Error::Contended { source: "database is locked".into() }
}

fn posted(content_type: &str, body: &str) -> Request {
    let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
    Request::fake_http("POST", "/names", headers, body.into())
}

fn form(body: &str) -> Request {
    posted("application/x-www-form-urlencoded", body)
}

fn is_stored(reply: &Reply) -> bool {
    reply.token().is_some()
}

#[test]
fn bad_form_is_400_and_not_500() {
    let sessions = manager();
    let save = |request: &Request| {
        from_rouille(sessions.rouille(request, |session| {
            session.insert("asked", true)?;
            let form = post_input!(request, { age: u8 })?;
            session.insert("age", form.age)?;
            Ok(Response::text("saved"))
        }))
    };
    let reply = save(&form("age=36"));
    assert_eq!((reply.status, is_stored(&reply)), (200, true), "{reply:?}");
    for bad in [
        form(""),
        form("age=old"),
        form("name=Ada"),
        posted("text/plain", "age=36"),
        posted("multipart/form-data", ""),
    ] {
        let reply = save(&bad);
        assert_eq!((reply.status, is_stored(&reply)), (400, false), "{reply:?}");
    }

    let read_json = |request: &Request| {
        from_rouille(sessions.rouille(request, |_| {
            let age: u8 = json_input(request)?;
            Ok(Response::text(age.to_string()))
        }))
    };
    assert_eq!(read_json(&posted("application/json", "36")).status, 200);
    assert_eq!(read_json(&posted("application/json", "{")).status, 400);
    assert_eq!(read_json(&posted("text/plain", "36")).status, 400);
}

#[test]
fn body_that_the_application_reads_twice_is_its_own_fault() {
    let request = form("age=36");
    request.data().expect("nobody has read it").read_to_end(&mut Vec::new()).expect("in memory");
    let reply = from_rouille(manager().rouille(&request, |_| {
        post_input!(&request, { age: u8 })?;
        Ok(Response::text("saved"))
    }));
    assert_eq!(reply.status, 500);
}

#[test]
fn handler_may_return_a_response_and_use_what_returns_one() {
    let sessions = manager();
    let save = |request: &Request| {
        from_rouille(sessions.rouille(request, |session| {
            session.insert("asked", true).expect("it can be encoded");
            let form = try_or_400!(post_input!(request, { age: u8 }));
            try_or_400!(session.insert("age", form.age));
            Response::text("saved")
        }))
    };
    let reply = save(&form("age=36"));
    assert_eq!((reply.status, is_stored(&reply)), (200, true), "{reply:?}");
    let reply = save(&form("age=old"));
    assert_eq!((reply.status, is_stored(&reply)), (400, true), "{reply:?}");
    assert!(reply.body.contains("integer"), "the macro's own response: {reply:?}");

    let reply = from_http(sessions.http(&mut http::Request::new(()), |_, session| {
        let is_set = session.insert("asked", true).is_ok();
        http::Response::new(is_set.to_string())
    }));
    assert_eq!((&*reply.body, is_stored(&reply)), ("true", true), "{reply:?}");
}

#[test]
fn cause_of_an_error_of_the_application_decides_on_the_answer() {
    let sessions = manager();
    for adapter in ADAPTERS {
        for (error, status, retry_after) in [
            (Failed(None), 500, None),
            (Failed::by(busy()), 503, Some("5")),
            (Failed::by(Failed::by(busy())), 503, Some("5")),
            (Failed::by(Error::from(busy())), 503, Some("5")),
            (Failed::by(Error::Conflict { attempts: 64 }), 503, Some("5")),
            (Failed::by(Error::Superseded), 409, None),
            (Failed::by(Error::FormToken), 403, None),
            (Failed::by(Error::from(store_core::Error::TokenTaken)), 500, None),
        ] {
            let what = format!("{adapter:?}: {error:?}");
            let reply = adapter.serve(&sessions, &[], |session| {
                session.insert("visits", 1)?;
                Err(error.into())
            });
            assert_eq!((reply.status, is_stored(&reply)), (status, false), "{what}");
            assert_eq!(reply.all("Retry-After").first().copied(), retry_after, "{what}");
        }
    }
}

#[test]
fn error_responder_sees_the_request() -> TestResult {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sessions = manager().with_error_responder({
        let seen = Arc::clone(&seen);
        move |error, request| {
            let accept = request.header("aCCept").unwrap_or("nothing");
            let line = format!("{} {} {accept}", request.method(), request.path());
            assert!(request.header("X-Missing").is_none());
            assert!(!format!("{request:?}").contains("secret"), "{request:?}");
            seen.lock().expect("nobody panics with it").push(line);
            ErrorResponse::default_for(error)
        }
    });
    let headers = vec![
        ("accept".to_owned(), "text/html".to_owned()),
        ("Cookie".to_owned(), cookie("secret")),
    ];
    let request = Request::fake_http("DELETE", "/a%20b?secret", headers, vec![]);
    sessions.rouille(&request, |_| Err(Failed(None).into()));

    let mut request = http::Request::delete("http://example.org/a%20b?secret")
        .header("accept", "text/html")
        .header("cookie", cookie("secret"))
        .body("the body".to_owned())?;
    let response: http::Response<String> = sessions.http(&mut request, |request, _| {
        assert_eq!(std::mem::take(request.body_mut()), "the body");
        Err(Failed(None).into())
    });
    assert_eq!(response.status(), 500);
    let seen = seen.lock().expect("nobody panics with it");
    assert_eq!(*seen, ["DELETE /a%20b text/html"; 2]);
    Ok(())
}

#[test]
fn error_of_the_application_has_a_response_of_its_own() {
    let sessions = manager().with_error_responder(|error, _| match error.downcast_ref() {
        Some(Failed(None)) => ErrorResponse::new(401, "application/json", "{}")
            .with_header("WWW-Authenticate", "Bearer")
            .with_header("Link", "</login>")
            .with_header("Link", "</help>")
            .with_header("X-Split", "a\r\nSet-Cookie: a=b"),
        _ => ErrorResponse::default_for(error),
    });
    for adapter in ADAPTERS {
        for (error, status, content_type, body) in [
            (Failed(None), 401, "application/json", "{}"),
            (Failed::by(Error::FormToken), 403, "text/plain; charset=utf-8", "This form is"),
        ] {
            let what = format!("{adapter:?}: {error:?}");
            let reply = adapter.serve(&sessions, &[], |session| {
                session.insert("visits", 1)?;
                Err(error.into())
            });
            assert_eq!((reply.status, is_stored(&reply)), (status, false), "{what}");
            assert_eq!(reply.all("Content-Type"), [content_type], "{what}");
            assert_eq!(reply.all("Cache-Control"), ["no-store"], "{what}");
            let own: &[&str] = if status == 401 { &["</login>", "</help>"] } else { &[] };
            assert_eq!(reply.all("Link"), own, "{what}");
            assert_eq!(reply.all("WWW-Authenticate").len(), own.len() / 2, "{what}");
            assert!(reply.all("X-Split").is_empty(), "{what}");
            assert!(reply.body.starts_with(body), "{what}: {}", reply.body);
        }
    }
}

#[test]
fn content_type_that_is_no_header_is_left_out() {
    let sessions: SessionManager = manager().with_error_responder(|error, _| {
        let mut response = ErrorResponse::default_for(error);
        response.content_type = "text/html\r\nX: y";
        response
    });
    let response: http::Response<String> =
        sessions.http(&mut http::Request::new(()), |_, _| Err(Failed(None).into()));
    assert_eq!(
        (response.status().as_u16(), from_http(response).all("Content-Type").len()),
        (500, 0)
    );
}

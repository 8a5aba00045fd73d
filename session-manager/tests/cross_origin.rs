//! Requests that another site makes the browser send are refused by the adapters.

mod adapter;

use std::cell::Cell;
use std::sync::Arc;

use adapter::{NAME, Reply, Switched, TestResult, from_http, from_rouille, manager};
use proptest::prelude::*;
use session_manager::{
    BoxError, Error, ErrorResponse, MessagePack, RequestHead, Session, SessionManager,
};

const HOST: &str = "shop.example:8443";

/// Headers of a request, besides Host.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// What both adapters answer.
fn serve(
    sessions: &SessionManager,
    method: &str,
    headers: Headers<'_>,
    handler: impl Fn(&mut Session<'_>) -> Result<String, BoxError>,
) -> TestResult<[Reply; 2]> {
    let headers = || headers.iter().copied().chain([("Host", HOST)]);
    let owned = headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let request = rouille::Request::fake_http(method, "/cart", owned.collect(), vec![]);
    let by_rouille =
        sessions.rouille(&request, |session| Ok(rouille::Response::text(handler(session)?)));

    let builder = http::Request::builder().method(method).uri("/cart");
    let builder = headers().fold(builder, |builder, (name, value)| builder.header(name, value));
    let by_http = sessions
        .http(&mut builder.body(())?, |_, session| Ok(http::Response::new(handler(session)?)));
    Ok([from_rouille(by_rouille), from_http(by_http)])
}

fn status(sessions: &SessionManager, method: &str, headers: Headers<'_>) -> TestResult<u16> {
    let [one, other] = serve(sessions, method, headers, |session| {
        session.insert("written", true)?;
        Ok(String::new())
    })?;
    assert_eq!(one.status, other.status, "{method} {headers:?}");
    for reply in [&one, &other] {
        assert_eq!(reply.token().is_some(), reply.status == 200, "{method} {headers:?}: {reply:?}");
    }
    Ok(one.status)
}

/// The cases of Go's tests of `CrossOriginProtection`, and more. Empty headers, which no browser
/// sends, are refused here.
#[test]
fn requests_from_other_sites_change_nothing() -> TestResult {
    let sessions = manager();
    let site = "Sec-Fetch-Site";
    let own = format!("https://{HOST}");
    for (headers, expected) in [
        (&[][..], 200),
        (&[(site, "same-origin")], 200),
        (&[(site, "none")], 200),
        (&[(site, "same-site")], 403),
        (&[(site, "cross-site")], 403),
        (&[(site, "")], 403),
        (&[(site, "Same-Origin")], 403),
        // Browsers that don't send the one send the other.
        (&[("Origin", &own)], 200),
        (&[("Origin", "http://shop.example:8443")], 200),
        (&[("Origin", "https://shop.example")], 403),
        (&[("Origin", "https://evil.example")], 403),
        (&[("Origin", "https://evil.example/shop.example:8443")], 403),
        (&[("Origin", "null")], 403),
        (&[("Origin", "")], 403),
        (&[("Origin", HOST)], 403),
        // Sec-Fetch-Site counts if there are both.
        (&[(site, "same-origin"), ("Origin", "https://evil.example")], 200),
        (&[(site, "cross-site"), ("Origin", &own)], 403),
    ] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "get", "X"] {
            assert_eq!(status(&sessions, method, headers)?, expected, "{method} {headers:?}");
        }
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert_eq!(status(&sessions, method, headers)?, 200, "{method} {headers:?}");
        }
    }
    Ok(())
}

#[test]
fn request_without_a_host_has_no_origin_of_its_own() -> TestResult {
    let sessions = manager();
    let mut request = http::Request::post("/cart").header("Origin", "https://a.example").body(())?;
    let response = |request: &mut _| {
        let response: http::Response<String> =
            sessions.http(request, |_, _| http::Response::new(String::new()));
        response.status().as_u16()
    };
    assert_eq!(response(&mut request), 403);
    // As in HTTP/2.
    *request.uri_mut() = http::Uri::from_static("https://a.example/cart");
    assert_eq!(response(&mut request), 200);
    *request.uri_mut() = http::Uri::from_static("https://b.example/cart");
    assert_eq!(response(&mut request), 403);
    Ok(())
}

#[test]
fn header_that_is_not_text_is_not_missing() -> TestResult {
    let sessions = manager();
    for name in ["Origin", "Sec-Fetch-Site"] {
        let value = http::HeaderValue::from_bytes(b"https://\xFF.example")?;
        let mut request = http::Request::post("/cart").header(name, value).body(())?;
        let response: http::Response<String> =
            sessions.http(&mut request, |_, _| http::Response::new(String::new()));
        assert_eq!(response.status(), 403, "{name}");
    }
    Ok(())
}

#[test]
fn refused_request_reaches_neither_store_nor_handler() -> TestResult {
    let store = Switched::on();
    let sessions = SessionManager::new(Arc::clone(&store));
    let is_called = Cell::new(false);
    let cookie = format!("{NAME}={}", "A".repeat(43));
    let headers = [("Sec-Fetch-Site", "cross-site"), ("Cookie", &*cookie)];
    for reply in serve(&sessions, "POST", &headers, |_| {
        is_called.set(true);
        Ok(String::new())
    })? {
        assert_eq!(reply.status, 403);
        assert_eq!(reply.all("Cache-Control"), ["no-store"]);
    }
    assert_eq!((store.calls(), is_called.get()), (0, false));
    Ok(())
}

#[test]
fn trusted_origins_are_let_through_and_no_others() -> TestResult {
    let sessions = manager()
        .with_trusted_origin("https://app.example")?
        .with_trusted_origin("http://localhost:3000")?;
    for (origin, expected) in [
        ("https://app.example", 200),
        ("http://localhost:3000", 200),
        ("http://app.example", 403),
        ("https://app.example:8443", 403),
        ("https://app.example.evil.example", 403),
        ("https://evil.app.example", 403),
        ("null", 403),
    ] {
        for headers in [
            &[("Origin", origin)][..],
            &[("Origin", origin), ("Sec-Fetch-Site", "cross-site")],
            &[("Origin", origin), ("Sec-Fetch-Site", "same-site")],
        ] {
            assert_eq!(status(&sessions, "POST", headers)?, expected, "{headers:?}");
        }
    }
    assert_eq!(status(&sessions, "POST", &[("Sec-Fetch-Site", "cross-site")])?, 403);
    let refused = manager().with_trusted_origin("https://app.example/");
    assert!(matches!(refused, Err(Error::InvalidOption { .. })));
    Ok(())
}

#[test]
fn check_can_be_turned_off_and_its_error_answered_otherwise() -> TestResult {
    let cross_site = [("Sec-Fetch-Site", "cross-site")];
    let off = manager().with_trusted_origin("https://app.example")?.without_origin_check();
    assert_eq!(status(&off, "POST", &cross_site)?, 200);
    let on = off.with_trusted_origin("https://app.example")?;
    assert_eq!(status(&on, "POST", &cross_site)?, 403, "what comes last counts");

    let own = manager().with_error_responder(|error, request| {
        let mut response = ErrorResponse::default_for(error);
        if let Some(Error::CrossOrigin { header, value }) = error.downcast_ref() {
            response.body = format!("{} {header} {value}", request.path());
        }
        response
    });
    for reply in serve(&own, "POST", &cross_site, |_| Ok(String::new()))? {
        assert_eq!((reply.status, &*reply.body), (403, "/cart Sec-Fetch-Site cross-site"));
    }
    Ok(())
}

#[test]
fn another_codec_leaves_the_check_as_it_was() {
    let request = || {
        let headers = vec![("Sec-Fetch-Site".to_owned(), "cross-site".to_owned())];
        rouille::Request::fake_http("POST", "/", headers, vec![])
    };
    let status = |sessions: SessionManager<MessagePack>| {
        sessions.rouille(&request(), |_| rouille::Response::text("")).status_code
    };
    assert_eq!(status(manager().with_codec(MessagePack)), 403);
    assert_eq!(status(manager().without_origin_check().with_codec(MessagePack)), 200);
}

/// Parts of what browsers and attackers send.
const PARTS: [&str; 22] = [
    "",
    "same-origin",
    "none",
    "same-site",
    "cross-site",
    "null",
    "GET",
    "POST",
    "https://",
    "http://",
    "shop.example",
    ":8443",
    "evil.example",
    "/",
    "://",
    "https://shop.example",
    "https://app.example",
    "[::1]",
    "-",
    ".",
    "@",
    ", ",
];

/// One of them, or any text.
fn part() -> impl Strategy<Value = String> {
    prop_oneof![3 => prop::sample::select(&PARTS[..]).prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn header() -> impl Strategy<Value = Option<String>> {
    let parts = prop::collection::vec(part(), 1..4).prop_map(|parts| parts.concat());
    prop::option::of(parts)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The rules said in another way: what passes is a safe method, says itself that it is the
    /// site's own, is from the host that was asked or from a trusted origin, or is no browser's.
    #[test]
    fn any_headers_at_all_pass_by_one_of_the_rules_or_are_refused(
        method in part(),
        site in header(),
        origin in header(),
        host in header(),
        trusted in header(),
    ) {
        let mut sessions = manager();
        let trusted = trusted.filter(|trusted| {
            manager().with_trusted_origin(trusted).is_ok_and(|trusting| {
                sessions = trusting;
                true
            })
        });
        let request = RequestHead::new(&method, "/", |name| match name {
            "Sec-Fetch-Site" => site.as_deref(),
            "Origin" => origin.as_deref(),
            "Host" => host.as_deref(),
            _ => None,
        });
        let is_own = match (&site, &origin) {
            (Some(site), _) => ["same-origin", "none"].contains(&&**site),
            (None, None) => true,
            (None, Some(origin)) => host.as_ref().is_some_and(|host| {
                let scheme = origin.strip_suffix(&**host).and_then(|rest| rest.strip_suffix("://"));
                scheme.is_some_and(|scheme| !format!("{scheme}:/").contains("://"))
            }),
        };
        let is_trusted = origin.is_some() && origin == trusted;
        let is_safe = ["GET", "HEAD", "OPTIONS"].contains(&&*method);
        prop_assert_eq!(sessions.check_origin(&request).is_ok(), is_safe || is_own || is_trusted);
        if let Some(trusted) = trusted {
            let uri: http::Uri = trusted.parse().expect("a trusted origin is a URI");
            let parts = (uri.scheme_str(), uri.authority().map(http::uri::Authority::as_str));
            let (Some(scheme), Some(authority)) = parts else { panic!("{trusted}: no host") };
            prop_assert_eq!(format!("{scheme}://{authority}").to_lowercase(), trusted);
        }
    }
}

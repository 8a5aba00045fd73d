//! Where requests come from: none that another site has made the browser send changes anything.

use http::{HeaderName, HeaderValue, Method};
use session_manager::SessionManager;

use super::{memory_store, no_seeds};
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "origins",
    words: &[
        b"\n",
        b"POST\n",
        b"GET\n",
        b"get",
        b"OPTIONS",
        b"Sec-Fetch-Site: ",
        b"sec-fetch-site: same-origin",
        b"Origin: ",
        b"Host: ",
        b"same-origin",
        b"same-site",
        b"cross-site",
        b"none",
        b"null",
        b"://",
        b"https://",
        b"http://",
        b"shop.example",
        b":8443",
        b"@",
        b"/",
        b".evil.example",
        TRUSTED.as_bytes(),
        b"\xFF",
        "é".as_bytes(),
    ],
    seeds: no_seeds,
    max_len: 8 * 1024,
    max_memory: |len| 256 * 1024 + 64 * len,
    test,
};

const TRUSTED: &str = "https://app.example";

/// The first line is a method, and each other one a header. Those of `http` can have bytes that are
/// no text.
fn test(input: &[u8]) -> String {
    let mut lines = input.split(|byte| *byte == b'\n');
    let method = lines.next().unwrap_or_default();
    let headers = lines.take(8).filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii());
        Some((HeaderName::from_bytes(&name).ok()?, HeaderValue::from_bytes(value).ok()?))
    });
    let headers: Vec<_> = headers.collect();
    let Ok(method) = Method::from_bytes(method) else { return "no method".to_owned() };

    let sessions =
        SessionManager::new(memory_store()).with_trusted_origin(TRUSTED).expect("it is an origin");
    let rule = rule(&method, &headers);
    let passes = through_http(&sessions, &method, &headers);
    assert_eq!(passes, rule.is_some(), "{method} {headers:?}: {rule:?}");
    let texts: Option<Vec<_>> = headers
        .iter()
        .map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    if let Some(texts) = texts {
        assert_eq!(through_rouille(&sessions, &method, texts), passes, "{method} {headers:?}");
    }
    format!("{rule:?}")
}

/// By what a request passes: Go's rules, said in another way than in the manager.
fn rule(method: &Method, headers: &[(HeaderName, HeaderValue)]) -> Option<&'static str> {
    let first = |wanted: &str| {
        headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_bytes())
    };
    let (site, origin, host) = (first("sec-fetch-site"), first("origin"), first("host"));
    if method.is_safe() && method != Method::TRACE {
        return Some("safe");
    }
    if origin == Some(TRUSTED.as_bytes()) {
        return Some("trusted");
    }
    match (site, origin) {
        (Some(b"same-origin" | b"none"), _) => Some("the browser says so"),
        (Some(_), _) => None,
        (None, None) => Some("no browser"),
        (None, Some(origin)) => {
            // A scheme, "://", and the host that was asked; bytes that are no text are refused.
            let scheme = origin.strip_suffix(host?)?.strip_suffix(b"://")?;
            let is_first = !scheme.windows(3).any(|part| part == b"://");
            let is_text = origin.iter().all(|byte| matches!(byte, b'\t' | 32..127));
            (is_first && is_text).then_some("its host")
        }
    }
}

/// Whether the handler was called.
fn through_http(
    sessions: &SessionManager,
    method: &Method,
    headers: &[(HeaderName, HeaderValue)],
) -> bool {
    let mut request = http::Request::new(());
    *request.method_mut() = method.clone();
    for (name, value) in headers {
        request.headers_mut().append(name, value.clone());
    }
    let mut is_called = false;
    let response = sessions.http(&mut request, |_, _| {
        is_called = true;
        http::Response::new(String::new())
    });
    assert_eq!(response.status(), if is_called { 200 } else { 403 });
    is_called
}

fn through_rouille(
    sessions: &SessionManager,
    method: &Method,
    headers: Vec<(String, String)>,
) -> bool {
    let request = rouille::Request::fake_http(method.as_str(), "/", headers, Vec::new());
    let mut is_called = false;
    let response = sessions.rouille(&request, |_| {
        is_called = true;
        rouille::Response::text("")
    });
    assert_eq!(response.status_code, if is_called { 200 } else { 403 });
    is_called
}

//! Cookie policies: what is accepted sets the cookie that was asked for, and nothing else.

use cookie::Cookie;
use http::Request;
use session_manager::{CookiePolicy, Error, SameSite, SessionManager};

use super::{memory_store, no_seeds, text};
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "cookie_policy",
    words: &[
        b"\n",
        b"\r\n",
        b";",
        b"; Secure",
        b"; Domain=evil.example",
        b"=",
        b"\"",
        b",",
        b".",
        b"/",
        b"__Host-",
        b"__host-http-",
        b"__Secure-",
        b"__Http-",
        b"example.org",
        b"session",
        b"\x7F",
        "é".as_bytes(),
    ],
    seeds: no_seeds,
    max_len: 8 * 1024,
    max_memory: |len| 256 * 1024 + 64 * len,
    test,
};

/// The first byte chooses attributes; name, path and domain are lines. Missing ones are left out.
fn test(input: &[u8]) -> String {
    let (flags, rest) = input.split_first().unwrap_or((&0, &[]));
    let is_set = |bit: u8| flags & 1 << bit != 0;
    let rest = text(rest);
    let mut lines = rest.split('\n');
    let name = lines.next().unwrap_or_default();
    let (path, domain) = (lines.next().unwrap_or("/"), lines.next());
    let mut policy = CookiePolicy::new().with_name(name).with_path(path);
    if let Some(domain) = domain {
        policy = policy.with_domain(domain);
    }
    if is_set(0) {
        policy = policy.persistent();
    }
    if is_set(1) {
        policy = policy.partitioned();
    }
    if is_set(2) {
        policy = policy.readable_by_scripts();
    }
    if is_set(3) {
        policy = policy.insecure_for_local_development();
    }
    let same_site = [SameSite::Lax, SameSite::Strict, SameSite::None, SameSite::Lax];
    policy = policy.with_same_site(same_site[usize::from(flags >> 4 & 3)]);
    let name = policy.name().to_owned();

    let sessions = match SessionManager::new(memory_store()).with_cookie(policy) {
        Ok(sessions) => sessions,
        Err(Error::InvalidOption { option, problem }) => return format!("{option}: {problem}"),
        Err(other) => panic!("{other:?}"),
    };
    let response = sessions.http(&mut Request::new(()), |_, session| {
        session.insert("written", true)?;
        Ok(http::Response::new(String::new()))
    });
    let mut cookies = response.headers().get_all("set-cookie").into_iter();
    let header = cookies.next().expect("the session is new").to_str().expect("it is of ASCII");
    assert!(cookies.next().is_none());

    // As another parser reads it.
    let cookie = Cookie::parse(header).expect("it is a cookie");
    assert_eq!(cookie.name(), name, "{header}");
    assert_eq!(cookie.path(), Some(path), "{header}");
    let domain = domain.map(|domain| domain.strip_prefix('.').unwrap_or(domain));
    assert_eq!(cookie.domain(), domain, "{header}");
    assert_eq!(cookie.secure().unwrap_or(false), !is_set(3), "{header}");
    assert_eq!(cookie.http_only().unwrap_or(false), !is_set(2), "{header}");
    assert_eq!(cookie.partitioned().unwrap_or(false), is_set(1), "{header}");
    assert_eq!(cookie.max_age().is_some(), is_set(0), "{header}");
    assert_eq!(cookie.expires(), None, "{header}");
    let attributes = [is_set(0), is_set(1), !is_set(2), !is_set(3), domain.is_some()];
    let attributes = attributes.into_iter().filter(|is_there| *is_there).count();
    // The pair, Path and SameSite are always there.
    assert_eq!(header.split(';').count(), 3 + attributes, "{header}");

    // What browsers demand of names with these prefixes, however they are spelled.
    let lower = name.to_ascii_lowercase();
    let (is_secure, is_http_only) = (!is_set(3), !is_set(2));
    assert!(
        is_secure || !lower.starts_with("__host-") && !lower.starts_with("__secure-"),
        "{name}"
    );
    assert!(!lower.starts_with("__host-") || domain.is_none() && path == "/", "{name}");
    let is_http = lower.starts_with("__http-") || lower.starts_with("__host-http-");
    assert!(!is_http || is_secure && is_http_only, "{name}");

    let pair = header.split(';').next().unwrap_or_default();
    let session = sessions.load_from_headers([pair.as_bytes()]).expect("in memory");
    assert_eq!(session.get("written").expect("a bool"), Some(true), "{header}");
    format!("accepted, {attributes} attributes, {:?}", cookie.same_site())
}

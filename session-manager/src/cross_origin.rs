//! Refusing requests that another site has made the browser send.

use std::net::Ipv6Addr;

use crate::error::Error;
use crate::manager::SessionManager;
use crate::request_head::RequestHead;

/// Which requests from other sites are let through.
#[derive(Clone, Debug)]
pub(crate) enum OriginCheck {
    /// Those of these origins.
    Trusting(Vec<String>),
    Off,
}

impl<C> SessionManager<C> {
    /// Lets requests from this other origin change something, although [`check_origin`] would
    /// refuse them: a front end on another host, or this site itself behind a proxy that changes
    /// the Host header. Default: none.
    ///
    /// [`check_origin`]: Self::check_origin
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for what no browser sends as an origin: it must be a scheme and a
    /// host in lower case, and a port unless that is the scheme's default, without a slash at the
    /// end.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{RequestHead, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?)
    ///     .with_trusted_origin("https://app.example.org")?;
    /// let request = RequestHead::new("POST", "/cart", |name| match name {
    ///     "Sec-Fetch-Site" => Some("same-site"),
    ///     "Origin" => Some("https://app.example.org"),
    ///     _ => None,
    /// });
    /// assert!(sessions.check_origin(&request).is_ok());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn with_trusted_origin(mut self, origin: &str) -> Result<Self, Error> {
        if !is_origin(origin) {
            let problem = "it must be as browsers send it, such as https://example.org or \
                           http://localhost:4000"
                .to_owned();
            return Err(Error::InvalidOption { option: "trusted origin", problem });
        }
        match &mut self.origin_check {
            OriginCheck::Trusting(origins) => origins.push(origin.to_owned()),
            off @ OriginCheck::Off => *off = OriginCheck::Trusting(vec![origin.to_owned()]),
        }
        Ok(self)
    }

    /// Lets requests from all other sites change something: for an application that has its own
    /// defence against forged requests. Default: [`check_origin`](Self::check_origin) refuses them.
    ///
    /// # Examples
    /// ```
    /// use session_manager::SessionManager;
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?).without_origin_check();
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn without_origin_check(mut self) -> Self {
        self.origin_check = OriginCheck::Off;
        self
    }

    /// Refuses a request that may change something and that another site has made the browser send:
    /// a forged one (CSRF). The adapters do it by themselves, before they load the session; without
    /// one, do it at the same place, and answer with [`error_response`](Self::error_response).
    ///
    /// - `GET`, `HEAD` and `OPTIONS` pass. So a `GET` must change nothing.
    /// - Browsers say in Sec-Fetch-Site where a request comes from (all of them since 2023, over
    ///   HTTPS and on localhost): `same-origin` and `none` (a bookmark) pass, and others only if
    ///   the Origin is [trusted](Self::with_trusted_origin). Other hosts of the same site are
    ///   refused.
    /// - Without that header, the host in Origin must be the one in Host. A page of the same host
    ///   over plain HTTP isn't told apart, against which Strict-Transport-Security helps.
    /// - Without both headers the request passes: it doesn't come from a browser.
    ///
    /// This is the check of Go's `net/http.CrossOriginProtection`. For a second line of defence,
    /// see [`Session::form_token`](crate::Session::form_token).
    ///
    /// # Errors
    /// [`Error::CrossOrigin`], which the adapters answer with status 403.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{Error, RequestHead, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?);
    /// let request = RequestHead::new("POST", "/transfer", |name| {
    ///     (name == "Sec-Fetch-Site").then_some("cross-site")
    /// });
    /// let error = sessions.check_origin(&request).unwrap_err();
    /// assert!(matches!(error, Error::CrossOrigin { .. }));
    /// assert_eq!(sessions.error_response(&error, &request).status, 403);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "csrf")]
    #[doc(alias = "CrossOriginProtection")]
    pub fn check_origin(&self, request: &RequestHead<'_>) -> Result<(), Error> {
        let OriginCheck::Trusting(trusted) = &self.origin_check else { return Ok(()) };
        if matches!(request.method(), "GET" | "HEAD" | "OPTIONS") {
            return Ok(());
        }
        let (site, origin) = (request.header("Sec-Fetch-Site"), request.header("Origin"));
        let (header, value) = match (site, origin) {
            (Some("same-origin" | "none"), _) | (None, None) => return Ok(()),
            (Some(site), _) => ("Sec-Fetch-Site", site),
            (None, Some(origin)) => {
                let host = origin.split_once("://").map(|(_, host)| host);
                if host.is_some() && host == request.header("Host") {
                    return Ok(());
                }
                ("Origin", origin)
            }
        };
        if origin.is_some_and(|origin| trusted.iter().any(|trusted| trusted == origin)) {
            return Ok(());
        }
        Err(Error::CrossOrigin { header, value: value.to_owned() })
    }
}

/// Returns whether a browser could send this in an Origin header: RFC 6454, section 6.2.
fn is_origin(origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let default_port = match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    let is_port = |port: &str| {
        let is_canonical = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
        is_canonical && port.parse::<u16>().is_ok_and(|port| Some(port) != default_port)
    };
    let is_name = |host: &str| host.bytes().all(|byte| is_lower(byte) || b"-._".contains(&byte));
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok() && address == address.to_lowercase(),
        None => !host.is_empty() && is_name(host),
    };
    scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| is_lower(byte) || b"+-.".contains(&byte))
        && is_host
        && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_browsers_send_is_an_origin() {
        for good in [
            "https://example.org",
            "https://example.org:8443",
            "http://localhost:4000",
            "http://127.0.0.1:4000",
            "http://[::1]:4000",
            "https://[2001:db8::1]",
            "https://xn--bcher-kva.example",
            "tauri://localhost",
            "chrome-extension://abcdefghijklmnop",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "null",
            "*",
            "example.org",
            "https://",
            "://example.org",
            "https://example.org/",
            "https://example.org/path",
            "https://example.org?query",
            "https://example.org#part",
            "https://user@example.org",
            "https://*.example.org",
            "https://Example.org",
            "HTTPS://example.org",
            "https://bücher.example",
            "https://example.org:443",
            "http://example.org:80",
            "https://example.org:",
            "https://example.org:08443",
            "https://example.org:65536",
            "https://example.org:port",
            "https://[::1][::1]",
            "https://[::1",
            "https://::1",
            "https://[2001:DB8::1]",
            "1ttps://example.org",
            "https://example.org ",
            "https://example.org\n",
            "https://example.org, https://example.com",
        ] {
            assert!(!is_origin(bad), "{bad:?}");
        }
    }
}

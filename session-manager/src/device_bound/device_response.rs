//! What the device endpoint answers, in no framework's form.

use std::fmt;

use serde_json::json;

use crate::cookie_policy::CookiePolicy;
use crate::device_bound::binding_policy::BindingPolicy;
use crate::device_bound::device_cookie::{self, DeviceCookie};
use crate::session::headers::Header;
use crate::set_cookies::SetCookies;

/// The answer to a browser that registers a device or refreshes the device cookie:
/// [`SessionManager::device_endpoint`](crate::SessionManager::device_endpoint). With the feature
/// `dbsc`.
///
/// Its `Debug` output shows neither headers nor body.
///
/// # Examples
/// ```
/// use session_manager::{BindingPolicy, RequestHead, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?)
///     .with_device_binding(BindingPolicy::new("/device-session"))?;
/// let request = RequestHead::new("GET", "/device-session", |_| None);
/// let response = sessions.device_endpoint(&request, []);
/// assert_eq!(response.status, 405);
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceResponse {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<Header>,
    /// The body: JSON, or nothing.
    pub body: String,
}

impl DeviceResponse {
    /// The request isn't one of a browser that registers or refreshes.
    pub(super) fn method_not_allowed() -> Self {
        Self::empty(405).with("Allow", "POST")
    }

    /// Nothing can be registered: not a proof, or not of a session that waits for one. Without a
    /// challenge, because the browser has no session yet that it could belong to.
    pub(super) fn registration_refused() -> Self {
        Self::empty(403)
    }

    /// The browser has to sign this challenge. Another status than 403 would end the binding.
    pub(super) fn challenge(id: &str, challenge: &str) -> Self {
        Self::empty(403).with_challenge(id, challenge)
    }

    /// The store is down. After a status of 5xx browsers try again later; after another, they would
    /// end the binding.
    pub(super) fn unavailable() -> Self {
        Self::empty(503).with("Retry-After", "5")
    }

    /// There is no session, or another one, so the browser forgets the binding.
    pub(super) fn end(id: &str) -> Self {
        Self::json(&json!({ "session_identifier": id, "continue": false }))
    }

    /// The browser gets a device cookie, and is told what to do about it.
    pub(super) fn instructions(
        policy: &BindingPolicy,
        session_cookie: &CookiePolicy,
        id: &str,
        cookie: &DeviceCookie,
    ) -> Self {
        let instructions = json!({
            "session_identifier": id,
            "refresh_url": policy.path(),
            // One origin, because the cookies are of one host.
            "scope": { "include_site": false },
            "credentials": [{
                "type": "cookie",
                "name": device_cookie::name(session_cookie),
                "attributes": device_cookie::attributes(session_cookie),
            }],
        });
        let set_cookie = cookie.set(session_cookie, policy.cookie_lifetime());
        Self::json(&instructions).with("Set-Cookie", &set_cookie)
    }

    /// Adds the challenge for the next refresh.
    pub(super) fn with_challenge(self, id: &str, challenge: &str) -> Self {
        // Both are base64url, so nothing has to be escaped.
        self.with("Secure-Session-Challenge", &format!("\"{challenge}\";id=\"{id}\""))
    }

    fn json(body: &serde_json::Value) -> Self {
        let response = Self::empty(200).with("Content-Type", "application/json");
        Self { body: body.to_string(), ..response }
    }

    fn empty(status: u16) -> Self {
        let headers = vec![("Cache-Control", "no-store".to_owned())];
        Self { status, headers, body: String::new() }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

impl SetCookies for DeviceResponse {
    fn set_cookies(&self) -> Vec<&str> {
        self.headers.set_cookies()
    }
}

impl fmt::Debug for DeviceResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

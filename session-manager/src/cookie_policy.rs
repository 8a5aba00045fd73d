//! The attributes of the session cookie.

use chrono::{DateTime, Utc};
use cookie::Cookie;

use crate::Error;
use crate::token::TOKEN_LEN;

/// What browsers cap the life of a cookie to: RFC 6265bis, section 5.5.
const MAX_AGE_SECONDS: i64 = 400 * 24 * 60 * 60;

/// What browsers take: RFC 6265bis, section 5.6.
const MAX_PAIR_LEN: usize = 4_096;
const MAX_ATTRIBUTE_LEN: usize = 1_024;

/// The prefixes of names that demand attributes; the longest first.
const PREFIXES: [&str; 4] = ["__Host-Http-", "__Host-", "__Secure-", "__Http-"];

/// When browsers send the cookie along with requests that another site caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Never, not even when a person follows a link.
    Strict,
    /// When a person follows a link, and not with forms posted from elsewhere.
    Lax,
    /// Always; the cookie must be Secure, and the application needs a defence of its own against forged
    /// requests.
    None,
}

/// The session cookie's name and attributes.
///
/// The default is `__Host-session`, Secure, HttpOnly, SameSite=Lax, Path=/, without Domain, and gone when the
/// browser is closed.
///
/// # Examples
/// ```
/// use session_manager::{CookiePolicy, SameSite, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?).with_cookie(
///     CookiePolicy::new().with_name("__Host-shop").with_same_site(SameSite::Strict).persistent(),
/// )?;
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an attribute that a cookie has or hasn't"
)]
pub struct CookiePolicy {
    name: String,
    domain: Option<String>,
    path: String,
    http_only: bool,
    secure: bool,
    same_site: SameSite,
    partitioned: bool,
    persistent: bool,
}

impl CookiePolicy {
    /// The defaults, which each method names.
    pub fn new() -> Self {
        Self {
            name: "__Host-session".to_owned(),
            domain: None,
            path: "/".to_owned(),
            http_only: true,
            secure: true,
            same_site: SameSite::Lax,
            partitioned: false,
            persistent: false,
        }
    }

    /// The cookie's name. Default: `__Host-session`.
    ///
    /// Browsers accept a name with the prefix `__Host-` only from the host itself, over HTTPS, for all paths:
    /// no other host of the domain can plant one.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sends the cookie to all hosts of this domain. Default: only to the host that set it. The name can't
    /// have the prefix `__Host-` then.
    pub fn with_domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Sends the cookie to this path and those below it. Default: `/`. With another path the name can't have
    /// the prefix `__Host-`. A path keeps nothing secret from other paths of the host.
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Which requests from other sites have the cookie. Default: [`SameSite::Lax`].
    pub fn with_same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Keeps the cookie over a restart of the browser, until the session expires (at most 400 days).
    /// Default: it is gone when the browser is closed, unless
    /// [`Session::remember_me`](crate::Session::remember_me) says otherwise.
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// Keeps a cookie of its own for each site that embeds this one (CHIPS). Default: one for all.
    pub fn partitioned(mut self) -> Self {
        self.partitioned = true;
        self
    }

    /// Shows the cookie to scripts of the page, and so to every script that gets into it. Default: HttpOnly.
    pub fn readable_by_scripts(mut self) -> Self {
        self.http_only = false;
        self
    }

    /// For development on plain HTTP: no Secure, and a name without the prefix that demands it. Whoever can
    /// listen on the network can take over every session.
    pub fn insecure_for_local_development(mut self) -> Self {
        self.secure = false;
        let prefix = PREFIXES.into_iter().find(|prefix| has_prefix(&self.name, prefix));
        if let Some(prefix) = prefix {
            self.name.drain(..prefix.len());
        }
        self
    }

    /// The cookie's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_persistent(&self) -> bool {
        self.persistent
    }

    /// Refuses what browsers would refuse, ignore, or read as another attribute.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let invalid = |option, problem: &str| {
            Err(Error::InvalidOption { option, problem: problem.to_owned() })
        };
        if self.name.is_empty() || !self.name.bytes().all(is_token_byte) {
            return invalid("cookie name", "it must be letters, digits and !#$%&'*+-.^_`|~ alone");
        }
        if !self.path.starts_with('/') || !self.path.bytes().all(is_attribute_byte) {
            return invalid(
                "cookie path",
                "it must begin with / and have no ; or control characters",
            );
        }
        if let Some(domain) = &self.domain
            && !is_domain(domain)
        {
            return invalid(
                "cookie domain",
                "it must be names of letters, digits and hyphens, with a dot between them",
            );
        }
        if self.name.len() + TOKEN_LEN > MAX_PAIR_LEN {
            return invalid("cookie name", "browsers drop a cookie of more than 4096 bytes");
        }
        if self.path.len() > MAX_ATTRIBUTE_LEN {
            return invalid("cookie path", "browsers ignore one of more than 1024 bytes");
        }
        if self.domain.as_ref().is_some_and(|domain| domain.len() > MAX_ATTRIBUTE_LEN) {
            return invalid("cookie domain", "browsers ignore one of more than 1024 bytes");
        }
        let prefixed = |prefix| has_prefix(&self.name, prefix);
        if (prefixed("__Http-") || prefixed("__Host-Http-")) && !(self.secure && self.http_only) {
            return invalid("cookie name", "__Http- and __Host-Http- demand Secure and HttpOnly");
        }
        if prefixed("__Host-") && (!self.secure || self.domain.is_some() || self.path != "/") {
            return invalid("cookie name", "__Host- demands Secure, the path / and no domain");
        }
        if prefixed("__Secure-") && !self.secure {
            return invalid("cookie name", "__Secure- demands Secure");
        }
        if self.same_site == SameSite::None && !self.secure {
            return invalid("cookie SameSite", "None demands Secure");
        }
        if self.partitioned && !self.secure {
            return invalid("cookie Partitioned", "it demands Secure");
        }
        Ok(())
    }

    /// A Set-Cookie header that gives the browser a token.
    pub(crate) fn set(
        &self,
        token: &str,
        persistent_until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> String {
        let mut cookie = self.cookie(token);
        if let Some(until) = persistent_until {
            let seconds = (until - now).num_seconds().clamp(0, MAX_AGE_SECONDS);
            cookie.set_max_age(cookie::time::Duration::seconds(seconds));
        }
        cookie.to_string()
    }

    /// A Set-Cookie header that takes the token away.
    pub(crate) fn remove(&self) -> String {
        let mut cookie = self.cookie("");
        cookie.set_max_age(cookie::time::Duration::ZERO);
        cookie.set_expires(cookie::time::OffsetDateTime::UNIX_EPOCH);
        cookie.to_string()
    }

    fn cookie<'a>(&'a self, value: &'a str) -> Cookie<'a> {
        let mut cookie = Cookie::new(self.name.as_str(), value);
        cookie.set_path(self.path.as_str());
        if let Some(domain) = &self.domain {
            cookie.set_domain(domain.as_str());
        }
        cookie.set_same_site(match self.same_site {
            SameSite::Strict => cookie::SameSite::Strict,
            SameSite::Lax => cookie::SameSite::Lax,
            SameSite::None => cookie::SameSite::None,
        });
        if self.http_only {
            cookie.set_http_only(true);
        }
        if self.secure {
            cookie.set_secure(true);
        }
        if self.partitioned {
            cookie.set_partitioned(true);
        }
        cookie
    }
}

impl Default for CookiePolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// Browsers compare prefixes without regard to case.
fn has_prefix(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 6265bis, section 4.1.1: `av-octet`.
fn is_attribute_byte(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && byte != b';'
}

/// A dot at the beginning is ignored by browsers, as RFC 6265 says, section 5.2.3.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    domain.strip_prefix('.').unwrap_or(domain).split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn default_cookie_is_secure() {
        let policy = CookiePolicy::new();
        policy.check().expect("the default is right");
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(
            policy.set("token", None, now),
            "__Host-session=token; HttpOnly; SameSite=Lax; Secure; Path=/"
        );
        assert_eq!(
            policy.remove(),
            "__Host-session=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0; \
             Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        );
    }

    #[test]
    fn every_attribute_can_be_set() {
        let policy = CookiePolicy::new()
            .with_name("shop")
            .with_domain(".example.org")
            .with_path("/shop")
            .with_same_site(SameSite::None)
            .partitioned()
            .readable_by_scripts()
            .persistent();
        policy.check().expect("it is right");
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(
            policy.set("token", Some(now + TimeDelta::hours(1)), now),
            "shop=token; SameSite=None; Partitioned; Secure; Path=/shop; Domain=example.org; Max-Age=3600"
        );
        // Browsers take away only the cookie of the same name, domain, path and partition.
        assert_eq!(
            policy.remove(),
            "shop=; SameSite=None; Partitioned; Secure; Path=/shop; Domain=example.org; Max-Age=0; \
             Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        );
    }

    #[test]
    fn max_age_is_at_most_400_days_and_never_negative() {
        let now = DateTime::UNIX_EPOCH;
        let age = |until| CookiePolicy::new().set("t", Some(until), now);
        assert!(age(now + TimeDelta::days(4_000)).ends_with("Max-Age=34560000"));
        assert!(age(now - TimeDelta::days(1)).ends_with("Max-Age=0"));
        assert!(age(DateTime::<Utc>::MAX_UTC).ends_with("Max-Age=34560000"));
    }

    #[test]
    fn development_cookie_drops_what_plain_http_cannot_have() {
        let policy = CookiePolicy::new().insecure_for_local_development();
        policy.check().expect("it is right");
        let header = policy.set("token", None, DateTime::UNIX_EPOCH);
        assert_eq!(header, "session=token; HttpOnly; SameSite=Lax; Path=/");
    }

    #[test]
    fn what_browsers_would_refuse_or_misread_is_refused() {
        let new = CookiePolicy::new;
        let plain = || new().with_name("session");
        for policy in [
            new().with_name(""),
            new().with_name("a b"),
            new().with_name("a=b"),
            new().with_name("a;b"),
            new().with_name("a\r\nSet-Cookie: evil=1"),
            new().with_name("naïve"),
            plain().with_path(""),
            plain().with_path("shop"),
            plain().with_path("/; Domain=evil.example"),
            plain().with_path("/\r\nX: y"),
            plain().with_path("/é"),
            plain().with_domain(""),
            plain().with_domain("example.org; Secure"),
            plain().with_domain("example.org\n"),
            plain().with_domain("."),
            plain().with_domain("example.org."),
            plain().with_domain("..example.org"),
            new().with_domain("example.org"),
            new().with_path("/shop"),
            new().insecure_for_local_development().with_name("__Host-x"),
            new().insecure_for_local_development().with_name("__host-x"),
            new().insecure_for_local_development().with_name("__Secure-x"),
            new().insecure_for_local_development().with_same_site(SameSite::None),
            new().insecure_for_local_development().partitioned(),
        ] {
            let refused = policy.check();
            assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{policy:?}");
        }
    }
}

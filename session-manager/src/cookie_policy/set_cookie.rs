//! Set-Cookie headers.

use chrono::{DateTime, Utc};
use cookie::Cookie;

use crate::cookie_policy::{CookiePolicy, SameSite};

/// The longest life of a cookie in browsers, in seconds: RFC 6265bis, section 5.5.
const MAX_AGE: i64 = 400 * 24 * 60 * 60;

impl CookiePolicy {
    /// Returns a Set-Cookie header that sets the token.
    pub(crate) fn set(
        &self,
        token: &str,
        persistent_until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> String {
        let mut cookie = self.cookie(token);
        if let Some(until) = persistent_until {
            let seconds = (until - now).num_seconds().clamp(0, MAX_AGE);
            cookie.set_max_age(cookie::time::Duration::seconds(seconds));
        }
        cookie.to_string()
    }

    /// Returns a Set-Cookie header that removes the cookie.
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
        // Browsers remove only the cookie of the same name, domain, path and partition.
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
}

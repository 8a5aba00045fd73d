//! Refuses policies that browsers would refuse, ignore or misread.

use crate::cookie_policy::{CookiePolicy, SameSite, has_prefix};
use crate::error::Error;
use crate::token::TOKEN_LEN;

/// The longest name and value together, in bytes, that browsers accept: RFC 6265bis, section 5.6.
const MAX_PAIR_LEN: usize = 4_096;

/// The longest attribute value, in bytes, that browsers accept: RFC 6265bis, section 5.6.
const MAX_ATTRIBUTE_LEN: usize = 1_024;

impl CookiePolicy {
    /// Refuses what browsers would refuse, ignore, or read as another attribute.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let invalid = |option, problem: &str| {
            Err(Error::InvalidOption { option, problem: problem.to_owned() })
        };
        if self.name.is_empty() || !self.name.bytes().all(is_token_byte) {
            return invalid(
                "cookie name",
                "it must consist of letters, digits and !#$%&'*+-.^_`|~",
            );
        }
        if !self.path.starts_with('/') || !self.path.bytes().all(is_attribute_byte) {
            return invalid(
                "cookie path",
                "it must begin with / and have no ; or control characters",
            );
        }
        if self.path.ends_with(' ') {
            return invalid("cookie path", "browsers cut off the space at its end");
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
    use super::*;

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
            plain().with_path("/shop "),
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

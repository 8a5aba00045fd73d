//! Refuses policies that browsers would refuse, ignore or misread.

use crate::cookie_policy::{CookiePolicy, SameSite, has_prefix};
use crate::error::Error;
use crate::token::TOKEN_LEN;

/// The longest name and value together, in bytes, that browsers accept: RFC 6265bis, section 5.6.
const MAX_PAIR_LEN: usize = 4_096;

/// The longest attribute value, in bytes, that browsers accept: RFC 6265bis, section 5.6.
const MAX_ATTRIBUTE_LEN: usize = 1_024;

/// The longest name of a host, in bytes: RFC 1035, section 2.3.4, without its root.
const MAX_DOMAIN_LEN: usize = 253;

/// The longest label of a host's name, in bytes: RFC 1035, section 2.3.4.
const MAX_LABEL_LEN: usize = 63;

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
        if !self.path.starts_with('/') || !self.path.bytes().all(is_path_byte) {
            return invalid(
                "cookie path",
                "it must begin with / and consist of ASCII without ; \" \\ and control characters",
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
                "it must be the name of a host with a dot in it, not an address",
            );
        }
        if self.name.len() + TOKEN_LEN > MAX_PAIR_LEN {
            return invalid("cookie name", "browsers drop a cookie of more than 4096 bytes");
        }
        if self.path.len() > MAX_ATTRIBUTE_LEN {
            return invalid("cookie path", "browsers ignore one of more than 1024 bytes");
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

/// RFC 6265bis, section 4.1.1: `av-octet`, without what Go's `net/http` takes no attribute with.
fn is_path_byte(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && !b";\"\\".contains(&byte)
}

/// Returns whether this is a host's name (RFC 1123, section 2.1) below a top-level domain: for one
/// without a dot, browsers ignore the cookie, and an address has no other hosts below it. A dot at
/// the beginning is ignored by browsers, as RFC 6265 says, section 5.2.3.
fn is_domain(domain: &str) -> bool {
    let name = domain.strip_prefix('.').unwrap_or(domain);
    let is_label = |label: &str| {
        (1..=MAX_LABEL_LEN).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let Some((_, last)) = name.rsplit_once('.') else { return false };
    name.len() <= MAX_DOMAIN_LEN && name.split('.').all(is_label) && !is_number(last)
}

/// Returns whether a name that ends with this label is an address: URL Standard, section 3.5, “ends
/// in a number checker”.
fn is_number(label: &str) -> bool {
    let is_decimal = label.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    is_decimal
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
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
            plain().with_path("/\"shop\""),
            plain().with_path("/shop\\"),
            plain().with_domain(""),
            plain().with_domain("example.org; Secure"),
            plain().with_domain("example.org\n"),
            plain().with_domain("."),
            plain().with_domain("example.org."),
            plain().with_domain("..example.org"),
            plain().with_domain("localhost"),
            plain().with_domain(".org"),
            plain().with_domain("-shop.example.org"),
            plain().with_domain("shop-.example.org"),
            plain().with_domain("shop.org-"),
            plain().with_domain(format!("{}.org", "n".repeat(64))),
            plain().with_domain(format!("{}rg", "n.".repeat(126))),
            plain().with_domain("127.0.0.1"),
            plain().with_domain("127.1"),
            plain().with_domain("example.0x7F"),
            plain().with_domain("example.0x"),
            plain().with_domain("[::1]"),
            plain().with_domain("shop_1.example.org"),
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

    #[test]
    fn names_of_hosts_and_paths_that_parsers_agree_on_are_accepted() {
        let plain = || CookiePolicy::new().with_name("session");
        for policy in [
            plain().with_domain("example.org"),
            plain().with_domain(".example.org"),
            plain().with_domain("SHOP-1.3com.xn--p1ai"),
            plain().with_domain("1.2.3.4.example"),
            plain().with_domain("example.0xyz"),
            plain().with_domain("example.x0"),
            plain().with_domain(format!("{}.org", "n".repeat(63))),
            plain().with_domain(format!(".{}o", "n.".repeat(126))),
            plain().with_path("/a b/~c!'(),=%22"),
        ] {
            policy.check().unwrap_or_else(|error| panic!("{policy:?}: {error}"));
        }
    }
}

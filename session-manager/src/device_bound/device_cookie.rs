//! The cookie that shows that a request comes from the session's device.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use sha2::{Digest, Sha256};

use crate::cookie_policy::CookiePolicy;
use crate::error::Error;
use crate::manager::load::MAX_COOKIES;
use crate::token::Token;

/// A new device cookie: a secret of the same form as a session's token.
pub(super) struct DeviceCookie(Token);

impl DeviceCookie {
    pub(super) fn generate() -> Result<Self, Error> {
        Token::generate().map(Self)
    }

    pub(super) fn hash(&self) -> String {
        hash(&self.0)
    }

    /// Returns the Set-Cookie header. But for the Max-Age, its attributes are those that the
    /// browser is [told](attributes), or it would refresh the cookie again and again.
    pub(super) fn set(&self, session_cookie: &CookiePolicy, lifetime: TimeDelta) -> String {
        let (name, attributes) = (name(session_cookie), attributes(session_cookie));
        let seconds = lifetime.num_seconds();
        format!("{name}={}; {attributes}; Max-Age={seconds}", self.0.as_str())
    }
}

/// Returns what sessions hold of a request's device cookies: those that have the form of one, as
/// hashes.
pub(crate) fn hashes<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let tokens = values.into_iter().filter_map(Token::parse).take(MAX_COOKIES);
    tokens.map(|token| hash(&token)).collect()
}

/// Returns the name of the cookie, which has the prefix of the session cookie's.
pub(crate) fn name(session_cookie: &CookiePolicy) -> String {
    format!("{}-device", session_cookie.name())
}

/// Returns the attributes of the cookie, those of the session cookie.
pub(super) fn attributes(session_cookie: &CookiePolicy) -> String {
    let set_cookie = session_cookie.set("", None, chrono::DateTime::UNIX_EPOCH);
    set_cookie.split_once("; ").map_or_else(String::new, |(_, attributes)| attributes.to_owned())
}

/// A copy of the store shows nobody's device cookie.
fn hash(token: &Token) -> String {
    let digest = Sha256::new().chain_update("session-manager device ").chain_update(token.as_str());
    BASE64_URL_SAFE_NO_PAD.encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_the_cookie_are_those_that_the_browser_is_told() -> Result<(), Error> {
        for policy in [
            CookiePolicy::new(),
            CookiePolicy::new().with_name("shop").with_path("/shop").readable_by_scripts(),
            CookiePolicy::new().insecure_for_local_development(),
        ] {
            let cookie = DeviceCookie::generate()?;
            let set_cookie = cookie.set(&policy, TimeDelta::minutes(10));
            let value = cookie.0.as_str();
            assert_eq!(
                set_cookie,
                format!("{}-device={value}; {}; Max-Age=600", policy.name(), attributes(&policy))
            );
        }
        assert_eq!(attributes(&CookiePolicy::new()), "HttpOnly; SameSite=Lax; Secure; Path=/");
        Ok(())
    }

    #[test]
    fn value_is_never_the_same_and_the_hash_is_not_the_key_of_a_session() -> Result<(), Error> {
        let cookies = [DeviceCookie::generate()?, DeviceCookie::generate()?];
        assert_ne!(cookies[0].hash(), cookies[1].hash());
        // SHA-256 of "session-manager device " and the value.
        let value = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(hashes([value, "too short"]), ["4OvOX29q_QFahZyaGE-ar_wGAKBaRC2izsbFqan9YuY"]);
        Ok(())
    }
}

//! Tokens, which browsers hold, and how they become the keys of the store.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::session_key::SessionKey;

/// Bytes of randomness in a token: 256 bits, twice what OWASP and ASVS ask for.
const TOKEN_BYTES: usize = 32;

/// Characters of a token.
pub(crate) const TOKEN_LEN: usize = 43;

/// The secret in the cookie: 43 characters of base64url. Its `Debug` output doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    /// Returns a new token, from the operating system's randomness.
    pub(crate) fn generate() -> Result<Self, Error> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).map_err(Error::Randomness)?;
        Ok(Self(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Returns the token in a cookie's value, if it has the form of one. Anything else can't name a
    /// session, and the store isn't asked.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        match BASE64_URL_SAFE_NO_PAD.decode_slice(value, &mut bytes) {
            Ok(TOKEN_BYTES) => Some(Self(value.to_owned())),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The token that a session is going to have.
#[derive(Clone)]
pub(crate) struct NewToken {
    pub(crate) token: Token,
    pub(crate) key: SessionKey,
    /// The visitor's rights don't change with it, so requests under way can go on with the old one.
    pub(crate) old_token_opens: bool,
}

/// What the store has instead of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokensAtRest {
    /// The SHA-256 of the cookie's name and the token, in base64url: a copy of the store logs
    /// nobody in, and managers with different cookies can't take each other's tokens.
    Hashed,
    /// The SHA-256 of the token alone, as SCS has it with `HashTokenInStore`.
    ScsHashed,
    /// The token itself.
    Plain,
}

impl TokensAtRest {
    pub(crate) fn key(self, cookie: &str, token: &Token) -> SessionKey {
        let digest = match self {
            Self::Plain => return SessionKey::from_store(token.as_str()),
            Self::ScsHashed => Sha256::digest(token.as_str()),
            // A cookie's name contains no NUL, and all tokens have the same length.
            Self::Hashed => Sha256::new()
                .chain_update("session-manager key ")
                .chain_update(cookie)
                .chain_update([0])
                .chain_update(token.as_str())
                .finalize(),
        };
        SessionKey::from_store(&BASE64_URL_SAFE_NO_PAD.encode(digest))
    }

    /// Returns how sessions of this kind are marked, for managers that share a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hashed => "hashed",
            Self::ScsHashed => "scs",
            Self::Plain => "plain",
        }
    }
}

/// Returns the SHA-256 of a text: 43 characters of base64url.
pub(crate) fn digest(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn tokens_are_43_characters_and_never_the_same() -> Result<(), Error> {
        let mut seen = HashSet::new();
        for _ in 0..if cfg!(miri) { 10 } else { 1_000 } {
            let token = Token::generate()?;
            assert_eq!(token.as_str().len(), 43);
            assert_eq!(Token::parse(token.as_str()).as_ref(), Some(&token));
            assert!(seen.insert(token.0));
        }
        Ok(())
    }

    #[test]
    fn what_has_not_the_form_of_a_token_is_none() {
        let good = "A".repeat(43);
        assert!(Token::parse(&good).is_some());
        for bad in [
            "",
            "A",
            &"A".repeat(42),
            &"A".repeat(44),
            &"A".repeat(8_192),
            &format!("{}=", "A".repeat(43)),
            &format!("{}+", "A".repeat(42)),
            &format!("{}/", "A".repeat(42)),
            &format!("{} ", "A".repeat(42)),
            // Bits that 32 bytes don't have: another spelling of the same token.
            &format!("{}B", "A".repeat(42)),
            &"é".repeat(43),
            &"\0".repeat(43),
        ] {
            assert!(Token::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn hash_is_the_one_of_scs() {
        // sha256.Sum256 of the token's text, in base64.RawURLEncoding.
        let token = Token("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned());
        let key = TokensAtRest::ScsHashed.key("session", &token);
        assert_eq!(key.as_str().len(), 43);
        assert_eq!(key.as_str(), "DwBzhbb51LfusnSGBa_hqYSgo7-j8BTQnip4TOnlzRo");
        assert_eq!(TokensAtRest::Plain.key("session", &token).as_str(), token.as_str());
    }

    #[test]
    fn cookies_of_other_names_have_other_keys() {
        let token = Token("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned());
        let key = |cookie| TokensAtRest::Hashed.key(cookie, &token);
        assert_eq!(key("session").as_str().len(), 43);
        assert_ne!(key("session"), key("admin"));
        assert_ne!(key("session"), TokensAtRest::ScsHashed.key("session", &token));
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let token = Token("SECRETSECRETSECRETSECRETSECRETSECRETSECRETA".to_owned());
        for text in
            [format!("{token:?}"), format!("{:?}", TokensAtRest::Plain.key("session", &token))]
        {
            assert!(!text.contains("SECRET"), "{text}");
        }
    }
}

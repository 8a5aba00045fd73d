//! The secret of a session's forms, and the tokens that pages get of it.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::Error;
use crate::token::Token;

const SECRET_BYTES: usize = 32;

/// What a session's forms have in common, and nobody else's have. Its `Debug` output doesn't show
/// it.
#[derive(Clone)]
pub(crate) struct FormSecret([u8; SECRET_BYTES]);

impl FormSecret {
    /// Returns the secret that goes with a cookie's token: the same for all requests with that
    /// token, so that those that show a session's first forms at the same time agree.
    pub(crate) fn of(token: &Token) -> Self {
        // All tokens have the same length, so this is as good as an HMAC.
        let digest =
            Sha256::new().chain_update("session-manager form ").chain_update(token.as_str());
        Self(digest.finalize().into())
    }

    /// Reads a secret as sessions hold it.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// Returns the secret as sessions hold it.
    pub(crate) fn to_text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Returns a token for a page: the secret under a random mask, and the mask. A page that always
    /// had the same one would give it away to somebody who sees the lengths of compressed pages
    /// (BREACH).
    pub(crate) fn masked(&self) -> Result<String, Error> {
        let mut mask = [0; SECRET_BYTES];
        getrandom::fill(&mut mask).map_err(Error::Randomness)?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode([mask, xor(self.0, mask)].concat()))
    }

    /// Returns the secret of a page's token, if it has the form of one.
    pub(crate) fn unmask(token: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (mask, masked) = bytes.split_first_chunk()?;
        Some(Self(xor(masked.try_into().ok()?, *mask)))
    }

    /// Compares in a time that says nothing of the secrets.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for FormSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormSecret(…)")
    }
}

fn xor(mut bytes: [u8; SECRET_BYTES], mask: [u8; SECRET_BYTES]) -> [u8; SECRET_BYTES] {
    for (byte, mask) in bytes.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> FormSecret {
        let token = Token::parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        FormSecret::of(&token.expect("it has the form of one"))
    }

    #[test]
    fn token_of_a_form_is_never_the_same_and_always_good() -> Result<(), Error> {
        let secret = secret();
        let tokens = [secret.masked()?, secret.masked()?];
        assert_ne!(tokens[0], tokens[1]);
        for token in &tokens {
            assert_eq!(token.len(), 86);
            assert!(!token.contains(&secret.to_text()));
            assert!(FormSecret::unmask(token).is_some_and(|unmasked| unmasked.is(&secret)));
        }
        Ok(())
    }

    #[test]
    fn secret_is_not_what_the_store_has_instead_of_the_token() {
        // SHA-256 of "session-manager form " and the token.
        assert_eq!(secret().to_text(), "h7HeoFOBCZf1WbNDMmgWok5iGOG8y2BDpfX6_My377Q");
        let again = FormSecret::from_text(&secret().to_text());
        assert!(again.is_some_and(|again| again.is(&secret())));
    }

    #[test]
    fn what_has_not_the_form_of_a_token_is_none() {
        for bad in ["", "A", &"A".repeat(85), &"A".repeat(87), &"A".repeat(43), &"=".repeat(86)] {
            assert!(FormSecret::unmask(bad).is_none(), "{bad:?}");
        }
        assert!(FormSecret::from_text(&"A".repeat(44)).is_none());
    }

    #[test]
    fn debug_output_shows_no_secret() {
        assert_eq!(format!("{:?}", secret()), "FormSecret(…)");
    }
}

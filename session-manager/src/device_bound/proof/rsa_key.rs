//! RSA keys, of devices that have no others.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rsa::BoxedUint;
use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::signature::Verifier as _;
use rsa::traits::PublicKeyParts as _;
use serde_json::{Map, Value};
use sha2::Sha256;

use crate::device_bound::proof::string;

/// What a key's text in a session begins with; that of a key on P-256 has no point in it.
pub(super) const PREFIX: &str = "rsa.";

/// In bits. RFC 7518 asks for 2,048 or more; proofs of more than 4,096 have never been seen.
const MIN_LEN: usize = 2_048;
const MAX_LEN: usize = 4_096;

/// The exponent of all keys of TPMs, 65,537, as a JWK has it.
const EXPONENT: &str = "AQAB";
const EXPONENT_VALUE: u32 = 65_537;

#[derive(Clone, PartialEq, Eq)]
pub(in crate::device_bound) struct RsaKey(rsa::PublicKey);

impl RsaKey {
    pub(super) fn from_jwk(jwk: &Map<String, Value>) -> Option<Self> {
        if string(jwk, "kty") != Some("RSA") || string(jwk, "e") != Some(EXPONENT) {
            return None;
        }
        Self::from_modulus(string(jwk, "n")?)
    }

    /// Reads a modulus in base64url.
    pub(super) fn from_modulus(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let modulus = BoxedUint::from_be_slice_vartime(&bytes);
        let exponent = BoxedUint::from(EXPONENT_VALUE);
        let lengths = MIN_LEN..=MAX_LEN;
        rsa::PublicKey::new_with_size_limits(modulus, exponent, lengths).ok().map(Self)
    }

    pub(super) fn to_modulus(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0.n_bytes())
    }

    pub(super) fn has_signed(&self, text: &[u8], signature: &Signature) -> bool {
        VerifyingKey::<Sha256>::new(self.0.clone()).verify(text, signature).is_ok()
    }
}

pub(super) fn signature_from_bytes(bytes: &[u8]) -> Option<Signature> {
    Signature::from_bytes_with_max_len(bytes, MAX_LEN / 8).ok()
}

//! What a device signs: a JWT with a challenge.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use p256::Sec1Point;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use serde_json::{Map, Value};

/// The longest that is looked at, in bytes. Those of Chromium have some 400.
const MAX_LEN: usize = 4_096;

/// The bytes of a coordinate of P-256.
const COORDINATE_LEN: usize = 32;

/// A proof that has the form of one. Its signature is checked by [`PublicKey::has_signed`].
pub(super) struct Proof {
    /// What was signed: header and payload, as they were sent.
    signed: String,
    signature: Signature,
    /// The challenge.
    jti: String,
    /// The key of the header, which a registration has, and a refresh must not have.
    jwk: Option<PublicKey>,
}

/// The public half of a device's key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PublicKey(VerifyingKey);

impl Proof {
    /// Takes a proof apart. Returns `None` for what isn't a JWT by ES256 of the type `dbsc+jwt`;
    /// other algorithms are refused before the key is looked at.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_LEN {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        // A point in the payload isn't base64url.
        let (header, payload) = signed.split_once('.')?;
        let header = object(header)?;
        if string(&header, "alg") != Some("ES256") || string(&header, "typ") != Some("dbsc+jwt") {
            return None;
        }
        // What the header says to be critical would have to be understood (RFC 7515, 4.1.11).
        if header.contains_key("crit") {
            return None;
        }
        let jwk = match header.get("jwk") {
            Some(jwk) => Some(PublicKey::from_jwk(jwk)?),
            None => None,
        };
        let jti = string(&object(payload)?, "jti")?.to_owned();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        let signature = Signature::from_slice(&signature).ok()?;
        Some(Self { signed: signed.to_owned(), signature, jti, jwk })
    }

    pub(super) fn challenge(&self) -> &str {
        &self.jti
    }

    /// Returns the key of a registration, if that has signed it itself.
    pub(super) fn registered_key(&self) -> Option<&PublicKey> {
        self.jwk.as_ref().filter(|key| key.has_signed(self))
    }

    /// Returns whether this is the proof of a refresh, signed by the key of the registration.
    pub(super) fn is_refresh_by(&self, key: &PublicKey) -> bool {
        self.jwk.is_none() && key.has_signed(self)
    }
}

impl PublicKey {
    fn from_jwk(jwk: &Value) -> Option<Self> {
        let jwk = jwk.as_object()?;
        if string(jwk, "kty") != Some("EC") || string(jwk, "crv") != Some("P-256") {
            return None;
        }
        // A private key that was sent isn't private.
        if jwk.contains_key("d") {
            return None;
        }
        let coordinate = |name| -> Option<[u8; COORDINATE_LEN]> {
            BASE64_URL_SAFE_NO_PAD.decode(string(jwk, name)?).ok()?.try_into().ok()
        };
        let (x, y) = (coordinate("x")?, coordinate("y")?);
        let point = Sec1Point::from_affine_coordinates(&x.into(), &y.into(), false);
        // Refuses what isn't a point of the curve.
        VerifyingKey::from_sec1_point(&point).ok().map(Self)
    }

    /// Reads a key as sessions hold it.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        VerifyingKey::from_sec1_bytes(&bytes).ok().map(Self)
    }

    /// Returns the key as sessions hold it.
    pub(super) fn to_text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0.to_sec1_point(true))
    }

    fn has_signed(&self, proof: &Proof) -> bool {
        self.0.verify(proof.signed.as_bytes(), &proof.signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(…)")
    }
}

/// Decodes a part of a JWT.
fn object(part: &str) -> Option<Map<String, Value>> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
    match serde_json::from_slice(&json) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

fn string<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

#[cfg(test)]
mod tests;

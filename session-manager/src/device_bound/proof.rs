//! What a device signs: a JWT with a challenge.

pub(crate) mod algorithm;

pub(super) mod public_key;

#[cfg(feature = "dbsc-rs256")]
mod rsa_key;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::device_bound::proof::algorithm::Algorithm;
use crate::device_bound::proof::public_key::{PublicKey, Signature};

/// The longest that is looked at, in bytes. Those of Chromium have some 400, by RSA some 900.
const MAX_LEN: usize = 4_096;

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

impl Proof {
    /// Takes a proof apart. Returns `None` for what is no JWT of the type `dbsc+jwt` by one of the
    /// algorithms; others are refused before the key is looked at.
    pub(super) fn parse(text: &str, algorithms: &[Algorithm]) -> Option<Self> {
        if text.len() > MAX_LEN {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        // A point in the payload isn't base64url.
        let (header, payload) = signed.split_once('.')?;
        let header = object(header)?;
        let name = string(&header, "alg")?;
        let algorithm = *algorithms.iter().find(|algorithm| algorithm.name() == name)?;
        if string(&header, "typ") != Some("dbsc+jwt") {
            return None;
        }
        // What the header says to be critical would have to be understood (RFC 7515, 4.1.11).
        if header.contains_key("crit") {
            return None;
        }
        let jwk = match header.get("jwk") {
            Some(jwk) => Some(PublicKey::from_jwk(algorithm, jwk.as_object()?)?),
            None => None,
        };
        let jti = string(&object(payload)?, "jti")?.to_owned();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        let signature = Signature::from_bytes(algorithm, &signature)?;
        Some(Self { signed: signed.to_owned(), signature, jti, jwk })
    }

    pub(super) fn challenge(&self) -> &str {
        &self.jti
    }

    /// Returns the key of a registration, if that has signed it itself.
    pub(super) fn registered_key(&self) -> Option<&PublicKey> {
        self.jwk.as_ref().filter(|key| self.is_signed_by(key))
    }

    fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.has_signed(self.signed.as_bytes(), &self.signature)
    }

    /// Returns whether this is the proof of a refresh, signed by the key of the registration.
    pub(super) fn is_refresh_by(&self, key: &PublicKey) -> bool {
        self.jwk.is_none() && self.is_signed_by(key)
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

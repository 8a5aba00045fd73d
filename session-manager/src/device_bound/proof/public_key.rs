//! The keys of devices, and what is signed by them.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use p256::Sec1Point;
use p256::ecdsa::VerifyingKey;
use p256::ecdsa::signature::Verifier as _;
use serde_json::{Map, Value};

use crate::device_bound::proof::algorithm::Algorithm;
#[cfg(feature = "dbsc-rs256")]
use crate::device_bound::proof::rsa_key::{self, RsaKey};
use crate::device_bound::proof::string;

/// The bytes of a coordinate of P-256.
const COORDINATE_LEN: usize = 32;

/// The public half of a device's key.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::device_bound) enum PublicKey {
    P256(VerifyingKey),
    #[cfg(feature = "dbsc-rs256")]
    Rsa(RsaKey),
}

pub(super) enum Signature {
    Es256(p256::ecdsa::Signature),
    #[cfg(feature = "dbsc-rs256")]
    Rs256(rsa::pkcs1v15::Signature),
}

impl Signature {
    pub(super) fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Es256 => p256::ecdsa::Signature::from_slice(bytes).ok().map(Self::Es256),
            #[cfg(feature = "dbsc-rs256")]
            Algorithm::Rs256 => rsa_key::signature_from_bytes(bytes).map(Self::Rs256),
        }
    }
}

impl PublicKey {
    pub(super) fn from_jwk(algorithm: Algorithm, jwk: &Map<String, Value>) -> Option<Self> {
        // A private key that was sent isn't private.
        if jwk.contains_key("d") {
            return None;
        }
        match algorithm {
            Algorithm::Es256 => p256_from_jwk(jwk).map(Self::P256),
            #[cfg(feature = "dbsc-rs256")]
            Algorithm::Rs256 => RsaKey::from_jwk(jwk).map(Self::Rsa),
        }
    }

    /// Reads a key as sessions hold it.
    pub(in crate::device_bound) fn from_text(text: &str) -> Option<Self> {
        #[cfg(feature = "dbsc-rs256")]
        if let Some(text) = text.strip_prefix(rsa_key::PREFIX) {
            return RsaKey::from_modulus(text).map(Self::Rsa);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        VerifyingKey::from_sec1_bytes(&bytes).ok().map(Self::P256)
    }

    /// Returns the key as sessions hold it.
    pub(in crate::device_bound) fn to_text(&self) -> String {
        match self {
            Self::P256(key) => BASE64_URL_SAFE_NO_PAD.encode(key.to_sec1_point(true)),
            #[cfg(feature = "dbsc-rs256")]
            Self::Rsa(key) => format!("{}{}", rsa_key::PREFIX, key.to_modulus()),
        }
    }

    pub(super) fn has_signed(&self, text: &[u8], signature: &Signature) -> bool {
        match (self, signature) {
            (Self::P256(key), Signature::Es256(signature)) => key.verify(text, signature).is_ok(),
            #[cfg(feature = "dbsc-rs256")]
            (Self::Rsa(key), Signature::Rs256(signature)) => key.has_signed(text, signature),
            #[cfg(feature = "dbsc-rs256")]
            (Self::P256(_), Signature::Rs256(_)) | (Self::Rsa(_), Signature::Es256(_)) => false,
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(…)")
    }
}

fn p256_from_jwk(jwk: &Map<String, Value>) -> Option<VerifyingKey> {
    if string(jwk, "kty") != Some("EC") || string(jwk, "crv") != Some("P-256") {
        return None;
    }
    let coordinate = |name| -> Option<[u8; COORDINATE_LEN]> {
        BASE64_URL_SAFE_NO_PAD.decode(string(jwk, name)?).ok()?.try_into().ok()
    };
    let (x, y) = (coordinate("x")?, coordinate("y")?);
    let point = Sec1Point::from_affine_coordinates(&x.into(), &y.into(), false);
    // Refuses what isn't a point of the curve.
    VerifyingKey::from_sec1_point(&point).ok()
}

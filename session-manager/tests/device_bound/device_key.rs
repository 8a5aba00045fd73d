//! The key of a device, which doesn't leave it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

#[derive(Clone)]
pub(crate) enum DeviceKey {
    P256(SigningKey),
    #[cfg(feature = "dbsc-rs256")]
    Rsa(Box<rsa::pkcs1v15::SigningKey<sha2::Sha256>>),
}

impl DeviceKey {
    pub(crate) fn p256(n: u8) -> Self {
        Self::P256(SigningKey::from_slice(&[n; 32]).expect("it is in range"))
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            #[cfg(feature = "dbsc-rs256")]
            Self::Rsa(_) => "RS256",
        }
    }

    pub(crate) fn sign(&self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(key) => {
                let signature: Signature = key.sign(text);
                signature.to_bytes().to_vec()
            }
            #[cfg(feature = "dbsc-rs256")]
            Self::Rsa(key) => {
                use rsa::signature::SignatureEncoding as _;
                key.sign(text).to_vec()
            }
        }
    }

    pub(crate) fn jwk(&self) -> Value {
        match self {
            Self::P256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let bytes = point.as_bytes();
                let coordinate = |range| BASE64_URL_SAFE_NO_PAD.encode::<&[u8]>(&bytes[range]);
                json!({ "kty": "EC", "crv": "P-256", "x": coordinate(1..33), "y": coordinate(33..65) })
            }
            #[cfg(feature = "dbsc-rs256")]
            Self::Rsa(_) => json!({ "kty": "RSA", "n": MODULUS, "e": "AQAB" }),
        }
    }

    /// The key that OpenSSL has made for these tests.
    #[cfg(feature = "dbsc-rs256")]
    pub(crate) fn rsa() -> Self {
        let number = |text: &str| {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).expect("it is base64url");
            rsa::BoxedUint::from_be_slice_vartime(&bytes)
        };
        let primes = PRIMES.map(number).to_vec();
        let (modulus, exponent) = (number(MODULUS), number("AQAB"));
        let key = rsa::PrivateKey::from_components(modulus, exponent, number(SECRET), primes);
        Self::Rsa(Box::new(rsa::pkcs1v15::SigningKey::new(key.expect("it is a key"))))
    }
}

#[cfg(feature = "dbsc-rs256")]
const MODULUS: &str = "rajriDi-Qqno1ZLKsSi5DYbgA936eW1SiQA4dxWP2b8p7ie99_4XI5Q6Fhj0K89uNflIVQBptdmK9ral8Tkwg56l0VSH7MBOLW2nNo7ZKzXAGOidlhMBJa01l4n1rm9si9FtdP_cmTvzRxWyS6qEm66TQy0llf-DmUyqKClVl-k3JBcqQ1WaaG64vkZ8V-GVm3gi8aaK-7yG-n0qqztHgvGU1jk6iT8kK3VGVsoc4GiwScXGVMEdyTHgeQIGSIv0m_eeSoG_Wvmvs-81XUUmH8_Ep1wESoQE-d6NdVnehkSVElpNuc-dX6DbTBMJfadc-3OiA2fWEqrXXxNMvF5EwQ";

#[cfg(feature = "dbsc-rs256")]
const SECRET: &str = "FsWc-8luZYvQl4T-uvlwlA4DfRj-zy0fPWN_2VnEpGngDos76sjxHCjD7yw0LzSDAA_hb3K06fQ4t-kJMextE1gFPWxnazZnv1GZiNrK2SgyDvId4VU6TshQ9pSlg0ti1qN5RiDburpKSKAsjPszar4bMHFl9C6ZK_aKJOcQAsc07O0lMNua_-GcslCKMWxXCXGch5qWZSF-roiU7f8u1yXSzxjb89KyJCpb04JkHhgTqtpFh_4c05ADx6FMkZt1lYtgmKmvZqAz05uOSZWvFxNTW29G2AvxpBSGqr54FSHdwojB60XbsuFcEEgEeA4rAPfpRqBPHWJCDRpLoEIq2w";

#[cfg(feature = "dbsc-rs256")]
const PRIMES: [&str; 2] = [
    "4aSpKgAeprg81DQ8nYaVV6ywP22ABacfOsJo32WMZInyqzXK8ifkJAM1GzxyLsWz7s-qmt5U6NyGnRauZHQSztzHIzg4JWiZxy_1MlewLkyOdedqiEi8F2exUmpGIH5m05aaV9w94K5G-vdo_IPKVkx7kmpYpQAdcRzdtBINFZM",
    "xQXovMGOFqGD_49Rq8zl5M0YXnK8ROfeZZVYWkS9z4kYHX8OrxyJ9radxmQRup_vh_3dI1ecn7eTP4q_bAY1syyM2L7_4xbA7UXC4DgmNUWTvX3oT6MHc7bXey4xriUzJgseLIHXX8yZ455BTQPLOwIm21jjAz8gCWk8vSUh8Ns",
];

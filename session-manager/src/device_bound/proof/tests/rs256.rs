//! Proofs by RSA keys.

use super::*;
use crate::device_bound::proof::rsa_key::RsaKey;

const BOTH: &[Algorithm] = &[Algorithm::Es256, Algorithm::Rs256];

/// A registration and a refresh, signed by OpenSSL with a key of 2,048 bits.
const OPENSSL: [&str; 2] = [
    "eyJhbGciOiJSUzI1NiIsInR5cCI6ImRic2Mrand0IiwiandrIjp7Imt0eSI6IlJTQSIsIm4iOiJyYWpyaURpLVFxbm8xWkxLc1NpNURZYmdBOTM2ZVcxU2lRQTRkeFdQMmI4cDdpZTk5XzRYSTVRNkZoajBLODl1TmZsSVZRQnB0ZG1LOXJhbDhUa3dnNTZsMFZTSDdNQk9MVzJuTm83Wkt6WEFHT2lkbGhNQkphMDFsNG4xcm05c2k5RnRkUF9jbVR2elJ4V3lTNnFFbTY2VFF5MGxsZi1EbVV5cUtDbFZsLWszSkJjcVExV2FhRzY0dmtaOFYtR1ZtM2dpOGFhSy03eUctbjBxcXp0SGd2R1Uxams2aVQ4a0szVkdWc29jNEdpd1NjWEdWTUVkeVRIZ2VRSUdTSXYwbV9lZVNvR19Xdm12cy04MVhVVW1IOF9FcDF3RVNvUUUtZDZOZFZuZWhrU1ZFbHBOdWMtZFg2RGJUQk1KZmFkYy0zT2lBMmZXRXFyWFh4Tk12RjVFd1EiLCJlIjoiQVFBQiJ9fQ.eyJqdGkiOiJvbmUifQ.qfB3seY0KtddWzqS9xzb23wtaZU08r3WbHHqntgZLX9Wde9EkclGy04BiezlZpdP_s4Q7UOo0MnN_2B4j9UfvQRaCwJiBCsZUphGkawniefBXNCMzAceuPT64v7lbUGF-NtG8Ls7aDOx5_uwm-glmvJow19uqhqpyC3tu3UWrlywG4zXmQIfc_q_-cNettwlxn7_XIK3p6RdJ9-V_K7BwHeOp4dYn-ZP-969uYMrWwLDw7uKglhhB6t9DvdNudqgSmAvHLWUf28_Y-DClZ2ei5Dnxl9ehlia3LHDXwXzsIalqkKEz2w7HL0QK9dz-NIZshXRGgB_PRuQjO0PWKzuOQ",
    "eyJhbGciOiJSUzI1NiIsInR5cCI6ImRic2Mrand0In0.eyJqdGkiOiJ0d28ifQ.XOlgvU8tkY1znRU83ANXknzqiYzBpHvx1__zQg_VGtIjY4gAFUD2hIMuaUz6gQE8RIhl3Butlcu7lgPCgDxEvOjSEM2AWi3EyrUFPZWFD4j1jJG_rLIERuKRGLd9ksh31ey9avuWke9uiDRE4A5GhJlPWWTh7sa-K3f3y0j6eMVaUmjOVoKWYNXUXfmtbp6TMxpSHy3SFhdni_-splfRoPMCHG_SxLPHRX9qdP7nhH_ebENCBry7MbvRTRxWX-MmF0muxKrDW12LlqNoUxkKshNyfpLaFzld0Bj4300MHnQomkPlEocb6cSFe-Y1fB7s06LbXC02MpHj1yGiRDOFoQ",
];

fn openssl() -> [Proof; 2] {
    OPENSSL.map(|text| Proof::parse(text, BOTH).expect("it is one"))
}

#[test]
fn proofs_of_openssl_verify() {
    let [registration, refresh] = openssl();
    assert_eq!([registration.challenge(), refresh.challenge()], ["one", "two"]);
    let key = registration.registered_key().expect("it has signed itself");
    let stored = PublicKey::from_text(&key.to_text()).expect("it was a key");
    assert_eq!(stored, *key);
    assert!(refresh.is_refresh_by(&stored));
    assert!(!registration.is_refresh_by(key), "it has a key in it");
}

#[test]
fn proofs_by_rsa_are_refused_unless_they_are_asked_for() {
    for text in OPENSSL {
        assert!(parse(text).is_none());
    }
}

/// Else an attacker could choose what a key is taken for.
#[test]
fn algorithm_and_key_belong_together() {
    let [registration, refresh] = openssl();
    let rsa_key = registration.registered_key().expect("it has signed itself");
    let [other_registration, other_refresh] =
        CHROMIUM.map(|text| Proof::parse(text, BOTH).expect("it is one"));
    let p256_key = other_registration.registered_key().expect("it has signed itself");
    assert!(!other_refresh.is_refresh_by(rsa_key));
    assert!(!refresh.is_refresh_by(p256_key));
    let rsa_jwk = json!({ "kty": "RSA", "e": "AQAB", "n": modulus(256, 0x80, 1) });
    let key = signing_key();
    for (algorithm, jwk) in [("ES256", rsa_jwk), ("RS256", jwk(&key))] {
        let header = json!({ "alg": algorithm, "typ": "dbsc+jwt", "jwk": jwk });
        let text = signed(&key, &header, &json!({ "jti": "c" }));
        assert!(Proof::parse(&text, BOTH).is_none(), "{algorithm}");
    }
}

#[test]
fn one_changed_letter_of_a_proof_by_rsa_is_refused() {
    let [registration, _] = openssl();
    let key = registration.registered_key().expect("it has signed itself");
    let refresh = OPENSSL[1];
    for place in 0..refresh.len() {
        let mut bytes = refresh.as_bytes().to_owned();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("it is ASCII");
        let proof = Proof::parse(&changed, BOTH);
        assert!(!proof.is_some_and(|proof| proof.is_refresh_by(key)), "place {place}");
    }
}

/// A number in base64url, of that many bytes, with its first and last one.
fn modulus(len: usize, first: u8, last: u8) -> String {
    let mut bytes = vec![0xA5; len];
    (bytes[0], bytes[len - 1]) = (first, last);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn rsa_keys_have_2048_to_4096_bits_and_the_usual_exponent() {
    for good in [modulus(256, 0x80, 1), modulus(512, 0xFF, 1)] {
        let key = RsaKey::from_modulus(&good).expect("it is long enough");
        assert_eq!(key.to_modulus(), good);
    }
    for bad in [
        modulus(255, 0xFF, 1),
        modulus(256, 0x7F, 1),
        modulus(513, 1, 1),
        // Even.
        modulus(256, 0x80, 2),
        format!("{}=", modulus(256, 0x80, 1)),
        String::new(),
    ] {
        assert!(RsaKey::from_modulus(&bad).is_none(), "{bad}");
    }
    let good = json!({ "kty": "RSA", "e": "AQAB", "n": modulus(256, 0x80, 1) });
    let is_key = |jwk: &Value| {
        let jwk = jwk.as_object().expect("it is one");
        PublicKey::from_jwk(Algorithm::Rs256, jwk).is_some()
    };
    assert!(is_key(&good));
    for (name, value) in [
        ("kty", json!("EC")),
        ("e", json!("Aw")),
        ("e", Value::Null),
        ("n", json!("AQAB")),
        ("n", Value::Null),
        ("d", json!("AQAB")),
    ] {
        let mut bad = good.clone();
        bad[name] = value;
        assert!(!is_key(&bad), "{bad}");
    }
}

//! Proofs of the specification, of Chromium and of another implementation, and what is refused.

#[cfg(feature = "dbsc-rs256")]
mod rs256;

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::json;

use super::*;

/// The example of the specification, in its section on `Secure-Session-Response`.
const SPECIFICATION: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRic2Mrand0In0.eyJhdWQiOiJodHRwczovL2V4YW1wbGUuY29tL3JlZyIsImp0aSI6ImN2IiwiaWF0IjoiMTcyNTU3OTA1NSIsImp3ayI6eyJrdHkiOiJFQyIsImNydiI6IlAtMjU2IiwieCI6IjZfR0Iydm9RMHFyb01oNk9sREZDRlNfU0pyaVFpMVBUdnZCT2hHWjNiSEkiLCJ5IjoiSWVnT0pVTHlFN1N4SF9DZDFLQ0VSN2xXQnZHRkhRLWgweHlqelVqRUlXRSJ9LCJhdXRob3JpemF0aW9uIjoiYWMifQ.6Fb_vVBDmfNghQiBmIGe8o7tBfYPbPCywhQruP0vIhxgmcJmuNTaMHeVn_M8ZnOm1_bzIitbZqCWEn-1Qzmtyw";

/// The key in the specification's example of a header.
const SPECIFICATION_KEY: (&str, &str) =
    ("6_GB2voQ0qroMh6OlDFCFS_SJriQi1PTvvBOhGZ3bHI", "IegOJULyE7SxH_Cd1KCER7lWBvGFHQ-h0xyjzUjEIWE");

/// A registration of Chromium 156, and its first refresh.
const CHROMIUM: [&str; 2] = [
    "eyJhbGciOiJFUzI1NiIsImp3ayI6eyJjcnYiOiJQLTI1NiIsImt0eSI6IkVDIiwieCI6InFvSl9nckxBcWtmRlFNQ2NXQVBqYXBYZjdsNTVIX1p3UVpJbUJoNkJKZG8iLCJ5IjoicGYzcThiSzZObml4SzhMOEZrODNuSzFDekF4THozbVZaeTROMjFVRWpFZyJ9LCJ0eXAiOiJkYnNjK2p3dCJ9.eyJqdGkiOiJjaGFsMCJ9.P1sRJFqoo6S2xS8y2KCmR9nXPtjedqMsK6oE0A_zTcREwwM3i5AvDZ3Ri3Cw_GGHhYra0mp1cZWyBvoxT-Du2g",
    "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRic2Mrand0In0.eyJqdGkiOiJjaGFsMyJ9.YHxcolu1NiUDC5xqj6hofyHLIq3jgQTIE5LioAI9q6FiCMId2Awh0ecz5gpQ9cPSI8ryRuMbthqKBiISg2jezg",
];

/// The vectors `registration.json` and `refresh.json` of spring-dbsc.
const SPRING: [&str; 2] = [
    "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRic2Mrand0IiwiandrIjp7Imt0eSI6IkVDIiwiY3J2IjoiUC0yNTYiLCJ4IjoiT2lxc0xvMkZneDhzMXg1RUk5YmpVRGk1UU45bGc5X3BNOFZHWW52ZHVQNCIsInkiOiJMSXRnd2JXZXdtZzBycmF1S0kxSVg0dEUyV3pObm1CMzIyRTRVdmZTUHQ4In19.eyJqdGkiOiJLTjNxd19wUXhSOHRZNXVJOG9QMWFTMmRGM2dINGpLNWxNNm5PN3BROHJTIn0.6YjXpu8GV1Yjw8R5qB42lh_5HPj0USF7RBAmp1gJaKIondZ0rpSIzjVvAbbztFRTGWI0jPPheN2YqDZQ8J_heg",
    "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRic2Mrand0In0.eyJqdGkiOiJLTjNxd19wUXhSOHRZNXVJOG9QMWFTMmRGM2dINGpLNWxNNm5PN3BROHJTIn0.dZhwcoAWFE9jCoWAInYiaw9z_ZO_nJCfVv8JUGK_5xZybqIal0uWB8Svdid9A4eymcitK8amsuuhrh7t15lsew",
];

fn parse(text: &str) -> Option<Proof> {
    Proof::parse(text, &[Algorithm::Es256])
}

fn p256_key(jwk: &Value) -> Option<PublicKey> {
    PublicKey::from_jwk(Algorithm::Es256, jwk.as_object()?)
}

fn encoded(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Signs a header and a payload of one's own.
fn signed(key: &SigningKey, header: &Value, payload: &Value) -> String {
    let signed = format!("{}.{}", encoded(header), encoded(payload));
    let signature: Signature = key.sign(signed.as_bytes());
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

fn signing_key() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).expect("it is in range")
}

fn jwk(key: &SigningKey) -> Value {
    let point = key.verifying_key().to_sec1_point(false);
    let coordinate = |bytes: Option<&p256::FieldBytes>| {
        BASE64_URL_SAFE_NO_PAD.encode(bytes.expect("it has one"))
    };
    json!({
        "kty": "EC",
        "crv": "P-256",
        "x": coordinate(point.x()),
        "y": coordinate(point.y()),
    })
}

#[test]
fn registrations_of_chromium_and_of_another_implementation_verify() {
    for (texts, challenges) in [
        (CHROMIUM, ["chal0", "chal3"]),
        (SPRING, ["KN3qw_pQxR8tY5uI8oP1aS2dF3gH4jK5lM6nO7pQ8rS"; 2]),
    ] {
        let [registration, refresh] = texts.map(|text| parse(text).expect("it is one"));
        assert_eq!([registration.challenge(), refresh.challenge()], challenges);
        let key = registration.registered_key().expect("it has signed itself");
        assert!(refresh.is_refresh_by(key));
        // As it comes out of a session.
        let stored = PublicKey::from_text(&key.to_text()).expect("it was a key");
        assert!(refresh.is_refresh_by(&stored));
        assert_eq!(stored, *key);
    }
    let [registration, other] = [CHROMIUM[0], SPRING[0]].map(parse);
    let (registration, other) = (registration.expect("it is one"), other.expect("it is one"));
    let key = registration.registered_key().expect("it has signed itself");
    let refresh = parse(SPRING[1]).expect("it is one");
    assert!(!refresh.is_refresh_by(key), "the key is another's");
    assert_ne!(Some(key), other.registered_key());
}

/// It has its key in the payload, as earlier drafts had, and its signature is by another one: what
/// it shows is the form alone.
#[test]
fn example_of_the_specification_has_the_form_and_registers_nothing() {
    let proof = parse(SPECIFICATION).expect("it has the form");
    assert_eq!(proof.challenge(), "cv");
    assert!(proof.registered_key().is_none());
    let (x, y) = SPECIFICATION_KEY;
    let key = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
    let key = p256_key(&key).expect("it is a point of the curve");
    assert!(!proof.is_refresh_by(&key));
}

#[test]
fn other_algorithms_are_refused_before_a_key_is_looked_at() {
    let key = signing_key();
    let payload = json!({ "jti": "c" });
    let good = json!({ "alg": "ES256", "typ": "dbsc+jwt", "jwk": jwk(&key) });
    assert!(parse(&signed(&key, &good, &payload)).is_some());
    for algorithm in ["none", "None", "HS256", "RS256", "ES384", "ES256K", "es256", ""] {
        // The key is nonsense, which is never seen; with a good one it is refused all the same.
        for jwk in [json!("nonsense"), jwk(&key)] {
            let header = json!({ "alg": algorithm, "typ": "dbsc+jwt", "jwk": jwk });
            assert!(parse(&signed(&key, &header, &payload)).is_none(), "{algorithm}");
        }
    }
    let unsigned = format!("{}.{}.", encoded(&good), encoded(&payload));
    assert!(parse(&unsigned).is_none());
}

#[test]
fn what_is_not_a_proof_is_none() {
    let key = signing_key();
    let payload = json!({ "jti": "c" });
    let header = |name: &str, value: Value| {
        let mut header = json!({ "alg": "ES256", "typ": "dbsc+jwt" });
        header[name] = value;
        header
    };
    assert!(parse(&signed(&key, &header("kid", json!("1")), &payload)).is_some());
    for header in [
        header("typ", json!("jwt")),
        header("typ", Value::Null),
        header("alg", json!(["ES256"])),
        header("crit", json!(["exp"])),
        header("jwk", Value::Null),
        header("jwk", json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" })),
        json!([]),
        json!("ES256"),
    ] {
        assert!(parse(&signed(&key, &header, &payload)).is_none(), "{header}");
    }
    let good = header("kid", json!("1"));
    for payload in [json!({}), json!({ "jti": 1 }), json!({ "jti": ["c"] }), json!(["c"])] {
        assert!(parse(&signed(&key, &good, &payload)).is_none(), "{payload}");
    }
    let good = signed(&key, &good, &payload);
    let (signed, signature) = good.rsplit_once('.').expect("it has three parts");
    for bad in [
        String::new(),
        "..".to_owned(),
        signed.to_owned(),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{good}="),
        format!(" {good}"),
        format!("{signed}.{}", &signature[..84]),
        // Neither of its two numbers may be zero.
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode([0; 64])),
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode([0xFF; 64])),
    ] {
        assert!(parse(&bad).is_none(), "{bad:?}");
    }
}

#[test]
fn proof_that_is_too_long_is_refused() {
    let header = json!({ "alg": "ES256", "typ": "dbsc+jwt", "kid": "1" });
    let of_payload = |challenge_len| {
        let payload = json!({ "jti": "c".repeat(challenge_len) });
        let signature = BASE64_URL_SAFE_NO_PAD.encode([1; 64]);
        format!("{}.{}.{signature}", encoded(&header), encoded(&payload))
    };
    let is_proof = |proof: &String| parse(proof).is_some();
    let proofs: Vec<_> = (2_800..3_000).map(of_payload).collect();
    let (good, bad): (Vec<_>, Vec<_>) = proofs.iter().partition(|proof| proof.len() <= MAX_LEN);
    assert!(good.iter().any(|proof| proof.len() == MAX_LEN) && !bad.is_empty());
    assert!(good.into_iter().all(is_proof) && !bad.into_iter().any(is_proof));
}

#[test]
fn what_is_not_a_public_key_is_refused() {
    let key = signing_key();
    let good = jwk(&key);
    assert!(p256_key(&good).is_some());
    let changed = |name: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[name] = value;
        jwk
    };
    let x = good["x"].as_str().expect("it is a string");
    for bad in [
        changed("crv", json!("P-384")),
        changed("kty", json!("oct")),
        changed("d", json!("AQAB")),
        changed("x", json!("")),
        changed("x", json!(format!("{x}="))),
        changed("x", json!(format!("{x}AA"))),
        // Not a point of the curve.
        changed("x", json!("A".repeat(43))),
        changed("y", good["x"].clone()),
        json!([]),
        Value::Null,
    ] {
        assert!(p256_key(&bad).is_none(), "{bad}");
    }
}

#[test]
fn one_changed_letter_is_refused() {
    let [registration, refresh] = CHROMIUM;
    let key = parse(registration).expect("it is one");
    let key = key.registered_key().expect("it has signed itself").clone();
    for place in 0..refresh.len() {
        let mut bytes = refresh.as_bytes().to_owned();
        // Another letter of the alphabet, also in the place of a point.
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("it is ASCII");
        let is_good = parse(&changed).is_some_and(|proof| proof.is_refresh_by(&key));
        assert!(!is_good, "place {place}");
    }
}

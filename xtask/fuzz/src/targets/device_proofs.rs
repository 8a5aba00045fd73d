//! What devices sign: a header and a payload that say something else bind no session and refresh
//! none, and neither does another signature.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use session_manager::{BindingPolicy, DeviceResponse, Header, RequestHead, SessionManager};

use super::{memory_store, no_seeds};
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "device_proofs",
    words: &[
        b"\n",
        br#"{"alg":"ES256","typ":"dbsc+jwt"}"#,
        br#"{"jti":"CHALLENGE"}"#,
        br#","jwk":{"kty":"EC","crv":"P-256","x":"KEY_X","y":"KEY_Y"}"#,
        br#","jwk":{"kty":"RSA","e":"AQAB","n":"AQAB"}"#,
        br#","crit":["exp"]"#,
        br#","d":"AQAB""#,
        b"CHALLENGE",
        b"KEY_X",
        b"KEY_Y",
        b"\"alg\":",
        b"\"none\"",
        b"RS256",
        b"jwt",
        b"null",
        b"\\u0041",
        b".",
        b"=",
        b"\xFF",
    ],
    seeds: no_seeds,
    max_len: 8 * 1024,
    max_memory: |len| 256 * 1024 + 64 * len,
    test,
};

const PATH: &str = "/device-session";

thread_local! {
    static DEVICE: Device = Device::new();
    static BOUND: (Visitor, String) = Visitor::bound();
}

/// The key that the browser has.
struct Device {
    key: SigningKey,
    x: String,
    y: String,
}

impl Device {
    fn new() -> Self {
        let key = SigningKey::from_slice(&[7; 32]).expect("it is in range");
        let point = key.verifying_key().to_sec1_point(false);
        let coordinate = |range| BASE64_URL_SAFE_NO_PAD.encode::<&[u8]>(&point.as_bytes()[range]);
        let (x, y) = (coordinate(1..33), coordinate(33..65));
        Self { key, x, y }
    }
}

/// A header and a payload, in which some words stand for what the device knows.
struct Proof {
    parts: [Vec<u8>; 2],
    challenge: String,
}

impl Proof {
    fn new(header: &[u8], payload: &[u8], challenge: &str) -> Self {
        let parts = DEVICE.with(|device| {
            let words = [("CHALLENGE", challenge), ("KEY_X", &device.x), ("KEY_Y", &device.y)];
            [header, payload].map(|part| match str::from_utf8(part) {
                Ok(text) => words
                    .iter()
                    .fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
                    .into_bytes(),
                Err(_) => part.to_vec(),
            })
        });
        Self { parts, challenge: challenge.to_owned() }
    }

    fn signed(&self) -> String {
        let [header, payload] =
            self.parts.each_ref().map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        let signed = format!("{header}.{payload}");
        let signature: Signature = DEVICE.with(|device| device.key.sign(signed.as_bytes()));
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    /// Whether it says what it must, in another way than the manager finds out.
    fn is_good(&self, is_registration: bool) -> bool {
        let [header, payload] = self.parts.each_ref().map(|part| serde_json::from_slice(part));
        let (Ok(Value::Object(mut header)), Ok(Value::Object(payload))) = (header, payload) else {
            return false;
        };
        let is_own_key = match header.remove("jwk") {
            None => !is_registration,
            Some(Value::Object(mut jwk)) => DEVICE.with(|device| {
                let expected = json!(["EC", "P-256", device.x, device.y]);
                let members = ["kty", "crv", "x", "y"].map(|name| jwk.remove(name));
                is_registration && !jwk.contains_key("d") && json!(members) == expected
            }),
            Some(_) => false,
        };
        let fits = header.get("alg") == Some(&json!("ES256"))
            && header.get("typ") == Some(&json!("dbsc+jwt"))
            && !header.contains_key("crit")
            && payload.get("jti") == Some(&json!(self.challenge));
        is_own_key && fits && self.signed().len() <= 4_096
    }
}

/// A user who has logged in, and was asked to bind the session.
struct Visitor {
    sessions: SessionManager,
    cookie: String,
    /// That of the registration.
    challenge: String,
}

impl Visitor {
    fn logged_in() -> Self {
        let policy = BindingPolicy::new(PATH).with_rsa_keys();
        let sessions = SessionManager::new(memory_store());
        let sessions = sessions.with_device_binding(policy).expect("the policy is right");
        let mut session = sessions.load([]).expect("in memory");
        session.set_subject("7").expect("it is short");
        session.bind_to_device().expect("there is a policy");
        let headers = session.finish().expect("in memory").headers;
        let cookie = value(&headers, "Set-Cookie").and_then(|value| value.split(';').next());
        let cookie = cookie.expect("it is new").to_owned();
        let registration = value(&headers, "Secure-Session-Registration").expect("it was asked");
        let challenge = registration.split('"').nth(3).expect("it has a challenge").to_owned();
        Self { sessions, cookie, challenge }
    }

    /// With the id of the binding.
    fn bound() -> (Self, String) {
        let visitor = Self::logged_in();
        let jwk = r#"{"kty":"EC","crv":"P-256","x":"KEY_X","y":"KEY_Y"}"#;
        let header = format!(r#"{{"alg":"ES256","typ":"dbsc+jwt","jwk":{jwk}}}"#);
        let proof = Proof::new(header.as_bytes(), br#"{"jti":"CHALLENGE"}"#, &visitor.challenge);
        let response = visitor.post(None, Some(&proof.signed()));
        let instructions: Value = serde_json::from_str(&response.body).expect("it is good");
        let id = instructions["session_identifier"].as_str().expect("it has one").to_owned();
        (visitor, id)
    }

    fn post(&self, id: Option<&str>, proof: Option<&str>) -> DeviceResponse {
        let request = RequestHead::new("POST", PATH, |name| match name {
            "Sec-Secure-Session-Id" => id,
            "Secure-Session-Response" => proof,
            _ => None,
        });
        self.sessions.device_endpoint(&request, [self.cookie.as_bytes()])
    }
}

fn value<'h>(headers: &'h [Header], wanted: &str) -> Option<&'h str> {
    headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| &**value)
}

/// The first line is a header, and the others are a payload. They are signed, and sent as they are,
/// too.
fn test(input: &[u8]) -> String {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (header, payload) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let raw = String::from_utf8_lossy(input);

    let visitor = Visitor::logged_in();
    assert_eq!(visitor.post(None, Some(&raw)).status, 403, "it isn't signed");
    let proof = Proof::new(header, payload, &visitor.challenge);
    let registers = visitor.post(None, Some(&proof.signed())).status == 200;
    assert_eq!(registers, proof.is_good(true), "{raw:?}");

    let refreshes = BOUND.with(|(visitor, id)| {
        let asked = visitor.post(Some(id), None);
        let challenge = value(&asked.headers, "Secure-Session-Challenge");
        let challenge = challenge.and_then(|value| value.split('"').nth(1)).expect("it was asked");
        let proof = Proof::new(header, payload, challenge);
        let refreshes = visitor.post(Some(id), Some(&proof.signed())).status == 200;
        assert_eq!(refreshes, proof.is_good(false), "{raw:?}");
        refreshes
    });
    format!("registers {registers}, refreshes {refreshes}")
}

//! What a browser sends for its device.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use session_manager::{BindingPolicy, DeviceResponse, Error, Header, RequestHead};

use crate::requests::Manager;

const PATH: &str = "/device-session";

/// How far the browser of a world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// It was asked to register.
    Registration,
    /// It has registered, and got a challenge.
    Refresh,
}

/// A registration or a refresh, signed once, so that it is the same in each run.
pub(crate) struct DeviceRequest {
    /// The id of the binding, for a refresh.
    id: Option<String>,
    proof: String,
}

/// Lets sessions be bound to devices, by challenges that last for two hours.
pub(crate) fn bindable(sessions: Manager) -> Manager {
    let policy = BindingPolicy::new(PATH).with_cookie_lifetime(Duration::from_secs(60 * 60));
    sessions.with_device_binding(policy).expect("the policy is right")
}

impl DeviceRequest {
    /// Has the session of a cookie wait for this request.
    pub(crate) fn new(sessions: &Manager, cookie: &str, moment: Moment) -> Self {
        let mut session = sessions.load([cookie]).expect("memory doesn't fail");
        session.bind_to_device().expect("there is randomness");
        let headers = session.finish().expect("memory doesn't fail").headers;
        let offer = quoted(&headers, "Secure-Session-Registration").nth(1).expect("a challenge");
        let registration = Self { id: None, proof: sign(true, offer) };
        if moment == Moment::Registration {
            return registration;
        }
        let registered = registration.post(sessions, cookie);
        let instructions: Value = serde_json::from_str(&registered.body).expect("it is JSON");
        let id = instructions["session_identifier"].as_str().expect("it names the binding");
        let without_proof = Self { id: Some(id.to_owned()), proof: String::new() };
        let asked = without_proof.post(sessions, cookie);
        let challenge = quoted(&asked.headers, "Secure-Session-Challenge").next();
        Self { proof: sign(false, challenge.expect("a challenge")), ..without_proof }
    }

    /// Sends it. What is refused, or ends the binding, has no effect.
    pub(crate) fn send(&self, sessions: &Manager, cookie: &str) -> Result<Vec<Header>, Error> {
        let response = self.post(sessions, cookie);
        match response.status {
            200 if response.body.contains("\"continue\":false") => Err(Error::Superseded),
            200 => Ok(Vec::new()),
            403 => Err(Error::Superseded),
            _ => Err(store_core::Error::Unreachable { source: "no answer".into() }.into()),
        }
    }

    fn post(&self, sessions: &Manager, cookie: &str) -> DeviceResponse {
        let request = RequestHead::new("POST", PATH, |name| match name {
            "Sec-Secure-Session-Id" => self.id.as_deref(),
            "Secure-Session-Response" => Some(&self.proof),
            _ => None,
        });
        let cookies = format!("{}={cookie}", sessions.cookie_name());
        sessions.device_endpoint(&request, [cookies.as_bytes()])
    }
}

/// The parts of a header that are in quotes.
fn quoted<'h>(headers: &'h [Header], name: &str) -> impl Iterator<Item = &'h str> {
    let header = headers.iter().find(|(own, _)| *own == name);
    header.expect("there is one").1.split('"').skip(1).step_by(2)
}

fn sign(is_registration: bool, challenge: &str) -> String {
    let key = SigningKey::from_slice(&[7; 32]).expect("it is in range");
    let mut header = json!({ "alg": "ES256", "typ": "dbsc+jwt" });
    if is_registration {
        let point = key.verifying_key().to_sec1_point(false);
        let coordinate = |range| BASE64_URL_SAFE_NO_PAD.encode::<&[u8]>(&point.as_bytes()[range]);
        header["jwk"] = json!({
            "kty": "EC", "crv": "P-256", "x": coordinate(1..33), "y": coordinate(33..65)
        });
    }
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&json!({ "jti": challenge })));
    let signature: Signature = key.sign(signed.as_bytes());
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

//! A browser that binds sessions to its device.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use session_manager::testing::SetCookies;
use session_manager::{
    Codec, DeviceResponse, Error, Finished, Header, Json, RequestHead, Session, SessionManager,
};

use crate::device_key::DeviceKey;
use crate::fixture::PATH;

/// What a browser keeps, all of which but the key can be copied to another device.
pub(crate) struct Browser<'m, C = Json> {
    sessions: &'m SessionManager<C>,
    pub(crate) session_cookie: String,
    pub(crate) device_cookie: String,
    /// The challenge of the header that asked for a registration.
    pub(crate) offered: Option<String>,
    /// Those of that header.
    pub(crate) algorithms: String,
    pub(crate) id: String,
    pub(crate) challenge: Option<String>,
    key: DeviceKey,
}

impl<C> Clone for Browser<'_, C> {
    fn clone(&self) -> Self {
        self.at(self.sessions)
    }
}

impl<C> Browser<'_, C> {
    /// The same browser, served by another process.
    pub(crate) fn at<'p, D>(&self, sessions: &'p SessionManager<D>) -> Browser<'p, D> {
        Browser {
            sessions,
            session_cookie: self.session_cookie.clone(),
            device_cookie: self.device_cookie.clone(),
            offered: self.offered.clone(),
            algorithms: self.algorithms.clone(),
            id: self.id.clone(),
            challenge: self.challenge.clone(),
            key: self.key.clone(),
        }
    }
}

impl<'m, C: Codec> Browser<'m, C> {
    pub(crate) fn new(sessions: &'m SessionManager<C>) -> Self {
        Self {
            sessions,
            session_cookie: String::new(),
            device_cookie: String::new(),
            offered: None,
            algorithms: String::new(),
            id: String::new(),
            challenge: None,
            key: DeviceKey::p256(7),
        }
    }

    /// A browser that has logged in and was asked to register.
    pub(crate) fn logged_in(sessions: &'m SessionManager<C>) -> Result<Self, Error> {
        let mut browser = Self::new(sessions);
        browser.visit(|session| {
            session.set_subject("7")?;
            session.insert("name", "Ada")?;
            session.bind_to_device()
        })?;
        Ok(browser)
    }

    /// A browser with a session that is bound to its device.
    pub(crate) fn bound(sessions: &'m SessionManager<C>) -> Result<Self, Error> {
        let mut browser = Self::logged_in(sessions)?;
        assert_eq!(browser.register().status, 200);
        Ok(browser)
    }

    /// The same browser on a device that has RSA keys alone.
    #[cfg(feature = "dbsc-rs256")]
    pub(crate) fn with_rsa_key(mut self) -> Self {
        self.key = DeviceKey::rsa();
        self
    }

    /// Another device to which the cookies were copied.
    pub(crate) fn thief(&self) -> Self {
        Self { key: DeviceKey::p256(8), ..self.clone() }
    }

    /// A request for a page.
    pub(crate) fn visit(
        &mut self,
        handler: impl FnOnce(&mut Session<'m, C>) -> Result<(), Error>,
    ) -> Result<Finished, Error> {
        let mut session = self.session()?;
        handler(&mut session)?;
        let finished = session.finish()?;
        self.receive(&finished.headers);
        Ok(finished)
    }

    /// The session that the browser's next request has.
    pub(crate) fn session(&self) -> Result<Session<'m, C>, Error> {
        self.sessions.load_from_headers([self.cookies().as_bytes()])
    }

    /// The Cookie header.
    pub(crate) fn cookies(&self) -> String {
        let (session, device) = (self.sessions.cookie_name(), self.sessions.device_cookie_name());
        let cookies = [(session, &self.session_cookie), (&device, &self.device_cookie)];
        let cookies = cookies.into_iter().filter(|(_, value)| !value.is_empty());
        cookies.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    pub(crate) fn register(&mut self) -> DeviceResponse {
        let proof = self.registration();
        let response = self.post(None, Some(&proof));
        self.receive_instructions(&response);
        response
    }

    /// The proof of a registration.
    pub(crate) fn registration(&self) -> String {
        let challenge = self.offered.as_deref().expect("it was asked to register");
        let header = json!({ "alg": self.key.algorithm(), "typ": "dbsc+jwt", "jwk": self.jwk() });
        self.signed(&header, challenge)
    }

    /// Refreshes as Chromium does: if there is no challenge, or it is refused, the answer has one.
    pub(crate) fn refresh(&mut self) -> DeviceResponse {
        for _ in 0..3 {
            let proof = self.challenge.clone().map(|challenge| self.proof(&challenge));
            let response = self.post(Some(&self.id), proof.as_deref());
            self.receive_instructions(&response);
            if response.status != 403 {
                return response;
            }
        }
        panic!("its proof is refused again and again");
    }

    /// Refreshes, and gets another device cookie.
    pub(crate) fn refreshed(&mut self) {
        let before = self.device_cookie.clone();
        let response = self.refresh();
        assert_eq!(response.status, 200);
        assert_ne!(self.device_cookie, before, "{}", response.body);
    }

    /// The proof of a refresh.
    pub(crate) fn proof(&self, challenge: &str) -> String {
        self.signed(&json!({ "alg": self.key.algorithm(), "typ": "dbsc+jwt" }), challenge)
    }

    pub(crate) fn signed(&self, header: &Value, challenge: &str) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(&json!({ "jti": challenge })));
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes())))
    }

    pub(crate) fn jwk(&self) -> Value {
        self.key.jwk()
    }

    /// A request to the device endpoint. The answer isn't looked at.
    pub(crate) fn post(&self, id: Option<&str>, proof: Option<&str>) -> DeviceResponse {
        let request = RequestHead::new("POST", PATH, |name| match name {
            "Sec-Secure-Session-Id" => id,
            "Secure-Session-Response" => proof,
            _ => None,
        });
        let cookies = self.cookies();
        let response = self.sessions.device_endpoint(&request, [cookies.as_bytes()]);
        check(&response, id.is_some());
        response
    }

    pub(crate) fn receive_instructions(&mut self, response: &DeviceResponse) {
        self.receive(&response.headers);
        if response.status == 200 {
            let instructions: Value = serde_json::from_str(&response.body).expect("it is JSON");
            if instructions["continue"] != false {
                let id = instructions["session_identifier"].as_str().expect("it names the binding");
                id.clone_into(&mut self.id);
            }
        }
    }

    pub(crate) fn receive(&mut self, headers: &[Header]) {
        let device_cookie = self.sessions.device_cookie_name();
        for set_cookie in headers.set_cookies() {
            let (name, rest) = set_cookie.split_once('=').expect("it has a value");
            let value = rest.split(';').next().unwrap_or_default();
            if name == self.sessions.cookie_name() {
                value.clone_into(&mut self.session_cookie);
            } else if name == device_cookie {
                value.clone_into(&mut self.device_cookie);
            }
        }
        for (name, value) in headers {
            match *name {
                "Secure-Session-Registration" => {
                    let challenge = value.split_once(";path=\"/device-session\";challenge=\"");
                    let (algorithms, challenge) = challenge.expect("it has the form");
                    algorithms.clone_into(&mut self.algorithms);
                    self.offered = challenge.strip_suffix('"').map(str::to_owned);
                }
                "Secure-Session-Challenge" => self.challenge = Some(challenge(value).to_owned()),
                _ => {}
            }
        }
    }
}

fn challenge(header: &str) -> &str {
    let (challenge, id) = header.split_once(';').expect("it names the binding");
    assert!(id.starts_with("id=\"") && id.ends_with('"'), "{header}");
    challenge.trim_matches('"')
}

/// Whether the browser is told to forget the binding.
pub(crate) fn ends(response: &DeviceResponse) -> bool {
    let instructions: Value = serde_json::from_str(&response.body).unwrap_or_default();
    response.status == 200 && instructions["continue"] == false
}

/// What holds of every answer: browsers end a binding at any other status of 4xx, and at a success
/// without JSON.
fn check(response: &DeviceResponse, is_refresh: bool) {
    let has = |name| response.headers.iter().any(|(own, _)| *own == name);
    assert!(has("Cache-Control"));
    match response.status {
        200 => {
            let instructions: Value = serde_json::from_str(&response.body).expect("it is JSON");
            assert!(instructions.is_object() && has("Content-Type"));
        }
        403 => {
            assert_eq!(has("Secure-Session-Challenge"), is_refresh, "{response:?}");
            assert!(!has("Set-Cookie"));
        }
        503 => assert!(has("Retry-After")),
        status => panic!("status {status}"),
    }
    if !is_refresh {
        assert!(!has("Secure-Session-Challenge"), "the browser has no binding yet");
    }
}

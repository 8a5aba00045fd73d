//! Where browsers register devices and refresh device cookies.

use std::sync::Arc;

use store_core::ErrorChain;

use crate::codec::Codec;
use crate::device_bound::binding::{Binding, NewSecrets, random};
use crate::device_bound::binding_policy::BindingPolicy;
use crate::device_bound::device_cookie::DeviceCookie;
use crate::device_bound::device_request::DeviceRequest;
use crate::device_bound::device_response::DeviceResponse;
use crate::device_bound::proof::Proof;
use crate::error::Error;
use crate::event::EventKind;
use crate::manager::SessionManager;
use crate::manager::load::{MAX_COOKIES, cookies};
use crate::manager::resolve::{LiveSession, Resolved};
use crate::request_head::RequestHead;
use crate::sent_device_cookies::SentDeviceCookies;
use crate::session::Session;
use crate::token::Token;

/// The cookies of a request to the endpoint.
struct SentCookies {
    tokens: Vec<Token>,
    device_cookies: SentDeviceCookies,
}

impl<C: Codec> SessionManager<C> {
    /// Answers a browser that binds a session to its device, or needs a new device cookie. Call it
    /// for all requests to the path of the [`BindingPolicy`], with their Cookie headers; the
    /// adapters have a call of their own. With the feature `dbsc`.
    ///
    /// It is no use of the session: the idle timeout isn't moved. It needs no
    /// [`check_origin`](Self::check_origin), because nothing changes without a proof. If the store
    /// fails, it answers with status 503, after which the browser tries again later, and the error
    /// goes to the log.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{BindingPolicy, DeviceResponse, RequestHead, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// /// For a framework without an adapter.
    /// fn answer(
    ///     sessions: &SessionManager,
    ///     request: &RequestHead<'_>,
    ///     cookie_header: &[u8],
    /// ) -> Option<DeviceResponse> {
    ///     let is_device_request = request.path() == "/device-session";
    ///     is_device_request.then(|| sessions.device_endpoint(request, [cookie_header]))
    /// }
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?)
    ///     .with_device_binding(BindingPolicy::new("/device-session"))?;
    /// // A refresh after a logout: the browser is told to forget the binding.
    /// let request = RequestHead::new("POST", "/device-session", |name| {
    ///     (name == "Sec-Secure-Session-Id").then_some("an id")
    /// });
    /// let response = answer(&sessions, &request, b"").expect("it is the path");
    /// assert_eq!(response.status, 200);
    /// assert!(response.body.contains(r#""continue":false"#));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn device_endpoint<'a>(
        &self,
        request: &RequestHead<'_>,
        cookie_headers: impl IntoIterator<Item = &'a [u8]>,
    ) -> DeviceResponse {
        if request.method() != "POST" {
            return DeviceResponse::method_not_allowed();
        }
        let (values, device_cookies) = self.own_cookies(cookies(cookie_headers));
        let tokens = values.into_iter().filter_map(Token::parse).take(MAX_COOKIES).collect();
        let sent = SentCookies { tokens, device_cookies };
        let request = DeviceRequest::of(request);
        let response = match request.id {
            Some(id) => self.refresh(id, request.proof, &sent),
            None => self.register(request.proof, &sent),
        };
        response.unwrap_or_else(|error| {
            log::error!("a device could not be answered: {}", ErrorChain(&error));
            DeviceResponse::unavailable()
        })
    }

    fn register(&self, proof: Option<&str>, sent: &SentCookies) -> Result<DeviceResponse, Error> {
        let policy = self.required_policy()?;
        let Some(proof) = proof.and_then(|proof| Proof::parse(proof, policy.algorithms())) else {
            return Ok(DeviceResponse::registration_refused());
        };
        let waits = |binding: &Binding| binding.offered_challenge() == Some(proof.challenge());
        // By a token that opens it: nobody else gets their key into a session.
        let Some((session, binding)) = self.find_bound(sent, false, waits)? else {
            return Ok(DeviceResponse::registration_refused());
        };
        let cookie = DeviceCookie::generate()?;
        let new = NewSecrets { cookie_hash: cookie.hash(), challenge: random()? };
        let (policy_of_change, now) = (Arc::clone(&policy), self.now());
        let registered = Session::elsewhere(self, session).write_binding(
            binding.id(),
            move |binding| binding.register(&proof, &new, &policy_of_change, now).is_ok(),
            Some(EventKind::DeviceBound),
        );
        match registered {
            Ok(binding) => {
                Ok(DeviceResponse::instructions(&policy, &self.cookie, binding.id(), &cookie))
            }
            // Forged, sent twice, or the session has ended or passed to another user.
            Err(Error::DeviceUnproven | Error::Superseded) => {
                Ok(DeviceResponse::registration_refused())
            }
            Err(error) => Err(error),
        }
    }

    fn refresh(
        &self,
        id: &str,
        proof: Option<&str>,
        sent: &SentCookies,
    ) -> Result<DeviceResponse, Error> {
        let policy = self.required_policy()?;
        let is_named = |binding: &Binding| binding.is_bound() && binding.id() == id;
        // A token that was renewed a moment ago will do: only the device can give the proof, and
        // what it gets is worth nothing without the new token.
        let Some((session, binding)) = self.find_bound(sent, true, is_named)? else {
            return Ok(DeviceResponse::end(id));
        };
        let refreshed = match proof {
            Some(proof) => self.try_refresh(&policy, &session, &binding, proof, sent),
            // The browser has no challenge yet, and asks for one.
            None => Err(Error::DeviceUnproven),
        };
        let answered = match refreshed {
            Err(Error::DeviceUnproven) => self.ask_for_proof(&policy, session, id),
            answered => answered,
        };
        match answered {
            // The session has ended or passed to another user in the meantime.
            Err(Error::Superseded) => Ok(DeviceResponse::end(id)),
            answered => answered,
        }
    }

    /// Makes a new device cookie, if the proof is one.
    fn try_refresh(
        &self,
        policy: &Arc<BindingPolicy>,
        session: &LiveSession,
        binding: &Binding,
        proof: &str,
        sent: &SentCookies,
    ) -> Result<DeviceResponse, Error> {
        let Some(proof) = Proof::parse(proof, policy.algorithms()).map(Arc::new) else {
            self.report_forgery(session);
            return Err(Error::DeviceUnproven);
        };
        let proof_of_change = Arc::clone(&proof);
        let cookie = DeviceCookie::generate()?;
        let new = NewSecrets { cookie_hash: cookie.hash(), challenge: random()? };
        let challenge = new.challenge.clone();
        let (policy_of_change, now) = (Arc::clone(policy), self.now());
        let hashes = sent.device_cookies.hashes.clone();
        let refreshed = Session::elsewhere(self, session.clone()).write_binding(
            binding.id(),
            move |binding| {
                let proof = &proof_of_change;
                binding.refresh(proof, &hashes, &new, &policy_of_change, now).is_ok()
            },
            None,
        );
        // An old challenge is nothing to be alarmed about. A signature takes too long to be checked
        // twice otherwise.
        if matches!(refreshed, Err(Error::DeviceUnproven)) && !binding.is_proof_of_key(&proof) {
            self.report_forgery(session);
        }
        let refreshed = refreshed?;
        let response = DeviceResponse::instructions(policy, &self.cookie, refreshed.id(), &cookie);
        Ok(response.with_challenge(refreshed.id(), &challenge))
    }

    /// Answers with a challenge, which the browser signs at once.
    fn ask_for_proof(
        &self,
        policy: &Arc<BindingPolicy>,
        session: LiveSession,
        id: &str,
    ) -> Result<DeviceResponse, Error> {
        let new = random()?;
        let (policy, now) = (Arc::clone(policy), self.now());
        let asked = Session::elsewhere(self, session).write_binding(
            id,
            move |binding| {
                binding.ask(&new, &policy, now);
                true
            },
            None,
        )?;
        // There is one by now.
        Ok(DeviceResponse::challenge(asked.id(), asked.challenge().unwrap_or_default()))
    }

    fn report_forgery(&self, session: &LiveSession) {
        let metadata = session.content.metadata(&self.codec, &session.data);
        self.report_session(EventKind::DeviceUnproven, &session.key, &metadata);
    }

    fn required_policy(&self) -> Result<Arc<BindingPolicy>, Error> {
        let problem = || "the manager has none".to_owned();
        let none = || Error::InvalidOption { option: "device binding", problem: problem() };
        self.binding_policy.clone().ok_or_else(none)
    }

    /// Finds the session with a binding, among those that the request's cookies name.
    fn find_bound(
        &self,
        sent: &SentCookies,
        through_renewals: bool,
        is_wanted: impl Fn(&Binding) -> bool,
    ) -> Result<Option<(LiveSession, Binding)>, Error> {
        for token in &sent.tokens {
            let key = self.key(token);
            let resolved = match self.follow(key.clone(), through_renewals)? {
                // It may be there under its plain token.
                Resolved::Missing => self.resolve_token(token, &key)?,
                resolved => resolved,
            };
            match resolved {
                Resolved::Live(session) => {
                    let binding = self.binding(&session.content, &session.data);
                    if let Some(binding) = binding.filter(&is_wanted) {
                        return Ok(Some((session, binding)));
                    }
                }
                // It may be the one, and ends by no fault of its device.
                Resolved::Unopened(why) => return Err(Error::Unopened(why)),
                Resolved::Superseded | Resolved::Unusable | Resolved::Missing => {}
            }
        }
        Ok(None)
    }
}

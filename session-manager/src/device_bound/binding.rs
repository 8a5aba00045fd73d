//! What a session holds of its device.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};

use crate::device_bound::binding_policy::BindingPolicy;
use crate::device_bound::device_binding::DeviceBinding;
use crate::device_bound::proof::Proof;
use crate::device_bound::proof::public_key::PublicKey;
use crate::error::Error;

/// How long requests that were under way at the registration go without the cookie, if there was no
/// refresh since.
const REGISTRATION_GRACE: TimeDelta = TimeDelta::seconds(30);

/// How long requests with a device cookie may be under way.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// Random bytes of ids and challenges.
const RANDOM_BYTES: usize = 16;

/// The value under [`BINDING`](crate::content::reserved::BINDING): the id, the key, the cookies'
/// hashes, the challenges, and when the device was bound and gave its last proof. Times are in
/// seconds since 1970.
pub(crate) type Fields = (String, Option<String>, Vec<(String, i64)>, Vec<(String, i64)>, i64, i64);

/// The state of a session's binding.
#[derive(Clone)]
pub(crate) struct Binding {
    /// By which the browser names the binding. It stays when the session is renewed.
    id: String,
    /// None while the browser is only asked to register.
    key: Option<String>,
    /// Hashes of the present device cookie and the one before, and when they were made.
    cookies: Vec<(String, i64)>,
    /// The unused challenges, and when they were made: the present one and the one before, which
    /// the browser may be signing.
    challenges: Vec<(String, i64)>,
    bound: i64,
    proved: i64,
}

/// The proof is another key's, or of the wrong kind, or its challenge was used before, is too old,
/// or another session's.
#[derive(Debug)]
pub(super) struct NoProof;

/// Secrets for a session's binding, the same if its write is repeated.
pub(super) struct NewSecrets {
    pub(super) cookie_hash: String,
    pub(super) challenge: String,
}

impl Binding {
    /// Returns what a session holds that waits for a registration.
    pub(crate) fn offer(now: DateTime<Utc>) -> Result<Self, Error> {
        Ok(Self {
            id: random()?,
            key: None,
            cookies: Vec::new(),
            challenges: vec![(random()?, now.timestamp())],
            bound: 0,
            proved: 0,
        })
    }

    pub(crate) fn from_fields(fields: Fields) -> Self {
        let (id, key, cookies, challenges, bound, proved) = fields;
        Self { id, key, cookies, challenges, bound, proved }
    }

    pub(crate) fn fields(&self) -> Fields {
        let Self { id, key, cookies, challenges, bound, proved } = self.clone();
        (id, key, cookies, challenges, bound, proved)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn is_bound(&self) -> bool {
        self.key.is_some()
    }

    /// Returns the challenge of a registration that hasn't come yet.
    pub(crate) fn offered_challenge(&self) -> Option<&str> {
        self.challenge().filter(|_| !self.is_bound())
    }

    /// Returns whether the challenge of an offer was made only lately, so that a browser has time
    /// to answer.
    pub(crate) fn is_offer_fresh(&self, policy: &BindingPolicy, now: DateTime<Utc>) -> bool {
        let made = self.challenges.first().filter(|_| !self.is_bound()).map(|(_, made)| *made);
        made.is_some_and(|made| is_within(made, policy.cookie_lifetime(), now))
    }

    /// Returns whether a request with these device cookies comes from the device.
    pub(crate) fn state(
        &self,
        cookie_hashes: &[String],
        policy: &BindingPolicy,
        now: DateTime<Utc>,
    ) -> DeviceBinding {
        if !self.is_bound() {
            return DeviceBinding::Unbound;
        }
        let proved = DateTime::from_timestamp(self.proved, 0).unwrap_or(DateTime::UNIX_EPOCH);
        let has_cookie = self.good_cookie(cookie_hashes, policy, now).is_some();
        let is_new = self.cookies.len() == 1 && is_within(self.bound, REGISTRATION_GRACE, now);
        if has_cookie || is_new {
            DeviceBinding::Bound { proved }
        } else {
            DeviceBinding::Unproven { proved }
        }
    }

    /// Returns whether a proof is signed by the device's key, whatever its challenge.
    pub(super) fn is_proof_of_key(&self, proof: &Proof) -> bool {
        let key = self.key.as_deref().and_then(PublicKey::from_text);
        key.is_some_and(|key| proof.is_refresh_by(&key))
    }

    /// Takes the key of a registration, unless the proof isn't one. If there is a key already, the
    /// challenge of the offer is gone.
    pub(super) fn register(
        &mut self,
        proof: &Proof,
        new: &NewSecrets,
        policy: &BindingPolicy,
        now: DateTime<Utc>,
    ) -> Result<(), NoProof> {
        let key = proof.registered_key().ok_or(NoProof)?;
        self.use_challenge(proof, policy, now)?;
        self.key = Some(key.to_text());
        // The answer has no challenge: the browser doesn't have the session yet.
        self.challenges.clear();
        self.cookies = vec![(new.cookie_hash.clone(), now.timestamp())];
        self.bound = now.timestamp();
        self.proved = self.bound;
        Ok(())
    }

    /// Changes cookie and challenge after a refresh, which came with these device cookies, unless
    /// the proof isn't one.
    pub(super) fn refresh(
        &mut self,
        proof: &Proof,
        cookie_hashes: &[String],
        new: &NewSecrets,
        policy: &BindingPolicy,
        now: DateTime<Utc>,
    ) -> Result<(), NoProof> {
        if !self.is_proof_of_key(proof) {
            return Err(NoProof);
        }
        self.use_challenge(proof, policy, now)?;
        self.challenges.insert(0, (new.challenge.clone(), now.timestamp()));
        // The one that the browser has, which isn't the present one if an answer was lost. Requests
        // that are under way have it, and the browser goes on with it if this answer is lost.
        let before = self.good_cookie(cookie_hashes, policy, now).or_else(|| self.cookies.first());
        let before = before.cloned();
        self.cookies = vec![(new.cookie_hash.clone(), now.timestamp())];
        self.cookies.extend(before);
        self.proved = now.timestamp();
        Ok(())
    }

    /// Makes `new` the present challenge, unless there is one that was made only lately. Somebody
    /// who asks again and again takes no challenge away from the browser, and writes nothing.
    pub(super) fn ask(&mut self, new: &str, policy: &BindingPolicy, now: DateTime<Utc>) {
        let present = self.challenges.first();
        if !present.is_some_and(|(_, made)| is_within(*made, policy.cookie_lifetime(), now)) {
            self.challenges.insert(0, (new.to_owned(), now.timestamp()));
            self.challenges.truncate(2);
        }
    }

    /// Returns the present challenge.
    pub(super) fn challenge(&self) -> Option<&str> {
        self.challenges.first().map(|(challenge, _)| challenge.as_str())
    }

    /// Takes the proof's challenge away, and those before it.
    fn use_challenge(
        &mut self,
        proof: &Proof,
        policy: &BindingPolicy,
        now: DateTime<Utc>,
    ) -> Result<(), NoProof> {
        // Twice as long as the cookie, at whose end the browser signs it.
        let lifetime = policy.cookie_lifetime() * 2;
        let used = self.challenges.iter().position(|(challenge, made)| {
            challenge == proof.challenge() && is_within(*made, lifetime, now)
        });
        self.challenges.truncate(used.ok_or(NoProof)?);
        Ok(())
    }

    /// Returns which of the cookies a request has, if it has one.
    fn good_cookie(
        &self,
        cookie_hashes: &[String],
        policy: &BindingPolicy,
        now: DateTime<Utc>,
    ) -> Option<&(String, i64)> {
        self.cookies.iter().find(|(hash, made)| {
            cookie_hashes.contains(hash) && is_within(*made, policy.cookie_lifetime() + LEEWAY, now)
        })
    }
}

/// Returns an id or a challenge.
pub(super) fn random() -> Result<String, Error> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(Error::Randomness)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Returns whether something was made at most this long ago. After a clock went back far, nobody
/// knows how long ago that is.
fn is_within(made: i64, lifetime: TimeDelta, now: DateTime<Utc>) -> bool {
    let made = DateTime::from_timestamp(made, 0);
    made.is_some_and(|made| (now - made).abs() <= lifetime)
}

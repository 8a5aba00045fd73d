//! How sessions are bound to devices.

use std::time::Duration;

use chrono::TimeDelta;

use crate::cookie_policy::CookiePolicy;
use crate::device_bound::proof::algorithm::Algorithm;
use crate::error::Error;

/// Chromium signs six times in nine minutes for a site, and asks for a new device cookie up to two
/// minutes before the old one ends. With five minutes it never comes near that.
const MIN_COOKIE_LIFETIME: Duration = Duration::from_secs(5 * 60);

const MAX_COOKIE_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How sessions are bound to devices:
/// [`SessionManager::with_device_binding`](crate::SessionManager::with_device_binding). With the
/// feature `dbsc`.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use session_manager::{BindingPolicy, SessionManager};
/// use store_core::MemoryStore;
///
/// let policy = BindingPolicy::new("/device-session")
///     .with_cookie_lifetime(Duration::from_secs(5 * 60))
///     .requiring_proof();
/// let sessions = SessionManager::new(MemoryStore::new()?).with_device_binding(policy)?;
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct BindingPolicy {
    path: String,
    cookie_lifetime: Duration,
    requires_proof: bool,
    /// Without repetition, the best first.
    algorithms: Vec<Algorithm>,
}

impl BindingPolicy {
    /// Returns a policy with the defaults that the other methods name. `path` is where the
    /// application calls
    /// [`device_endpoint`](crate::SessionManager::device_endpoint).
    ///
    /// # Examples
    /// ```
    /// use session_manager::BindingPolicy;
    ///
    /// let policy = BindingPolicy::new("/device-session");
    /// ```
    pub fn new(path: impl Into<String>) -> Self {
        let cookie_lifetime = Duration::from_secs(10 * 60);
        let algorithms = vec![Algorithm::Es256];
        Self { path: path.into(), cookie_lifetime, requires_proof: false, algorithms }
    }

    /// Sets how long a device cookie lives: after at most this time, and a minute for requests that
    /// are under way, a copy of the browser's cookies is worth nothing. From 5 minutes, because
    /// browsers sign only a few times in a while, to 24 hours. Default: 10 minutes.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use session_manager::BindingPolicy;
    ///
    /// let policy =
    ///     BindingPolicy::new("/device-session").with_cookie_lifetime(Duration::from_secs(300));
    /// ```
    pub fn with_cookie_lifetime(mut self, lifetime: Duration) -> Self {
        self.cookie_lifetime = lifetime;
        self
    }

    /// Makes a bound session read as none in requests without a proof: they see an empty session,
    /// and leave the browser's cookie alone. Such a request can log in
    /// ([`Session::set_subject`](crate::Session::set_subject)) or out
    /// ([`Session::destroy`](crate::Session::destroy)); other changes end with
    /// [`Error::DeviceUnproven`]. Default: the session can be used, and the application asks for a
    /// proof where it matters
    /// ([`Session::check_device_binding`](crate::Session::check_device_binding)).
    ///
    /// # Examples
    /// ```
    /// use session_manager::BindingPolicy;
    ///
    /// let policy = BindingPolicy::new("/device-session").requiring_proof();
    /// ```
    pub fn requiring_proof(mut self) -> Self {
        self.requires_proof = true;
        self
    }

    /// Also accepts RSA keys (RS256) of 2,048 to 4,096 bits, from devices that have no others, such
    /// as old TPMs. If this is taken away again, sessions with such keys stay bound, and are
    /// unproven once their device cookie has ended. With the feature `dbsc-rs256`.
    ///
    /// # Examples
    /// ```
    /// use session_manager::BindingPolicy;
    ///
    /// let policy = BindingPolicy::new("/device-session").with_rsa_keys();
    /// ```
    #[cfg(feature = "dbsc-rs256")]
    pub fn with_rsa_keys(mut self) -> Self {
        self.algorithms = vec![Algorithm::Es256, Algorithm::Rs256];
        self
    }

    pub(crate) fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn requires_proof(&self) -> bool {
        self.requires_proof
    }

    pub(crate) fn cookie_lifetime(&self) -> TimeDelta {
        TimeDelta::from_std(self.cookie_lifetime).unwrap_or(TimeDelta::MAX)
    }

    /// Refuses what browsers would refuse, for a session cookie with this policy.
    pub(crate) fn check(&self, cookie: &CookiePolicy) -> Result<(), Error> {
        let invalid = |option, problem: &str| {
            Err(Error::InvalidOption { option, problem: problem.to_owned() })
        };
        // A string of a structured header (RFC 9651), and a path without anything after it.
        let is_path_byte = |byte: u8| (b'!'..=b'~').contains(&byte) && !b"\"\\?#".contains(&byte);
        if !self.path.starts_with('/')
            || self.path.starts_with("//")
            || !self.path.bytes().all(is_path_byte)
        {
            return invalid(
                "path of the device endpoint",
                "it must begin with one / and consist of ASCII without spaces, \", \\, ? and #",
            );
        }
        if !(MIN_COOKIE_LIFETIME..=MAX_COOKIE_LIFETIME).contains(&self.cookie_lifetime) {
            return invalid(
                "lifetime of the device cookie",
                "it must be from 5 minutes, or browsers exceed their quota, to 24 hours",
            );
        }
        if let Some(attribute) = cookie.unbindable_attribute() {
            return invalid(attribute, "sessions with it can't be bound to devices");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_would_refuse_is_refused() {
        let cookie = CookiePolicy::new();
        let good = BindingPolicy::new("/device-session");
        good.check(&cookie).expect("it is right");
        for path in
            ["", "device", "//evil.example/", "/a\"b", "/a\\b", "/a b", "/ä", "/a?b", "/a#b"]
        {
            assert!(BindingPolicy::new(path).check(&cookie).is_err(), "{path:?}");
        }
        let seconds = |seconds| good.clone().with_cookie_lifetime(Duration::from_secs(seconds));
        for good in [300, 86_400] {
            seconds(good).check(&cookie).expect("it is right");
        }
        for bad in [0, 299, 86_401, u64::MAX] {
            assert!(seconds(bad).check(&cookie).is_err(), "{bad}");
        }
        let cookie = CookiePolicy::new().with_name("session");
        assert!(good.check(&cookie.clone().with_domain("example.org")).is_err());
        assert!(good.check(&cookie.partitioned()).is_err());
    }
}

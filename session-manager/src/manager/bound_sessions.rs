//! Sessions that are bound to devices.

use std::sync::Arc;

use crate::codec::Codec;
use crate::content::Content;
use crate::content::reserved::BINDING;
use crate::device_bound::binding::Binding;
use crate::device_bound::binding_policy::BindingPolicy;
use crate::device_bound::device_binding::DeviceBinding;
use crate::device_bound::device_cookie;
use crate::error::Error;
use crate::event::EventKind;
use crate::manager::SessionManager;
use crate::manager::resolve::LiveSession;
use crate::sent_device_cookies::SentDeviceCookies;
use crate::session::Session;

impl<C: Codec> SessionManager<C> {
    /// Lets sessions be bound to the device of their browser
    /// ([`Session::bind_to_device`]), so that a copy of the cookie is worth nothing elsewhere.
    /// Default: none. With the feature `dbsc`; see the [guide](crate::guide::device_bound).
    ///
    /// The application calls [`device_endpoint`](Self::device_endpoint) at the policy's path.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a path or a lifetime that browsers would refuse, and if the
    /// [cookie](Self::with_cookie) is one of several hosts, or partitioned.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{BindingPolicy, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?)
    ///     .with_device_binding(BindingPolicy::new("/device-session"))?;
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "dbsc")]
    pub fn with_device_binding(mut self, policy: BindingPolicy) -> Result<Self, Error> {
        policy.check(&self.cookie)?;
        self.binding_policy = Some(Arc::new(policy));
        Ok(self)
    }

    /// Returns the name of the device cookie, that of the session cookie with `-device` after it.
    /// With the feature `dbsc`.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// assert_eq!(sessions.device_cookie_name(), "__Host-session-device");
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn device_cookie_name(&self) -> String {
        device_cookie::name(&self.cookie)
    }

    /// Returns the session of a request, from the names and values of its cookies, for a framework
    /// that has parsed them already. Unlike [`load`](Self::load) it sees the device cookie, too, as
    /// [`load_from_headers`](Self::load_from_headers) and the adapters do. With the feature `dbsc`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    ///
    /// # Examples
    /// ```
    /// use session_manager::{BindingPolicy, Error, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?)
    ///     .with_device_binding(BindingPolicy::new("/device-session"))?;
    /// let cookies = [("theme", "dark"), ("__Host-session", "stale")];
    /// let session = sessions.load_with_device_cookies(cookies)?;
    /// assert!(session.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn load_with_device_cookies<'a>(
        &self,
        cookies: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Session<'_, C>, Error> {
        let (values, device_cookies) = self.own_cookies(cookies);
        self.load_cookies(values, device_cookies)
    }

    /// Returns the values of session cookies, and the device cookies.
    pub(crate) fn own_cookies<'a>(
        &self,
        cookies: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> (Vec<&'a str>, SentDeviceCookies) {
        let device_cookie = self.device_cookie_name();
        let (mut values, mut device_values) = (Vec::new(), Vec::new());
        for (name, value) in cookies {
            if name == self.cookie.name() {
                values.push(value);
            } else if name == device_cookie {
                device_values.push(value);
            }
        }
        (values, SentDeviceCookies { hashes: device_cookie::hashes(device_values) })
    }

    /// Returns what a session holds of its device.
    pub(crate) fn binding(&self, content: &Content, data: &[u8]) -> Option<Binding> {
        let fields = self.codec.decode_value(content.values.get(BINDING, data)?);
        fields.ok().map(Binding::from_fields)
    }

    /// Returns whether a request with these device cookies comes from the session's device.
    pub(crate) fn device_binding_of(
        &self,
        content: &Content,
        data: &[u8],
        device_cookies: &SentDeviceCookies,
    ) -> DeviceBinding {
        let (Some(policy), Some(binding)) = (&self.binding_policy, self.binding(content, data))
        else {
            return DeviceBinding::Unbound;
        };
        binding.state(&device_cookies.hashes, policy, self.now())
    }

    /// Returns whether the session is bound to a device and the request doesn't come from there.
    pub(crate) fn is_unproven(
        &self,
        content: &Content,
        data: &[u8],
        device_cookies: &SentDeviceCookies,
    ) -> bool {
        let binding = self.device_binding_of(content, data, device_cookies);
        matches!(binding, DeviceBinding::Unproven { .. })
    }

    /// Returns whether the session reads as none, because the request doesn't come from its device.
    pub(crate) fn refuses(
        &self,
        session: &LiveSession,
        device_cookies: &SentDeviceCookies,
    ) -> bool {
        if !self.binding_policy.as_ref().is_some_and(|policy| policy.requires_proof()) {
            return false;
        }
        let is_refused = self.is_unproven(&session.content, &session.data, device_cookies);
        if is_refused {
            let metadata = session.content.metadata(&self.codec, &session.data);
            self.report_session(EventKind::DeviceUnproven, &session.key, &metadata);
        }
        is_refused
    }
}

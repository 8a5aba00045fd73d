//! The device that the session is bound to.

use std::sync::Arc;

use crate::codec::Codec;
use crate::content::edit::Edit;
use crate::content::reserved::BINDING;
use crate::content::typed::TypedReader;
use crate::device_bound::binding::Binding;
use crate::device_bound::device_binding::DeviceBinding;
use crate::error::Error;
use crate::event::EventKind;
use crate::session::Session;
use crate::session::headers::Header;
use crate::session::origin::Origin;

impl<C: Codec> Session<'_, C> {
    /// Asks the browser to bind the session to its device, by a header of the response. Call it at
    /// a login, after [`set_subject`](Self::set_subject). With the feature `dbsc`.
    ///
    /// A browser that can't do that goes on as before. One that can, registers a key at the
    /// [`device_endpoint`](crate::SessionManager::device_endpoint); then
    /// [`device_binding`](Self::device_binding) tells the requests of that device from others. A
    /// renewal keeps the binding; it ends when the session passes to another user.
    ///
    /// A browser that comes from another site can't register, for example at the end of a login by
    /// OAuth. So call it for some minutes after such a login, on pages of sessions that are
    /// [`Unbound`](DeviceBinding::Unbound); it repeats the header, and mostly writes nothing.
    ///
    /// For a session that is bound it does nothing, unless the request has no proof and gives the
    /// session a new token ([`renew`](Self::renew), as
    /// [`mark_authenticated`](Self::mark_authenticated) and [`set_subject`](Self::set_subject) of
    /// another user do): then somebody has logged in again whose browser has lost the binding.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if the manager was not built
    /// [`with_device_binding`](crate::SessionManager::with_device_binding); [`Error::Superseded`]
    /// if another request has just renewed the session; [`Error::DeviceUnproven`] if the session
    /// reads as none; [`Error::Randomness`]; [`Error::Unencodable`], from a codec that can't
    /// represent a tuple.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{BindingPolicy, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?)
    ///     .with_device_binding(BindingPolicy::new("/device-session"))?;
    /// let mut session = sessions.load([])?;
    /// session.set_subject("7")?;
    /// session.bind_to_device()?;
    /// let headers = session.finish()?.headers;
    /// assert!(headers.iter().any(|(name, _)| *name == "Secure-Session-Registration"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "dbsc")]
    pub fn bind_to_device(&mut self) -> Result<(), Error> {
        self.check_superseded()?;
        let Some(policy) = self.manager.binding_policy.clone() else {
            let problem = "the manager has none".to_owned();
            return Err(Error::InvalidOption { option: "device binding", problem });
        };
        let policy_of_offer = Arc::clone(&policy);
        let now = self.manager.now();
        let is_login = matches!(self.origin, Origin::Fresh)
            || self.new_token.as_ref().is_some_and(|new| !new.old_token_opens);
        let hashes = self.sent_tokens.device_cookies.hashes.clone();
        let stays = move |binding: &Binding| match binding.state(&hashes, &policy, now) {
            DeviceBinding::Unbound => false,
            DeviceBinding::Bound { .. } => true,
            DeviceBinding::Unproven { .. } => !is_login,
        };
        match self.binding() {
            Some(binding) if stays(&binding) => return Ok(()),
            // The same again, which writes nothing. A login needs another challenge, because
            // somebody may know this one who knows the token from before.
            Some(binding) if !is_login && binding.is_offer_fresh(&policy_of_offer, now) => {
                self.offered_binding = Some(binding.id().to_owned());
                return Ok(());
            }
            _ => {}
        }
        let offer = Binding::offer(now)?;
        self.offered_binding = Some(offer.id().to_owned());
        self.edit_binding(move |binding| match binding {
            Some(binding) if stays(&binding) => Ok(binding),
            // Another request's offer is outdated, and this one's header comes later.
            _ => Ok(offer.clone()),
        })
    }

    /// Returns whether the session is bound to a device, and the request comes from there. With the
    /// feature `dbsc`.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{DeviceBinding, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?);
    /// let session = sessions.load([])?;
    /// assert_eq!(session.device_binding(), DeviceBinding::Unbound);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn device_binding(&self) -> DeviceBinding {
        self.was_read.set(true);
        match self.origin {
            Origin::Unproven(unproven) => unproven,
            _ => self.manager.device_binding_of(
                &self.content,
                self.data(),
                &self.sent_tokens.device_cookies,
            ),
        }
    }

    /// Refuses a request that doesn't prove that it comes from the device that the session is bound
    /// to: for what matters, such as a payment or a new password. A session that isn't bound
    /// passes. With the feature `dbsc`.
    ///
    /// # Errors
    /// [`Error::DeviceUnproven`], which is reported as an event, too.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.check_device_binding()?;
    /// session.insert("address", "…")?;
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn check_device_binding(&self) -> Result<(), Error> {
        let DeviceBinding::Unproven { .. } = self.device_binding() else { return Ok(()) };
        if let Some(snapshot) = self.origin.snapshot() {
            let kind = EventKind::DeviceUnproven;
            self.manager.report_session(kind, &snapshot.key, &self.metadata());
        }
        Err(Error::DeviceUnproven)
    }

    /// Returns what the session holds of its device.
    pub(crate) fn binding(&self) -> Option<Binding> {
        self.manager.binding(&self.content, self.data())
    }

    /// Writes a session with another state of its binding, if that is still the one with this id
    /// and the change finds the proof good; returns that state. The event is reported once it is
    /// written.
    ///
    /// # Errors
    /// [`Error::DeviceUnproven`] if the change refuses; [`Error::Superseded`] if the session has
    /// ended, or has another binding.
    pub(crate) fn write_binding(
        mut self,
        id: &str,
        mut change: impl FnMut(&mut Binding) -> bool + Send + 'static,
        event: Option<EventKind>,
    ) -> Result<Binding, Error> {
        let id = id.to_owned();
        self.edit_binding(move |binding| {
            let same = binding.filter(|binding| binding.id() == id);
            let mut binding = same.ok_or(Error::Superseded)?;
            if change(&mut binding) { Ok(binding) } else { Err(Error::DeviceUnproven) }
        })?;
        self.write_back()?;
        if let (Some(event), Some(snapshot)) = (event, self.origin.snapshot()) {
            self.manager.report_session(event, &snapshot.key, &self.metadata());
        }
        self.binding().ok_or(Error::Superseded)
    }

    /// Changes what the session holds of its device. If another request writes first, the change is
    /// made to what that has written.
    pub(crate) fn edit_binding(
        &mut self,
        mut change: impl FnMut(Option<Binding>) -> Result<Binding, Error> + Send + 'static,
    ) -> Result<(), Error> {
        let update = move |reader: &TypedReader<'_, C>, value: Option<&[u8]>| {
            let codec = &reader.manager.codec;
            let fields = value.and_then(|value| codec.decode_value(value).ok());
            let fields = change(fields.map(Binding::from_fields))?.fields();
            let encoded = codec.encode_value(&fields);
            encoded.map(Arc::from).map_err(|_| Error::unencodable::<Binding>(BINDING))
        };
        self.edit(Edit::Update(BINDING.to_owned(), Box::new(update)))
    }

    /// Adds the header by which the browser registers a key, if this request has asked for that and
    /// the session is stored.
    pub(super) fn with_registration(
        &self,
        mut headers: Vec<Header>,
        is_stored: bool,
    ) -> Vec<Header> {
        let (Some(id), Some(policy)) = (&self.offered_binding, &self.manager.binding_policy) else {
            return headers;
        };
        let offered = self.binding().filter(|binding| is_stored && binding.id() == id);
        if let Some(challenge) = offered.as_ref().and_then(Binding::offered_challenge) {
            let path = policy.path();
            let algorithms = policy.algorithms().iter().map(|algorithm| algorithm.name());
            let algorithms = algorithms.collect::<Vec<_>>().join(" ");
            let registration = format!("({algorithms});path=\"{path}\";challenge=\"{challenge}\"");
            headers.push(("Secure-Session-Registration", registration));
            if !headers.iter().any(|(name, _)| *name == "Cache-Control") {
                headers.push(("Cache-Control", "no-store".to_owned()));
            }
        }
        headers
    }
}

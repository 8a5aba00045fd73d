//! What a user's list of sessions shows of this one.

use chrono::{DateTime, Utc};

use crate::codec::Codec;
use crate::content::reserved::DEVICE;
use crate::device::Device;
use crate::error::Error;
use crate::session::Session;
use crate::session_id::SessionId;

impl<C: Codec> Session<'_, C> {
    /// Returns the session's public name. `None` for one that was never stored;
    /// [`finish`](Self::finish) returns what it gets.
    ///
    /// # Examples
    /// A list of somebody's sessions marks the present one:
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let browser = session_manager::testing::Browser::new(&sessions);
    /// # let session = browser.with(|session| session.set_subject("7"))?.session()?;
    /// for other in sessions.sessions_of("7")? {
    ///     let is_this_one = session.id() == Some(other.id());
    /// #   assert!(is_this_one);
    ///     println!("{} {}", other.expiry(), if is_this_one { "(this one)" } else { "" });
    /// }
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> Option<SessionId> {
        self.was_read.set(true);
        let snapshot = self.origin.snapshot().filter(|_| !self.content.is_another)?;
        Some(self.metadata().id(&snapshot.key))
    }

    /// Returns when the session began: when it was stored first, or passed to another user. `None`
    /// for a session that was never stored, and for one that a Go program has begun.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let browser = session_manager::testing::Browser::new(&sessions);
    /// let session = browser.with(|session| session.insert("visits", 1))?.session()?;
    /// assert!(session.created() <= Some(chrono::Utc::now()));
    /// assert!(session.created().is_some());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn created(&self) -> Option<DateTime<Utc>> {
        self.was_read.set(true);
        self.metadata().created()
    }

    /// Sets what the list of the user's sessions says of this one's device, usually at a login. It
    /// goes when the session passes to another user.
    ///
    /// # Errors
    /// [`Error::Unencodable`], from a codec that can't represent a tuple of strings.
    ///
    /// # Examples
    /// ```
    /// use session_manager::Device;
    ///
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # let (peer, user_agent) = ("192.0.2.7", "curl/8.16.0");
    /// session.set_subject("7")?;
    /// session.set_device(&Device::new().with_address(peer).with_user_agent(user_agent))?;
    /// # session.finish()?;
    ///
    /// let device = sessions.sessions_of("7")?[0].device().expect("it was set");
    /// assert_eq!(device.address(), Some("192.0.2.7"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn set_device(&mut self, device: &Device) -> Result<(), Error> {
        self.set(DEVICE, &device.fields())
    }

    /// Returns what was said of the session's device.
    ///
    /// # Examples
    /// ```
    /// use session_manager::Device;
    ///
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// assert_eq!(session.device(), None);
    /// let device = Device::new().with_address("192.0.2.7");
    /// session.set_device(&device)?;
    /// assert_eq!(session.device(), Some(device));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn device(&self) -> Option<Device> {
        self.was_read.set(true);
        self.metadata().device()
    }
}

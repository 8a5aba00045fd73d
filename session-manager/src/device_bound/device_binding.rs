//! Whether a request proves that it comes from the session's device.

use chrono::{DateTime, Utc};

/// Whether a session is bound to a device, and the request comes from there:
/// [`Session::device_binding`](crate::Session::device_binding). With the feature `dbsc`.
///
/// # Examples
/// ```
/// use session_manager::{DeviceBinding, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?);
/// match sessions.load([])?.device_binding() {
///     DeviceBinding::Unbound => println!("this browser can't do it, or hasn't yet"),
///     DeviceBinding::Bound { proved } => println!("bound to this device, proved at {proved}"),
///     DeviceBinding::Unproven { proved } => println!("no proof since {proved}"),
/// }
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceBinding {
    /// The session isn't bound to a device, because the browser doesn't do that, hasn't done it
    /// yet, or wasn't asked to ([`Session::bind_to_device`](crate::Session::bind_to_device)).
    Unbound,
    /// The request comes from the device that the session is bound to.
    Bound {
        /// When the device last proved that it has the key.
        proved: DateTime<Utc>,
    },
    /// The session is bound to a device, and the request has no device cookie, or an old one: the
    /// session cookie was copied to another device, the browser couldn't get a new device cookie,
    /// or a link of another site has led here after the device cookie's end.
    Unproven {
        /// When the device last proved that it has the key.
        proved: DateTime<Utc>,
    },
}

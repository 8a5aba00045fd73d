//! Device Bound Session Credentials: sessions whose cookie is worth nothing on another device.
//!
//! The browser makes a key pair that doesn't leave the device, and tells this site the public key
//! (a *registration*). From then on the session needs a second cookie, the *device cookie*, which
//! lives for minutes. For a new one, the browser signs a challenge (a *refresh*).
//!
//! <https://w3c.github.io/webappsec-dbsc/>

pub(crate) mod binding_policy;

pub(crate) mod device_binding;

pub(crate) mod device_response;

pub(crate) mod device_cookie;

pub(crate) mod proof;

pub(crate) mod binding;

mod device_request;

mod endpoint;

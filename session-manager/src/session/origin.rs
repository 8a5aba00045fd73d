//! Where a request's session came from.

use chrono::{DateTime, Utc};

#[cfg(feature = "dbsc")]
use crate::device_bound::device_binding::DeviceBinding;
use crate::sent_device_cookies::SentDeviceCookies;
use crate::session_key::SessionKey;
use crate::token::Token;
use crate::unopened::Unopened;

/// Where a session came from.
pub(crate) enum Origin {
    /// The store has nothing of it.
    Fresh,
    /// Another request has just renewed it, and this one's token doesn't open it anymore. Nothing
    /// is written in its place.
    Superseded,
    /// The store has it, and this process can't open it. Nothing is written in its place.
    Unopened(Unopened),
    /// The store has it, and the request doesn't prove that it comes from the device that it is
    /// bound to. Nothing is written in its place.
    #[cfg(feature = "dbsc")]
    Unproven(DeviceBinding),
    /// The store had it when it was loaded.
    Store(Snapshot),
}

/// A session as the store had it when it was loaded last.
pub(crate) struct Snapshot {
    /// The token that the browser has. `None` if the session has a newer one, of which the store
    /// knows only the key, and which another response brings to the browser.
    pub(crate) token: Option<Token>,
    pub(crate) key: SessionKey,
    pub(crate) data: Vec<u8>,
    pub(crate) expiry: DateTime<Utc>,
}

/// The tokens that a request came with.
pub(crate) struct SentTokens {
    /// Those that named something of this manager's.
    pub(crate) known: Vec<Token>,
    /// Those that weren't tried, because one before them named the session.
    pub(crate) untried: Vec<Token>,
    #[cfg_attr(not(feature = "dbsc"), expect(dead_code, reason = "there are none"))]
    pub(crate) device_cookies: SentDeviceCookies,
}

impl Origin {
    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            Self::Fresh | Self::Superseded | Self::Unopened(_) => None,
            #[cfg(feature = "dbsc")]
            Self::Unproven(_) => None,
            Self::Store(snapshot) => Some(snapshot),
        }
    }

    /// Returns what the store has of the session.
    pub(crate) fn data(&self) -> &[u8] {
        self.snapshot().map_or(&[], |snapshot| &snapshot.data)
    }
}

//! What a session knows about itself.

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;

use crate::codec::Codec;
use crate::content::Content;
use crate::content::reserved::{
    AUTHENTICATED, CREATED, DEVICE, ID, IDLE_TIMEOUT, REMEMBER_ME, SUBJECT,
};
use crate::device::{Device, DeviceFields};
use crate::event::{Event, EventKind};
use crate::session_id::SessionId;
use crate::session_key::SessionKey;

/// The session's own values. One that can't be decoded wasn't written by this crate, and counts as
/// missing.
pub(crate) struct Metadata<'a, C> {
    pub(crate) codec: &'a C,
    pub(crate) content: &'a Content,
    /// What the store has.
    pub(crate) data: &'a [u8],
}

impl<C: Codec> Metadata<'_, C> {
    /// Returns the session's public name. A session that never got another token has it by its
    /// key.
    pub(crate) fn id(&self, key: &SessionKey) -> SessionId {
        let stored = self.value::<String>(ID).and_then(|id| id.parse().ok());
        stored.unwrap_or_else(|| key.first_id())
    }

    /// Returns what can be told of something that has happened to the session.
    pub(crate) fn event(&self, kind: EventKind, key: &SessionKey) -> Event {
        Event::new(kind, self.id(key)).with_subject(self.subject())
    }

    pub(crate) fn subject(&self) -> Option<String> {
        self.value(SUBJECT)
    }

    pub(crate) fn created(&self) -> Option<DateTime<Utc>> {
        self.value(CREATED).and_then(|seconds| DateTime::from_timestamp(seconds, 0))
    }

    pub(crate) fn authenticated(&self) -> Option<DateTime<Utc>> {
        self.value(AUTHENTICATED).and_then(|seconds| DateTime::from_timestamp(seconds, 0))
    }

    /// Returns when the session's user logged in, or, if nobody has, when it began.
    pub(crate) fn login(&self) -> Option<DateTime<Utc>> {
        self.authenticated().or_else(|| self.created())
    }

    pub(crate) fn device(&self) -> Option<Device> {
        self.value::<DeviceFields>(DEVICE).map(Device::from)
    }

    pub(crate) fn remembers(&self) -> Option<bool> {
        self.value(REMEMBER_ME)
    }

    /// Returns the idle timeout, if there is one. `default` is that of sessions without their own.
    pub(crate) fn idle_timeout(&self, default: Option<TimeDelta>) -> Option<TimeDelta> {
        let Some(millis) = self.value(IDLE_TIMEOUT) else { return default };
        TimeDelta::try_milliseconds(millis).filter(|timeout| *timeout > TimeDelta::zero())
    }

    fn value<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let value = self.content.values.get(key, self.data)?;
        self.codec.decode_value(value).ok()
    }
}

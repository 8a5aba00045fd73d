//! Encoded values as the application's types.

use serde::de::{DeserializeOwned, IgnoredAny};

use crate::codec::Codec;
use crate::error::Error;
use crate::event::{Event, EventKind};
use crate::manager::SessionManager;
use crate::session_id::SessionId;
use crate::session_key::SessionKey;

/// Reads the values of one session.
pub(crate) struct TypedReader<'a, C> {
    pub(crate) manager: &'a SessionManager<C>,
    /// Its key and its data in the store. `None` for a session that isn't stored yet.
    pub(crate) session: Option<(&'a SessionKey, &'a [u8])>,
}

impl<C: Codec> TypedReader<'_, C> {
    /// Returns the value, or `None` if there is none. A value of another type, which an older or
    /// newer version of the application may have put there, is reported and counts as none, unless
    /// types are strict.
    ///
    /// # Errors
    /// [`Error::WrongType`], if types are strict.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<Option<T>, Error> {
        let (codec, Some(value)) = (&self.manager.codec, value) else { return Ok(None) };
        if let Ok(value) = codec.decode_value(value) {
            return Ok(Some(value));
        }
        // A `None` that was inserted, read as the type that a `Some` has.
        if let Ok(None) = codec.decode_value::<Option<IgnoredAny>>(value) {
            return Ok(None);
        }
        let error = Error::wrong_type::<T>(key);
        if self.manager.has_strict_types {
            return Err(error);
        }
        if let Error::WrongType { key, expected } = error {
            let kind = EventKind::WrongType { key, expected };
            let event = match self.session {
                Some((key, data)) => self.manager.event_of_stored(kind, key, data),
                None => Event::new(kind, SessionId::NONE),
            };
            self.manager.report_event(&event);
        }
        Ok(None)
    }
}

//! How a session becomes bytes.

pub(crate) mod json;

mod envelope;

#[cfg(feature = "messagepack")]
pub(crate) mod messagepack;

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format of a session's bytes: a deadline and values under keys.
///
/// Values stay encoded until they are asked for: [`decode`](Self::decode) finds only where they are. An
/// implementation never puts a value into an error.
///
/// [`Json`](crate::Json) is the default, `MessagePack` a feature; an application can bring its own, for
/// example to encrypt.
pub trait Codec: fmt::Debug + Send + Sync {
    /// Finds the deadline, and where each value is, in stored bytes.
    ///
    /// # Errors
    /// [`CodecError`] if the bytes aren't in this format, or are of a newer version. The session is then
    /// reported as [undecodable](crate::EventKind::Undecodable).
    fn decode(&self, data: &[u8]) -> Result<Decoded, CodecError>;

    /// Returns the bytes of a session, from encoded values.
    ///
    /// # Errors
    /// [`CodecError`] if this format can't represent them.
    fn encode(
        &self,
        deadline: DateTime<Utc>,
        values: &mut dyn Iterator<Item = (&str, &[u8])>,
    ) -> Result<Vec<u8>, CodecError>;

    /// Decodes one value.
    ///
    /// # Errors
    /// [`CodecError`] if it is of another type.
    fn decode_value<T: DeserializeOwned>(&self, value: &[u8]) -> Result<T, CodecError>;

    /// Encodes one value.
    ///
    /// # Errors
    /// [`CodecError`] if this format can't represent its type.
    fn encode_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CodecError>;
}

/// What a [`Codec`] finds in stored bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// When the session ends, however much it is used.
    pub deadline: DateTime<Utc>,
    /// The keys, in their order, and the range of bytes of each value.
    pub values: Vec<(String, Range<usize>)>,
}

/// Bytes or values that a codec's format can't represent. It reveals nothing of their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecError;

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not in the codec's format")
    }
}

impl StdError for CodecError {}

//! How a session becomes bytes.

pub(crate) mod json;

mod envelope;

mod finite;

#[cfg(feature = "messagepack")]
pub(crate) mod messagepack;

#[cfg(feature = "messagepack")]
mod nesting;

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format of a session's bytes: a deadline and values under keys.
///
/// Values stay encoded until they are asked for: [`decode`](Self::decode) finds only where they
/// are. An implementation never puts a value into an error.
///
/// [`Json`](crate::Json) is the default, `MessagePack` a feature; an application can bring its own,
/// for example to encrypt.
///
/// # Examples
/// A codec that hides values from a casual look into the database. A real one would encrypt, with a
/// key that isn't in the database:
/// ```
/// use chrono::{DateTime, Utc};
/// use serde::{Serialize, de::DeserializeOwned};
/// use session_manager::{Codec, CodecError, Decoded, Json, SessionManager};
///
/// #[derive(Debug)]
/// struct Masked(u8);
///
/// impl Masked {
///     fn mask(&self, data: &[u8]) -> Vec<u8> {
///         data.iter().map(|byte| byte ^ self.0).collect()
///     }
/// }
///
/// impl Codec for Masked {
///     fn decode(&self, data: &[u8]) -> Result<Decoded, CodecError> {
///         // The ranges are the same, because a byte stays a byte.
///         Json.decode(&self.mask(data))
///     }
///     fn encode(
///         &self,
///         deadline: DateTime<Utc>,
///         values: &mut dyn Iterator<Item = (&str, &[u8])>,
///     ) -> Result<Vec<u8>, CodecError> {
///         let values: Vec<_> = values.map(|(key, value)| (key, self.mask(value))).collect();
///         let mut plain = values.iter().map(|(key, value)| (*key, &**value));
///         Ok(self.mask(&Json.encode(deadline, &mut plain)?))
///     }
///     fn decode_value<T: DeserializeOwned>(&self, value: &[u8]) -> Result<T, CodecError> {
///         Json.decode_value(&self.mask(value))
///     }
///     fn encode_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
///         Ok(self.mask(&Json.encode_value(value)?))
///     }
/// }
///
/// let sessions = SessionManager::new(store_core::MemoryStore::new()?).with_codec(Masked(0x5a));
/// let mut session = sessions.load([])?;
/// session.insert("name", "Ada")?;
/// assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
/// # session.finish()?;
/// # Ok::<(), session_manager::Error>(())
/// ```
pub trait Codec: fmt::Debug + Send + Sync {
    /// Finds the deadline, and where each value is, in stored bytes.
    ///
    /// # Errors
    /// [`CodecError`] if the bytes aren't in this format, or are of a newer version. The session is
    /// then reported as [undecodable](crate::EventKind::Undecodable).
    ///
    /// # Examples
    /// ```
    /// use session_manager::{Codec, Json};
    ///
    /// let data = br#"{"v":1,"deadline":"2026-11-21T15:30:00Z","values":{"visits":3}}"#;
    /// let (key, range) = Json.decode(data)?.values.remove(0);
    /// assert_eq!((key.as_str(), &data[range]), ("visits", &b"3"[..]));
    /// # Ok::<(), session_manager::CodecError>(())
    /// ```
    fn decode(&self, data: &[u8]) -> Result<Decoded, CodecError>;

    /// Returns the bytes of a session, from encoded values.
    ///
    /// # Errors
    /// [`CodecError`] if this format can't represent them.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use session_manager::{Codec, Json};
    ///
    /// let data = Json.encode(DateTime::UNIX_EPOCH, &mut [("visits", &b"3"[..])].into_iter())?;
    /// assert!(data.ends_with(br#""values":{"visits":3}}"#));
    /// # Ok::<(), session_manager::CodecError>(())
    /// ```
    fn encode(
        &self,
        deadline: DateTime<Utc>,
        values: &mut dyn Iterator<Item = (&str, &[u8])>,
    ) -> Result<Vec<u8>, CodecError>;

    /// Decodes one value.
    ///
    /// # Errors
    /// [`CodecError`] if it is of another type.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{Codec, CodecError, Json};
    ///
    /// assert_eq!(Json.decode_value(b"3"), Ok(3));
    /// assert_eq!(Json.decode_value::<bool>(b"3"), Err(CodecError));
    /// ```
    fn decode_value<T: DeserializeOwned>(&self, value: &[u8]) -> Result<T, CodecError>;

    /// Encodes one value.
    ///
    /// # Errors
    /// [`CodecError`] if this format can't represent its type.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{Codec, Json};
    ///
    /// assert_eq!(Json.encode_value("Ada")?, br#""Ada""#);
    /// # Ok::<(), session_manager::CodecError>(())
    /// ```
    fn encode_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CodecError>;
}

/// What a [`Codec`] finds in stored bytes.
///
/// # Examples
/// ```
/// use session_manager::{Codec, Decoded, Json};
///
/// let data = br#"{"v":1,"deadline":"1970-01-01T00:00:00Z","values":{"visits":3}}"#;
/// let expected = Decoded {
///     deadline: chrono::DateTime::UNIX_EPOCH,
///     values: vec![("visits".to_owned(), 60..61)],
/// };
/// assert_eq!(Json.decode(data), Ok(expected));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// When the session ends, however much it is used.
    pub deadline: DateTime<Utc>,
    /// The keys, in their order, and the range of bytes of each value.
    pub values: Vec<(String, Range<usize>)>,
}

/// Bytes or values that a codec's format can't represent. It reveals nothing of their content.
///
/// # Examples
/// ```
/// use session_manager::{Codec, CodecError, Json};
///
/// assert_eq!(Json.decode_value::<u32>(br#""secret""#), Err(CodecError));
/// assert_eq!(CodecError.to_string(), "not in the codec's format");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecError;

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not in the codec's format")
    }
}

impl StdError for CodecError {}

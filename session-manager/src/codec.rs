//! How a session becomes bytes, and how the store gets them.

pub(crate) mod json;

mod envelope;

mod finite;

#[cfg(feature = "messagepack")]
pub(crate) mod messagepack;

#[cfg(feature = "sealed")]
pub(crate) mod sealed;

#[cfg(feature = "messagepack")]
mod nesting;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::ops::Range;
use std::{fmt, ptr};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::unopened::Unopened;

/// The format of a session's bytes: a deadline and values under keys; and how they are protected in
/// the store, if they are.
///
/// Values stay encoded until they are asked for: [`decode`](Self::decode) finds only where they
/// are. An implementation never puts a value into an error.
///
/// [`Json`](crate::Json) is the default, `MessagePack` and `Sealed`, which encrypts what another
/// codec writes, are features; an application can bring its own.
///
/// # Examples
/// A codec that hides values from a casual look into the database. `Sealed` really encrypts:
/// ```
/// use std::borrow::Cow;
/// use chrono::{DateTime, Utc};
/// use serde::{Serialize, de::DeserializeOwned};
/// use session_manager::{Codec, CodecError, Decoded, Error, Json, OpenError, Row, SessionManager};
///
/// #[derive(Debug)]
/// struct Masked(u8);
///
/// impl Codec for Masked {
///     fn open<'d>(&self, _: &Row<'_>, data: &'d [u8]) -> Result<Cow<'d, [u8]>, OpenError> {
///         Ok(data.iter().map(|byte| byte ^ self.0).collect())
///     }
///     fn seal(&self, _: &Row<'_>, encoded: Vec<u8>) -> Result<Vec<u8>, Error> {
///         Ok(encoded.into_iter().map(|byte| byte ^ self.0).collect())
///     }
///     fn decode(&self, encoded: &[u8]) -> Result<Decoded, CodecError> {
///         Json.decode(encoded)
///     }
///     fn encode(
///         &self,
///         deadline: DateTime<Utc>,
///         values: &mut dyn Iterator<Item = (&str, &[u8])>,
///     ) -> Result<Vec<u8>, CodecError> {
///         Json.encode(deadline, values)
///     }
///     fn decode_value<T: DeserializeOwned>(&self, value: &[u8]) -> Result<T, CodecError> {
///         Json.decode_value(value)
///     }
///     fn encode_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
///         Json.encode_value(value)
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
    /// Returns what [`decode`](Self::decode) reads, from the bytes that the store has in a row: the
    /// same bytes, if the format doesn't protect them.
    ///
    /// # Errors
    /// [`OpenError::Unreadable`] if they aren't what [`seal`](Self::seal) has made for this row, or
    /// never can be read again: the request gets a fresh session. [`OpenError::Unopened`] if
    /// another process may open them, or this one later: nothing takes the session's place.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{Codec, Json, Row};
    ///
    /// let row = Row::new("__Host-session", "a key");
    /// assert_eq!(Json.open(&row, b"{}").as_deref(), Ok(&b"{}"[..]));
    /// ```
    fn open<'d>(&self, row: &Row<'_>, data: &'d [u8]) -> Result<Cow<'d, [u8]>, OpenError>;

    /// Returns the bytes that the store gets in a row, from what [`encode`](Self::encode) has
    /// returned: the same, if the format doesn't protect them. It is called for each write. A
    /// session that gets a new token is another row.
    ///
    /// # Errors
    /// [`Error::Randomness`], if it takes some.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{Codec, Json, Row};
    ///
    /// let row = Row::new("__Host-session", "a key");
    /// assert_eq!(Json.seal(&row, b"{}".to_vec())?, b"{}");
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    fn seal(&self, row: &Row<'_>, encoded: Vec<u8>) -> Result<Vec<u8>, Error>;

    /// Finds the deadline, and where each value is, in encoded bytes.
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
    fn decode(&self, encoded: &[u8]) -> Result<Decoded, CodecError>;

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

/// Where the store has a session: what a [`Codec`] may bind the bytes to, so that a copy of them
/// elsewhere is worth nothing.
///
/// # Examples
/// ```
/// use session_manager::Row;
///
/// let row = Row::new("__Host-session", "a key");
/// assert_eq!((row.cookie_name(), row.key()), ("__Host-session", "a key"));
/// ```
#[derive(Clone, Copy)]
pub struct Row<'a> {
    cookie_name: &'a str,
    key: &'a str,
}

impl<'a> Row<'a> {
    /// The row of a manager's session with this key. Only tests make one.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{Codec, Json, Row};
    ///
    /// let row = Row::new("__Host-session", "a key");
    /// assert_eq!(Json.seal(&row, Vec::new())?, b"");
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn new(cookie_name: &'a str, key: &'a str) -> Self {
        Self { cookie_name, key }
    }

    /// Returns the name of the manager's cookie, which has no NUL in it.
    ///
    /// # Examples
    /// ```
    /// use session_manager::Row;
    ///
    /// assert_eq!(Row::new("__Host-session", "a key").cookie_name(), "__Host-session");
    /// ```
    #[must_use]
    pub fn cookie_name(&self) -> &'a str {
        self.cookie_name
    }

    /// Returns the session's key in the store, which may be the token itself: see
    /// [`SessionKey::as_str`](crate::SessionKey::as_str).
    ///
    /// # Examples
    /// ```
    /// use session_manager::Row;
    ///
    /// assert_eq!(Row::new("__Host-session", "a key").key(), "a key");
    /// ```
    #[must_use]
    pub fn key(&self) -> &'a str {
        self.key
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key may be a token.
        f.debug_struct("Row").field("cookie_name", &self.cookie_name).finish_non_exhaustive()
    }
}

/// Returns what a codec has opened, unless that is the stored bytes themselves.
pub(crate) fn unless_same(opened: Cow<'_, [u8]>, data: &[u8]) -> Option<Vec<u8>> {
    match opened {
        Cow::Borrowed(same) if ptr::eq(same, data) => None,
        opened => Some(opened.into_owned()),
    }
}

/// What a [`Codec`] finds in encoded bytes.
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

/// Why a [`Codec`] doesn't open a row.
///
/// # Examples
/// ```
/// use session_manager::{OpenError, Unopened};
///
/// let error = OpenError::Unopened(Unopened::UnknownKey { id: 7 });
/// assert_eq!(error.to_string(), "no key here has the id 7");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The bytes aren't what this manager has written there. The session is reported as
    /// [undecodable](crate::EventKind::Undecodable), and the request gets a fresh one.
    Unreadable,
    /// Others may be able to read them: see [`Unopened`].
    Unopened(Unopened),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("not what was written there"),
            Self::Unopened(unopened) => unopened.fmt(f),
        }
    }
}

impl StdError for OpenError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_of_the_stored_bytes_is_not_the_same() {
        let data = b"data";
        assert_eq!(unless_same(Cow::Borrowed(&data[..]), data), None);
        for part in [&data[1..], &data[..3]] {
            assert_eq!(unless_same(Cow::Borrowed(part), data), Some(part.to_vec()));
        }
    }
}

//! Sessions that are encrypted and authenticated in the store.

pub(crate) mod key;

pub(crate) mod key_error;

pub(crate) mod key_ring;

mod cipher;

mod row_form;

pub(crate) mod reseal;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::sealed::key_ring::KeyRing;
use crate::codec::sealed::row_form::{Form, seal};
use crate::codec::{Codec, CodecError, Decoded, OpenError, Row, unless_same};
use crate::error::Error;
use crate::unopened::Unopened;

/// Seals what another codec writes: encrypted, so that a copy of the store shows no values, and
/// authenticated together with its place, so that nobody who can write to the store can change a
/// session, or copy one to another key or to another application's table.
///
/// It is AES-256-GCM-SIV with a random nonce for each write, and adds 34 bytes. The key that
/// seals is the [ring's](KeyRing); all its keys open. A session that is sealed with another key
/// than the one that seals gets that one at its next write, or by
/// [`reseal_all`](crate::SessionManager::reseal_all).
///
/// The [guide](crate::guide::encryption) says what is protected and what isn't, how keys are made,
/// and how to turn this on, and to change keys, in several processes one after the other.
///
/// # Examples
/// ```
/// use session_manager::{Json, KeyRing, Sealed, SecretKey, SessionManager};
/// use store_core::{MemoryStore, Store};
///
/// let key = SecretKey::from_base64("c2Vzc2lvbi1tYW5hZ2VyIGRvY3Mga2V5LCBpbnNlYyE=")?;
/// let codec = Sealed::new(Json, KeyRing::new(1, key));
/// let store = std::sync::Arc::new(MemoryStore::new()?);
/// let sessions = SessionManager::new(store.clone()).with_codec(codec);
///
/// let mut session = sessions.load([])?;
/// session.insert("name", "Ada")?;
/// session.finish()?;
/// for (_, data) in store.all()? {
///     assert!(!data.windows(3).any(|window| window == b"Ada"));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Sealed<C> {
    codec: C,
    keys: KeyRing,
    plain: Plain,
}

/// What is done with sessions that aren't sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plain {
    Refused,
    Opened,
    Written,
}

impl<C: Codec> Sealed<C> {
    /// Seals what `codec` writes. A session that isn't sealed is refused: anybody who can write to
    /// the store could have put it there.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{Json, KeyRing, Sealed, SecretKey};
    ///
    /// let key = SecretKey::from_bytes(&[7; 32])?; // 32 random bytes in fact
    /// let codec = Sealed::new(Json, KeyRing::new(1, key));
    /// assert!(!format!("{codec:?}").contains("7, 7"));
    /// # Ok::<(), session_manager::KeyError>(())
    /// ```
    #[must_use]
    pub fn new(codec: C, keys: KeyRing) -> Self {
        Self { codec, keys, plain: Plain::Refused }
    }

    /// Also opens sessions that aren't sealed, and seals them at their next write: until all are
    /// sealed, after sealing was turned on.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::{KeyRing, SecretKey};
    /// use session_manager::{Codec, Json, Row, Sealed};
    ///
    /// # let keys = KeyRing::new(1, SecretKey::from_bytes(&[7; 32])?);
    /// let codec = Sealed::new(Json, keys).with_plain_opened();
    /// let row = Row::new("__Host-session", "key");
    /// assert!(codec.open(&row, b"{}").is_ok());
    /// assert_ne!(codec.seal(&row, b"{}".to_vec()).ok().as_deref(), Some(&b"{}"[..]));
    /// # Ok::<(), session_manager::KeyError>(())
    /// ```
    #[must_use]
    pub fn with_plain_opened(mut self) -> Self {
        self.plain = Plain::Opened;
        self
    }

    /// Opens sessions whether they are sealed or not, and writes them without sealing: in all
    /// processes before the first one seals, and in all before the last key goes, to turn sealing
    /// off.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::{KeyRing, SecretKey};
    /// use session_manager::{Codec, Json, Row, Sealed};
    ///
    /// # let keys = KeyRing::new(1, SecretKey::from_bytes(&[7; 32])?);
    /// let codec = Sealed::new(Json, keys).with_plain_written();
    /// let row = Row::new("__Host-session", "key");
    /// assert!(codec.open(&row, b"{}").is_ok());
    /// assert_eq!(codec.seal(&row, b"{}".to_vec()).ok().as_deref(), Some(&b"{}"[..]));
    /// # Ok::<(), session_manager::KeyError>(())
    /// ```
    #[must_use]
    pub fn with_plain_written(mut self) -> Self {
        self.plain = Plain::Written;
        self
    }

    /// Returns whether stored bytes are in the form that a write would give them.
    fn is_current(&self, data: &[u8]) -> bool {
        match (Form::of(data), self.plain) {
            (Form::Plain, plain) => plain == Plain::Written,
            (Form::Sealed(sealed), Plain::Refused | Plain::Opened) => {
                sealed.key_id() == self.keys.sealing().0
            }
            (Form::Sealed(_) | Form::NewerVersion(_) | Form::Damaged, _) => false,
        }
    }
}

impl<C: Codec> Codec for Sealed<C> {
    fn open<'d>(&self, row: &Row<'_>, data: &'d [u8]) -> Result<Cow<'d, [u8]>, OpenError> {
        let opened = match Form::of(data) {
            Form::Plain if self.plain != Plain::Refused => Cow::Borrowed(data),
            Form::Plain | Form::Damaged => return Err(OpenError::Unreadable),
            Form::NewerVersion(version) => {
                return Err(OpenError::Unopened(Unopened::NewerVersion { version }));
            }
            Form::Sealed(sealed) => {
                let cipher = self.keys.opening(sealed.key_id())?;
                Cow::Owned(sealed.open(cipher, row).ok_or(OpenError::Unreadable)?)
            }
        };
        // The other codec may protect the bytes in its own way.
        Ok(match opened {
            Cow::Borrowed(data) => self.codec.open(row, data)?,
            Cow::Owned(data) => {
                let opened = unless_same(self.codec.open(row, &data)?, &data);
                Cow::Owned(opened.unwrap_or(data))
            }
        })
    }

    fn seal(&self, row: &Row<'_>, encoded: Vec<u8>) -> Result<Vec<u8>, Error> {
        let encoded = self.codec.seal(row, encoded)?;
        if self.plain == Plain::Written {
            return Ok(encoded);
        }
        let mut nonce = [0; cipher::NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(Error::Randomness)?;
        let (id, cipher) = self.keys.sealing();
        seal(id, cipher, &nonce, row, &encoded)
            .ok_or(Error::unencodable::<Self>("(the whole session)"))
    }

    fn decode(&self, encoded: &[u8]) -> Result<Decoded, CodecError> {
        self.codec.decode(encoded)
    }

    fn encode(
        &self,
        deadline: DateTime<Utc>,
        values: &mut dyn Iterator<Item = (&str, &[u8])>,
    ) -> Result<Vec<u8>, CodecError> {
        self.codec.encode(deadline, values)
    }

    fn decode_value<T: DeserializeOwned>(&self, value: &[u8]) -> Result<T, CodecError> {
        self.codec.decode_value(value)
    }

    fn encode_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        self.codec.encode_value(value)
    }
}

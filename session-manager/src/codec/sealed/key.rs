//! A secret key.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::codec::sealed::key_error::{KeyError, read_file};

/// The length of every key, in bytes.
pub(crate) const KEY_LEN: usize = 32;

/// A secret of 32 random bytes, for a [`KeyRing`](crate::KeyRing) or for
/// [hashed subjects](crate::SessionManager::with_hashed_subjects).
///
/// `openssl rand -base64 32` makes one. Its `Debug` output doesn't show it, and its memory is
/// overwritten when it is dropped; what it was made from is the caller's.
///
/// # Examples
/// ```
/// use session_manager::{KeyError, SecretKey};
///
/// assert!(SecretKey::from_base64("c2Vzc2lvbi1tYW5hZ2VyIGRvY3Mga2V5LCBpbnNlYyE=").is_ok());
/// let short = SecretKey::from_bytes(b"a password");
/// assert!(matches!(short, Err(KeyError::InvalidLength { len: 10 })));
/// ```
// In a box, so that moving it leaves no copy behind.
#[derive(Clone)]
pub struct SecretKey(Box<Zeroizing<[u8; KEY_LEN]>>);

impl SecretKey {
    /// Returns the key with these bytes.
    ///
    /// # Errors
    /// [`KeyError::InvalidLength`] unless there are 32.
    ///
    /// # Examples
    /// ```
    /// use session_manager::SecretKey;
    ///
    /// let from_a_vault = vec![7; 32];
    /// let key = SecretKey::from_bytes(&from_a_vault)?;
    /// assert_eq!(format!("{key:?}"), "SecretKey(…)");
    /// # Ok::<(), session_manager::KeyError>(())
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let mut key = Box::new(Zeroizing::new([0; KEY_LEN]));
        if bytes.len() != KEY_LEN {
            return Err(KeyError::InvalidLength { len: bytes.len() });
        }
        key.copy_from_slice(bytes);
        Ok(Self(key))
    }

    /// Returns the key in a text: base64, as `openssl rand -base64 32` prints it. White space
    /// around it is ignored.
    ///
    /// # Errors
    /// [`KeyError::InvalidBase64`]; [`KeyError::InvalidLength`] unless it has 32 bytes.
    ///
    /// # Examples
    /// ```
    /// use session_manager::SecretKey;
    ///
    /// let key = SecretKey::from_base64("c2Vzc2lvbi1tYW5hZ2VyIGRvY3Mga2V5LCBpbnNlYyE=\n")?;
    /// # Ok::<(), session_manager::KeyError>(())
    /// ```
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let bytes = BASE64_STANDARD.decode(text.trim()).map(Zeroizing::new);
        Self::from_bytes(&bytes.map_err(|_| KeyError::InvalidBase64)?)
    }

    /// Returns the key in a file, as [`from_base64`](Self::from_base64) reads it.
    ///
    /// # Errors
    /// [`KeyError::File`], and those of [`from_base64`](Self::from_base64).
    ///
    /// # Examples
    /// ```
    /// use session_manager::{KeyError, SecretKey};
    ///
    /// let key = SecretKey::from_file("no such file");
    /// assert!(matches!(key, Err(KeyError::File { .. })));
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        Self::from_base64(&read_file(path.as_ref())?)
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

//! The keys that seal and open sessions.

use std::fmt;
use std::path::Path;

use crate::codec::OpenError;
use crate::codec::sealed::cipher::Cipher;
use crate::codec::sealed::key::SecretKey;
use crate::codec::sealed::key_error::{KeyError, read_file};
use crate::unopened::Unopened;

/// Keys with ids: one seals, all open.
///
/// A key's id stands in each session that is sealed with it, so it is never used again for another
/// key. Its `Debug` output shows the ids alone.
///
/// # Examples
/// The second step of a change of keys: the new one seals, and the old one still opens.
/// ```
/// use session_manager::{KeyRing, SecretKey};
///
/// # let (new, old) = (SecretKey::from_bytes(&[2; 32])?, SecretKey::from_bytes(&[1; 32])?);
/// let keys = KeyRing::new(2, new).with_key(1, old)?;
/// assert_eq!(format!("{keys:?}"), "KeyRing { sealing: 2, opening: [1], lost: [] }");
/// # Ok::<(), session_manager::KeyError>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    sealing: (u32, Cipher),
    /// Those that only open.
    opening: Vec<(u32, Cipher)>,
    lost: Vec<u32>,
}

impl KeyRing {
    /// Returns a ring with one key, which seals and opens.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{KeyRing, SecretKey};
    ///
    /// let key = SecretKey::from_base64("c2Vzc2lvbi1tYW5hZ2VyIGRvY3Mga2V5LCBpbnNlYyE=")?;
    /// let keys = KeyRing::new(1, key);
    /// # Ok::<(), session_manager::KeyError>(())
    /// ```
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the key is overwritten when dropped")]
    pub fn new(id: u32, key: SecretKey) -> Self {
        Self { sealing: (id, Cipher::new(&key)), opening: Vec::new(), lost: Vec::new() }
    }

    /// Adds a key that only opens: an older one, or one with which other processes seal already.
    ///
    /// # Errors
    /// [`KeyError::DuplicateId`].
    ///
    /// # Examples
    /// ```
    /// use session_manager::{KeyError, KeyRing, SecretKey};
    ///
    /// let key = SecretKey::from_bytes(&[7; 32])?;
    /// let keys = KeyRing::new(1, key.clone()).with_key(2, key.clone())?;
    /// assert!(matches!(keys.with_key(1, key), Err(KeyError::DuplicateId { id: 1 })));
    /// # Ok::<(), KeyError>(())
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "the key is overwritten when dropped")]
    pub fn with_key(mut self, id: u32, key: SecretKey) -> Result<Self, KeyError> {
        self.check_new(id)?;
        self.opening.push((id, Cipher::new(&key)));
        Ok(self)
    }

    /// Says that nobody has the key with this id anymore. What is sealed with it then counts as
    /// undecodable, and its visitors get fresh sessions. Without this, nothing takes the place of a
    /// session that only others may be able to open: see [`Unopened`].
    ///
    /// # Errors
    /// [`KeyError::DuplicateId`] if the ring has the key.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{KeyRing, SecretKey};
    ///
    /// let key = SecretKey::from_bytes(&[7; 32])?;
    /// let keys = KeyRing::new(2, key).with_lost_key(1)?;
    /// # Ok::<(), session_manager::KeyError>(())
    /// ```
    pub fn with_lost_key(mut self, id: u32) -> Result<Self, KeyError> {
        self.check_new(id)?;
        self.lost.push(id);
        Ok(self)
    }

    /// Returns the ring in a text: a line for each key, with its id and the key in base64. The
    /// first one seals. An id with the word `lost` is that of a
    /// [lost key](Self::with_lost_key). Empty lines, and those that begin with `#`, are ignored.
    ///
    /// # Errors
    /// [`KeyError::NoKeys`], [`KeyError::DuplicateId`], [`KeyError::InvalidLine`].
    ///
    /// # Examples
    /// ```
    /// use session_manager::KeyRing;
    ///
    /// let keys = KeyRing::from_text(
    ///     "# The first one seals.
    ///      3 c2Vzc2lvbi1tYW5hZ2VyIGRvY3Mga2V5LCBpbnNlYyE=
    ///      2 YW5vdGhlciBvbmUsIHdoaWNoIGlzbid0IHNlY3JldCE=
    ///      1 lost",
    /// )?;
    /// assert_eq!(format!("{keys:?}"), "KeyRing { sealing: 3, opening: [2], lost: [1] }");
    /// # Ok::<(), session_manager::KeyError>(())
    /// ```
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let (mut ring, mut lost): (Option<Self>, Vec<u32>) = (None, Vec::new());
        for (line, content) in (1..).zip(text.lines().map(str::trim)) {
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let invalid = |source| KeyError::InvalidLine { line, source };
            let (id, key) = content.split_once(char::is_whitespace).ok_or_else(|| invalid(None))?;
            let id: u32 = id.parse().map_err(|_| invalid(None))?;
            if key.trim() == "lost" {
                lost.push(id);
                continue;
            }
            let key = SecretKey::from_base64(key);
            let key = key.map_err(|source| invalid(Some(Box::new(source))))?;
            ring = Some(match ring {
                None => Self::new(id, key),
                Some(ring) => ring.with_key(id, key)?,
            });
        }
        lost.into_iter().try_fold(ring.ok_or(KeyError::NoKeys)?, Self::with_lost_key)
    }

    /// Returns the ring in a file, as [`from_text`](Self::from_text) reads it. What is changed in
    /// the file later has no effect before it is read again.
    ///
    /// # Errors
    /// [`KeyError::File`], and those of [`from_text`](Self::from_text).
    ///
    /// # Examples
    /// ```
    /// use session_manager::{KeyError, KeyRing};
    ///
    /// let keys = KeyRing::from_file("no such file");
    /// assert!(matches!(keys, Err(KeyError::File { .. })));
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        Self::from_text(&read_file(path.as_ref())?)
    }

    fn check_new(&self, id: u32) -> Result<(), KeyError> {
        let mut ids = self.keys().map(|(id, _)| id).chain(&self.lost);
        if ids.any(|own| *own == id) { Err(KeyError::DuplicateId { id }) } else { Ok(()) }
    }

    fn keys(&self) -> impl Iterator<Item = &(u32, Cipher)> {
        std::iter::once(&self.sealing).chain(&self.opening)
    }

    /// Returns the key that seals, and its id.
    pub(super) fn sealing(&self) -> (u32, &Cipher) {
        (self.sealing.0, &self.sealing.1)
    }

    /// Returns the key that opens what is sealed with this one.
    pub(super) fn opening(&self, id: u32) -> Result<&Cipher, OpenError> {
        match self.keys().find(|(own, _)| *own == id) {
            Some((_, key)) => Ok(key),
            None if self.lost.contains(&id) => Err(OpenError::Unreadable),
            None => Err(OpenError::Unopened(Unopened::UnknownKey { id })),
        }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opening: Vec<_> = self.opening.iter().map(|(id, _)| id).collect();
        f.debug_struct("KeyRing")
            .field("sealing", &self.sealing.0)
            .field("opening", &opening)
            .field("lost", &self.lost)
            .finish()
    }
}

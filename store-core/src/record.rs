//! Sessions as a store returns them.

use std::fmt;

use chrono::{DateTime, Utc};

#[cfg(doc)]
use crate::Store;

/// What [`Store::load`] knows of a token.
///
/// Its `Debug` output shows neither token nor data.
///
/// # Examples
/// ```
/// use chrono::{TimeDelta, Utc};
/// use store_core::{Change, Loaded, MemoryStore, Rotation, Store};
///
/// let store = MemoryStore::new()?;
/// let expiry = Utc::now() + TimeDelta::hours(1);
/// store.create("old", b"data", expiry, None)?;
/// assert!(matches!(store.load("old")?, Loaded::Live { .. }));
///
/// let rotation = Rotation::new("new").old_token_opens();
/// store.update("old", b"data", &Change::new(b"data", expiry).with_rotation(rotation))?;
/// match store.load("old")? {
///     Loaded::Rotated { token, opens } => assert!(token == "new" && opens),
///     other => panic!("it was rotated a moment ago: {other:?}"),
/// }
/// # Ok::<(), store_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum Loaded {
    /// The session is live under this token.
    Live {
        /// Its data.
        data: Vec<u8>,
        /// Its expiry, as stored.
        expiry: DateTime<Utc>,
    },
    /// The session was rotated within the grace, and is live under a newer token.
    Rotated {
        /// The newest token.
        token: String,
        /// Whether the old token may still open the session.
        opens: bool,
    },
    /// The token names no session.
    Missing,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live { data, expiry } => f
                .debug_struct("Live")
                .field("data_len", &data.len())
                .field("expiry", expiry)
                .finish_non_exhaustive(),
            Self::Rotated { opens, .. } => {
                f.debug_struct("Rotated").field("opens", opens).finish_non_exhaustive()
            }
            Self::Missing => f.write_str("Missing"),
        }
    }
}

/// A live session, as [`Store::find_by_subject`] returns it.
///
/// Its `Debug` output shows the size of the data and the expiry, never the token or the data.
///
/// # Examples
/// ```
/// use store_core::OwnedRecord;
///
/// let record = OwnedRecord::new("secret", *b"data", chrono::DateTime::UNIX_EPOCH);
/// assert_eq!(record.data.len(), 4);
/// assert!(!format!("{record:?}").contains("secret"));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedRecord {
    /// The token under which the session is stored.
    pub token: String,
    /// The session's data.
    pub data: Vec<u8>,
    /// When the session expires, as stored.
    pub expiry: DateTime<Utc>,
}

impl OwnedRecord {
    /// A record of a session; stores call this.
    ///
    /// # Examples
    /// ```
    /// use store_core::OwnedRecord;
    ///
    /// let record = OwnedRecord::new("token", *b"data", chrono::DateTime::UNIX_EPOCH);
    /// assert_eq!(record.token, "token");
    /// ```
    #[must_use]
    pub fn new(token: impl Into<String>, data: impl Into<Vec<u8>>, expiry: DateTime<Utc>) -> Self {
        Self { token: token.into(), data: data.into(), expiry }
    }
}

impl fmt::Debug for OwnedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedRecord")
            .field("data_len", &self.data.len())
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

/// A live session, as [`Store::for_each`] shows it.
///
/// Its `Debug` output shows the size of the data and the expiry, never the token or the data.
///
/// # Examples
/// ```
/// use store_core::Record;
///
/// let record = Record::new("secret", b"data", chrono::DateTime::UNIX_EPOCH);
/// assert_eq!(record.data.len(), 4);
/// assert!(!format!("{record:?}").contains("secret"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// The token under which the session is stored.
    pub token: &'a str,
    /// The session's data.
    pub data: &'a [u8],
    /// When the session expires, as stored.
    pub expiry: DateTime<Utc>,
}

impl<'a> Record<'a> {
    /// A record for a visitor; stores call this.
    ///
    /// # Examples
    /// ```
    /// use store_core::Record;
    ///
    /// let record = Record::new("token", b"data", chrono::DateTime::UNIX_EPOCH);
    /// assert_eq!(record.data, b"data");
    /// ```
    #[must_use]
    pub fn new(token: &'a str, data: &'a [u8], expiry: DateTime<Utc>) -> Self {
        Self { token, data, expiry }
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("data_len", &self.data.len())
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

//! The trait that every store implements and that applications and the session manager call.

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::Error;

/// A synchronous store of HTTP sessions.
///
/// A *token* names a session; whether it is the cookie's value or its hash is the caller's business.
/// *Data* is an opaque byte string. A session is *live* while `now < expiry`, and one clock, which the
/// store's documentation names, decides what now is.
///
/// The trait is object-safe, and `&S`, `Box<S>` and `Arc<S>` of a store are stores, so an application
/// can hold an `Arc<dyn Store>` and choose the database at run time.
///
/// # What implementers owe
/// Every operation is atomic, and one that returned before another began is seen by it, from every
/// thread and, where the database is shared, from every process. Contention is waited out or retried
/// inside the store up to a stated limit. Nothing is truncated, rounded up or wrapped. No error, log
/// line or `Debug` output contains a token or data. The [conformance kit](crate#the-conformance-kit)
/// tests these promises, and says which it leaves to the backend's own tests.
///
/// # Examples
/// ```
/// use chrono::{TimeDelta, Utc};
/// use store_core::{MemoryStore, Store};
///
/// let store = MemoryStore::new()?;
/// store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
/// assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
///
/// store.delete("token")?;
/// assert_eq!(store.find("token")?, None);
/// # Ok::<(), store_core::Error>(())
/// ```
pub trait Store: Send + Sync {
    /// Gives the data of a live session.
    ///
    /// A token that was never written, was deleted, has expired, is malformed, empty or longer than
    /// the store can hold gives `None`. Nothing is written.
    ///
    /// # Errors
    /// Only for faults of the system: the database or its pool.
    #[doc(alias = "Find")]
    #[doc(alias = "load")]
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.find_with_expiry(token)?.map(|(data, _)| data))
    }

    /// As [`find`](Self::find), with the expiry as it is stored: what a session manager needs to know whether
    /// an idle timeout has to be moved.
    ///
    /// # Errors
    /// Only for faults of the system: the database or its pool.
    fn find_with_expiry(&self, token: &str) -> Result<Option<(Vec<u8>, DateTime<Utc>)>, Error>;

    /// Creates the session, or overwrites its data *and* expiry, also where it had expired.
    ///
    /// An expiry in the past leaves nothing findable. The stored expiry is never later than the given
    /// one and at most 1 ms earlier.
    ///
    /// An upsert can bring back a session that another request destroyed meanwhile; a writer that read
    /// the session before uses [`replace`](Self::replace).
    ///
    /// # Errors
    /// [`Error::InvalidToken`], [`Error::DataTooLarge`] and [`Error::ExpiryOutOfRange`] for what the
    /// store can't keep unchanged; what was stored before is still there. Otherwise faults of the
    /// system.
    #[doc(alias = "Save")]
    #[doc(alias = "Commit")]
    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error>;

    /// Compare-and-swap: writes data and expiry only if the session is live and its data is exactly
    /// `current`, and says whether it did.
    ///
    /// Of several that race from the same `current`, exactly one gets `true`. It never creates a
    /// session and never revives one that was deleted, renamed or has expired. Writing the same bytes
    /// with the same expiry is still `true`.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit), except that a token that no session could have is `false`.
    #[doc(alias = "compare_and_swap")]
    fn replace(
        &self,
        token: &str,
        current: &[u8],
        data: &[u8],
        expiry: DateTime<Utc>,
    ) -> Result<bool, Error>;

    /// Moves the expiry of a live session, leaves its data alone, and says whether it did.
    ///
    /// It never creates or revives a session.
    ///
    /// # Errors
    /// [`Error::ExpiryOutOfRange`]; otherwise faults of the system.
    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error>;

    /// Moves a live session to a new token in one atomic step, and says whether it did.
    ///
    /// Data and expiry stay as they are. At no moment do both tokens, or neither, find the session.
    /// A missing or expired session is `false`, whatever the new token names; a session renamed to the
    /// token that it has stays as it is, which is `true`.
    ///
    /// # Errors
    /// [`Error::TokenTaken`] where the new token names a live session: both stay as they were.
    /// [`Error::InvalidToken`] where the store can't hold the new token. Otherwise faults of the system.
    #[doc(alias = "RenewToken")]
    fn rename(&self, token: &str, new_token: &str) -> Result<bool, Error>;

    /// Removes the session; a missing one is no error.
    ///
    /// After it returns, no [`find`](Self::find) begun later finds the session.
    ///
    /// # Errors
    /// Only for faults of the system.
    #[doc(alias = "Delete")]
    fn delete(&self, token: &str) -> Result<(), Error>;

    /// Removes every session that has expired, in bounded batches that give way to other callers, and
    /// says how many it removed. It never removes a live one.
    ///
    /// The cleanup thread does the same in the background; call this to do it at a moment of your own.
    ///
    /// # Errors
    /// Only for faults of the system; the batches before the fault stay removed.
    #[doc(alias = "deleteExpired")]
    fn delete_expired(&self) -> Result<u64, Error>;

    /// Visits the live sessions, in no particular order, until the visitor breaks off.
    ///
    /// Every session that is live throughout the walk is visited exactly once; one that comes or goes
    /// meanwhile may be visited or not. (A token that is deleted and committed again is another session.) The walk needs memory for a page, not for the table, and holds no lock
    /// while the visitor runs, which may itself call the store.
    ///
    /// # Errors
    /// Only for faults of the system; the visitor has seen what it has seen.
    ///
    /// # Examples
    /// ```
    /// use std::ops::ControlFlow;
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    ///
    /// let mut bytes = 0;
    /// store.for_each(&mut |record| {
    ///     bytes += record.data.len();
    ///     ControlFlow::Continue(())
    /// })?;
    /// assert_eq!(bytes, 4);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[doc(alias = "Iterate")]
    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error>;

    /// Collects the live sessions into a map from token to data.
    ///
    /// This needs memory for all of them; [`for_each`](Self::for_each) doesn't.
    ///
    /// # Errors
    /// As for [`for_each`](Self::for_each).
    #[doc(alias = "All")]
    fn all(&self) -> Result<HashMap<String, Vec<u8>>, Error> {
        let mut sessions = HashMap::new();
        self.for_each(&mut |record| {
            sessions.insert(record.token.to_owned(), record.data.to_owned());
            ControlFlow::Continue(())
        })?;
        Ok(sessions)
    }
}

/// A store that can also tell which sessions belong to a subject: the id of a user, say.
///
/// The index stands beside the sessions, whose table stays as it is. It is kept true by `delete`, `rename` and
/// the cleanup, also where other programs, which know nothing of it, delete sessions: what it says of a session
/// that isn't live is never seen, and swept away. A session that another program renames drops out of it.
///
/// # Examples
/// ```
/// use chrono::{TimeDelta, Utc};
/// use store_core::{MemoryStore, Store, SubjectStore};
///
/// let store = MemoryStore::new()?;
/// for token in ["phone", "laptop"] {
///     store.commit(token, b"data", Utc::now() + TimeDelta::hours(1))?;
///     assert!(store.set_subject(token, Some("user 7"))?);
/// }
/// assert_eq!(store.find_by_subject("user 7")?.len(), 2);
///
/// assert_eq!(store.delete_by_subject("user 7", Some("laptop"))?, 1);
/// assert_eq!(store.find_by_subject("user 7")?, ["laptop"]);
/// # Ok::<(), store_core::Error>(())
/// ```
pub trait SubjectStore: Store {
    /// Ties a live session to a subject, or unties it, and says whether the session is live. `commit`, `replace`
    /// and `touch` leave the tie alone. A session has at most one subject, of at most [`MAX_SUBJECT_LEN`] bytes, which are compared byte for byte.
    ///
    /// # Errors
    /// [`Error::InvalidSubject`] for a subject that is empty or too long. Otherwise faults of the system.
    fn set_subject(&self, token: &str, subject: Option<&str>) -> Result<bool, Error>;

    /// The tokens of a subject's live sessions, in no particular order.
    ///
    /// # Errors
    /// Only for faults of the system.
    fn find_by_subject(&self, subject: &str) -> Result<Vec<String>, Error>;

    /// Removes the live sessions of a subject, all but `except`, in one atomic step, and says how many.
    ///
    /// After it returns, none of them is found. A session that is tied to the subject while this runs may be
    /// removed or not.
    ///
    /// # Errors
    /// Only for faults of the system; then none is removed.
    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error>;
}

/// The longest subject, in bytes: what fits into an index of every database of the family.
pub const MAX_SUBJECT_LEN: usize = 255;

/// Refuses a subject that is empty or too long; stores call it before they write one.
///
/// # Errors
/// [`Error::InvalidSubject`].
pub fn check_subject(subject: &str) -> Result<(), Error> {
    match subject.len() {
        1..=MAX_SUBJECT_LEN => Ok(()),
        len => Err(Error::InvalidSubject { len, max: MAX_SUBJECT_LEN }),
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

/// Forwards every method, also the provided one, so that a store's own `all` is never bypassed.
macro_rules! forward_store {
    ($($pointer:ty),*) => {$(
        impl<S: Store + ?Sized> Store for $pointer {
            fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
                (**self).find(token)
            }

            fn find_with_expiry(
                &self,
                token: &str,
            ) -> Result<Option<(Vec<u8>, DateTime<Utc>)>, Error> {
                (**self).find_with_expiry(token)
            }

            fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
                (**self).commit(token, data, expiry)
            }

            fn replace(
                &self,
                token: &str,
                current: &[u8],
                data: &[u8],
                expiry: DateTime<Utc>,
            ) -> Result<bool, Error> {
                (**self).replace(token, current, data, expiry)
            }

            fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
                (**self).touch(token, expiry)
            }

            fn rename(&self, token: &str, new_token: &str) -> Result<bool, Error> {
                (**self).rename(token, new_token)
            }

            fn delete(&self, token: &str) -> Result<(), Error> {
                (**self).delete(token)
            }

            fn delete_expired(&self) -> Result<u64, Error> {
                (**self).delete_expired()
            }

            fn for_each(
                &self,
                visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
            ) -> Result<(), Error> {
                (**self).for_each(visit)
            }

            fn all(&self) -> Result<HashMap<String, Vec<u8>>, Error> {
                (**self).all()
            }
        }

        impl<S: SubjectStore + ?Sized> SubjectStore for $pointer {
            fn set_subject(&self, token: &str, subject: Option<&str>) -> Result<bool, Error> {
                (**self).set_subject(token, subject)
            }

            fn find_by_subject(&self, subject: &str) -> Result<Vec<String>, Error> {
                (**self).find_by_subject(subject)
            }

            fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
                (**self).delete_by_subject(subject, except)
            }
        }
    )*};
}

forward_store!(&S, Box<S>, Arc<S>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_boxes_and_arcs_of_stores_are_stores() {
        fn is_store<S: Store + ?Sized>() {}
        is_store::<dyn Store>();
        is_store::<&dyn Store>();
        is_store::<Box<dyn Store>>();
        is_store::<Arc<dyn Store>>();
        is_store::<&Arc<Box<dyn Store>>>();
        is_store::<Arc<dyn SubjectStore>>();
    }
}

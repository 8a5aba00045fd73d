//! The trait that every store implements and that applications and the session manager call.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, Utc};

#[cfg(doc)]
use crate::Rotation;
use crate::{Change, CleanupStatistics, Error, Loaded, OwnedRecord, Record};

/// A synchronous store of HTTP sessions.
///
/// A *token* names a session; whether it is the cookie's value or its hash is the caller's
/// business. *Data* is an opaque byte string. A session is *live* while `now < expiry`, and one
/// clock, which the store's documentation names, decides what now is. A *subject* is the id of the
/// user that a session belongs to. A *rotation* gives a live session a new token.
///
/// The trait is object-safe, and `&S`, `Box<S>` and `Arc<S>` of a store are stores, so an
/// application can hold an `Arc<dyn Store>` and choose the database at run time.
///
/// # Writing
/// [`update`](Self::update) is the one conditional write. All that a request does to its session
/// goes into one [`Change`], which happens as a whole or not at all. [`create`](Self::create) and
/// [`create_with`](Self::create_with) are its counterparts for a session that must be new.
/// [`commit`](Self::commit) is unconditional, for
/// applications that use a store without a manager, and for imports.
///
/// # What implementers owe
/// Every operation is atomic, and one that returned before another began is seen by it, from every
/// thread and, where the database is shared, from every process. Contention is waited out or
/// retried inside the store up to a stated limit. Nothing is truncated, rounded up or wrapped. No
/// error, log line or `Debug` output contains a token or data.
///
/// Next to the sessions a store keeps two indexes, which the Go stores of the same table don't
/// know:
/// - the subject of each session;
/// - for each rotation of the last seconds the old token, the newest token of the session, whether
///   the old one opens it, and the [window](Rotation::window) of the grace. A further rotation
///   leads all older tokens to the newest one, and so does a session that absorbs another with that
///   one's tokens. The cleanup removes what is past its window.
///
/// What they say of a token counts only while it names a live session. A token that names a live
/// session itself means that session, whatever is recorded of a rotation under it.
///
/// The conformance kit, the crate `store-conformance`, tests these promises, and says which it
/// leaves to the backend's own tests.
///
/// # Examples
/// ```
/// use chrono::{TimeDelta, Utc};
/// use store_core::{Change, MemoryStore, Store};
///
/// let store = MemoryStore::new()?;
/// let expiry = Utc::now() + TimeDelta::hours(1);
/// store.create("token", b"data", expiry, None)?;
/// assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
///
/// // Of two requests that read the same data, one writes and the other hears of it.
/// assert!(store.update("token", b"data", &Change::new(b"first", expiry))?);
/// assert!(!store.update("token", b"data", &Change::new(b"second", expiry))?);
///
/// store.delete("token")?;
/// assert_eq!(store.find("token")?, None);
/// # Ok::<(), store_core::Error>(())
/// ```
pub trait Store: Send + Sync {
    /// Returns the data of a live session.
    ///
    /// The result is `None` for a token that was never written, was deleted or rotated, has
    /// expired, is malformed, empty or longer than the store can hold. Nothing is written.
    ///
    /// # Errors
    /// Only for faults of the system: the database or its pool.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    /// assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
    /// assert_eq!(store.find("other")?, None);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[doc(alias = "Find")]
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(match self.load(token)? {
            Loaded::Live { data, .. } => Some(data),
            Loaded::Rotated { .. } | Loaded::Missing => None,
        })
    }

    /// Returns what a session manager needs to know of a token: the data and the expiry of the live
    /// session, or what has become of a token that was rotated within the grace.
    ///
    /// A live session takes one read. What [`find`](Self::find) returns `None` for is
    /// [`Loaded::Missing`], unless the session has a newer token, under which it is live.
    ///
    /// # Errors
    /// Only for faults of the system: the database or its pool.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{Loaded, MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    /// match store.load("token")? {
    ///     Loaded::Live { data, expiry } => assert!(data == b"data" && expiry > Utc::now()),
    ///     Loaded::Rotated { .. } | Loaded::Missing => panic!("it was just written"),
    /// }
    /// # Ok::<(), store_core::Error>(())
    /// ```
    fn load(&self, token: &str) -> Result<Loaded, Error>;

    /// Creates the session, or overwrites its data *and* expiry, also where it had expired. The
    /// subject of a live session stays.
    ///
    /// An expiry in the past leaves nothing findable. The stored expiry is never later than the
    /// given one and at most 1 ms earlier.
    ///
    /// This is unconditional: it can bring back a session that another request has ended. A writer
    /// that has read the session uses [`update`](Self::update).
    ///
    /// # Errors
    /// [`Error::InvalidToken`], [`Error::DataTooLarge`] and [`Error::ExpiryOutOfRange`] for what
    /// the store can't keep unchanged; what was stored before is still there. Otherwise faults of
    /// the system.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    /// store.commit("token", b"other", Utc::now() + TimeDelta::hours(2))?;
    /// assert_eq!(store.find("token")?.as_deref(), Some(&b"other"[..]));
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[doc(alias = "Save")]
    #[doc(alias = "Commit")]
    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error>;

    /// Creates a session that must be new, with its subject, in one atomic step.
    ///
    /// Of several callers that race with one token exactly one succeeds. An expired session under
    /// the token is replaced, and its subject with it. [`create_with`](Self::create_with) takes
    /// conditions, too.
    ///
    /// # Errors
    /// [`Error::TokenTaken`] where the token names a live session, which stays as it is. As for
    /// [`commit`](Self::commit), and [`Error::InvalidSubject`]. [`Error::TableMissing`] for a
    /// subject where there is no index of subjects; nothing is written then.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{Error, MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// let expiry = Utc::now() + TimeDelta::hours(1);
    /// store.create("token", b"data", expiry, Some("user 7"))?;
    /// let taken = store.create("token", b"other", expiry, None);
    /// assert!(matches!(taken, Err(Error::TokenTaken)));
    /// # Ok::<(), Error>(())
    /// ```
    fn create(
        &self,
        token: &str,
        data: &[u8],
        expiry: DateTime<Utc>,
        subject: Option<&str>,
    ) -> Result<(), Error> {
        // Without a condition nothing else is in the way.
        let change = Change::new(data, expiry).with_subject(subject);
        if self.create_with(token, &change)? { Ok(()) } else { Err(Error::TokenTaken) }
    }

    /// Creates a session that must be new, by all of `change` in one atomic step, if the change's
    /// conditions hold, and else does nothing; returns whether it did.
    ///
    /// It is [`create`](Self::create) for a change with conditions: it returns `false` where a
    /// session that the change absorbs isn't live, has other data, or has the token itself, and
    /// where the sessions of a subject [aren't those that are
    /// expected](Change::expecting_sessions_of).
    ///
    /// # Errors
    /// As for [`create`](Self::create), and [`Error::InvalidOption`] for a change with a rotation.
    ///
    /// # Examples
    /// A login without a session, where a user may have one session only.
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{Change, MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// let login = Change::new(b"data", Utc::now() + TimeDelta::hours(1))
    ///     .with_subject(Some("user 7"))
    ///     .expecting_sessions_of("user 7", []);
    /// assert!(store.create_with("phone", &login)?);
    /// assert!(!store.create_with("laptop", &login)?);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error>;

    /// Does all of `change` in one atomic step if the session is live and its data is exactly
    /// `current`, and else nothing; returns whether it did.
    ///
    /// Of several that race from the same `current`, exactly one gets `true`. It never creates a
    /// session and never revives one that was deleted, rotated or has expired. Writing the same
    /// bytes with the same expiry is still `true`. It is `false`, too, where a session that the
    /// change absorbs isn't live, has other data, or is the session itself, and where the sessions
    /// of a subject [aren't those that are expected](Change::expecting_sessions_of).
    ///
    /// After it returns, fails, or the process is killed inside it, either everything of the change
    /// holds or nothing does. A session that is rotated to the token that it has is not rotated.
    ///
    /// # Errors
    /// [`Error::TokenTaken`] where the new token names another live session: everything stays as it
    /// was. As for [`commit`](Self::commit) and [`create`](Self::create), except that a token that
    /// no session could have is `false`.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{Change, MemoryStore, Rotation, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// let expiry = Utc::now() + TimeDelta::hours(1);
    /// store.create("token", b"data", expiry, None)?;
    ///
    /// let login = Change::new(b"user 7", expiry).with_rotation(Rotation::new("new token"));
    /// assert!(store.update("token", b"data", &login)?);
    /// assert!(!store.update("token", b"data", &login)?, "the session has another token by now");
    /// assert!(store.find("new token")?.is_some());
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[doc(alias = "compare_and_swap")]
    #[doc(alias = "replace")]
    #[doc(alias = "rename")]
    #[doc(alias = "RenewToken")]
    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error>;

    /// Moves the expiry of a live session, leaves its data alone, and returns whether it did.
    ///
    /// It never creates or revives a session.
    ///
    /// # Errors
    /// [`Error::ExpiryOutOfRange`]; otherwise faults of the system.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    /// assert!(store.touch("token", Utc::now() + TimeDelta::hours(2))?);
    /// assert!(!store.touch("other", Utc::now() + TimeDelta::hours(2))?);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error>;

    /// Ends the session; a missing one is no error.
    ///
    /// A session that was rotated or absorbed within the grace ends under its newest token, so a
    /// logout is final also where it meets a rotation or a merge. After it returns, no
    /// [`find`](Self::find) begun later finds the session.
    ///
    /// # Errors
    /// Only for faults of the system.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    /// store.delete("token")?;
    /// store.delete("token")?; // harmless
    /// assert_eq!(store.find("token")?, None);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[doc(alias = "Delete")]
    fn delete(&self, token: &str) -> Result<(), Error>;

    /// Returns the live sessions of a subject, in no particular order, from one consistent read.
    ///
    /// Subjects are compared byte for byte.
    ///
    /// # Errors
    /// [`Error::TableMissing`] where there is no index of subjects. Otherwise faults of the system.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// let expiry = Utc::now() + TimeDelta::hours(1);
    /// store.create("phone", b"data", expiry, Some("user 7"))?;
    /// store.create("laptop", b"data", expiry, Some("user 7"))?;
    /// assert_eq!(store.find_by_subject("user 7")?.len(), 2);
    ///
    /// assert_eq!(store.delete_by_subject("user 7", Some("laptop"))?, 1);
    /// assert_eq!(store.find_by_subject("user 7")?[0].token, "laptop");
    /// # Ok::<(), store_core::Error>(())
    /// ```
    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error>;

    /// Returns the subject of a live session, or `None` where it has none, where there is no such
    /// session, and where there is no index of subjects.
    ///
    /// What copies or moves sessions needs it; an application knows whose its sessions are.
    ///
    /// # Errors
    /// Only for faults of the system.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// let expiry = Utc::now() + TimeDelta::hours(1);
    /// store.create("phone", b"data", expiry, Some("user 7"))?;
    /// assert_eq!(store.subject_of("phone")?.as_deref(), Some("user 7"));
    /// assert_eq!(store.subject_of("laptop")?, None);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    fn subject_of(&self, token: &str) -> Result<Option<String>, Error>;

    /// Ends the live sessions of a subject, all but `except`, in one atomic step, and returns how
    /// many.
    ///
    /// Where `except` was rotated within the grace, the session is left under its newest token.
    /// After it returns, none of the others is found. A session that gets the subject while this
    /// runs may end or not.
    ///
    /// # Errors
    /// [`Error::TableMissing`] where there is no index of subjects. Otherwise faults of the system;
    /// then none has ended.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// let expiry = Utc::now() + TimeDelta::hours(1);
    /// for token in ["phone", "laptop", "tablet"] {
    ///     store.create(token, b"data", expiry, Some("user 7"))?;
    /// }
    /// assert_eq!(store.delete_by_subject("user 7", Some("phone"))?, 2);
    /// assert!(store.find("phone")?.is_some());
    /// # Ok::<(), store_core::Error>(())
    /// ```
    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error>;

    /// Ends all sessions, whoever's they are, also those that the caller can't read, and returns
    /// how many rows that were, expired ones included: for an operator after a break-in.
    ///
    /// Of 1,000,000 sessions with users, on two cores: SQLite takes 0.2 s and redb 0.9 s, for which
    /// other writers wait; MariaDB takes 20 s, page by page, and others wait for less than 0.1 s.
    /// Sessions that begin meanwhile may be ended or not.
    ///
    /// # Errors
    /// Those of the [error type](Error) that concern the system. On a server, some sessions may
    /// have ended then.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    /// assert_eq!(store.delete_all()?, 1);
    /// assert_eq!(store.count()?, 0);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[doc(alias = "clear")]
    #[doc(alias = "truncate")]
    fn delete_all(&self) -> Result<u64, Error>;

    /// Removes every session that has expired, and what belongs to it, in bounded batches that give
    /// way to other callers; returns how many sessions it removed. It never removes a live one.
    ///
    /// The cleanup thread does the same in the background; call this to do it at a moment of your
    /// own.
    ///
    /// # Errors
    /// Only for faults of the system; the batches before the fault stay removed.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// store.commit("expired", b"data", Utc::now() - TimeDelta::hours(1))?;
    /// assert_eq!(store.delete_expired()?, 1);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[doc(alias = "deleteExpired")]
    fn delete_expired(&self) -> Result<u64, Error>;

    /// Visits the live sessions, in no particular order, until the visitor breaks off.
    ///
    /// Every session that is live throughout the walk is visited exactly once; one that comes or
    /// goes while the walk lasts may be visited or not. (A token that is deleted and committed
    /// again is another session.) The walk needs memory for a page, not for the table, and holds no
    /// lock while the visitor runs, which may itself call the store.
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
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    /// assert_eq!(store.all()?["token"], b"data");
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[doc(alias = "All")]
    fn all(&self) -> Result<HashMap<String, Vec<u8>>, Error> {
        let mut sessions = HashMap::new();
        self.for_each(&mut |record| {
            sessions.insert(record.token.to_owned(), record.data.to_owned());
            ControlFlow::Continue(())
        })?;
        Ok(sessions)
    }

    /// Returns how many sessions are live, without reading their data.
    ///
    /// # Errors
    /// Only for faults of the system.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// store.commit("live", b"data", Utc::now() + TimeDelta::hours(1))?;
    /// store.commit("expired", b"data", Utc::now() - TimeDelta::hours(1))?;
    /// assert_eq!(store.count()?, 1);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    fn count(&self) -> Result<u64, Error>;

    /// Returns the present instant by the clock that decides whether a session is live: that of the
    /// server, where there is one.
    ///
    /// An expiry that is to be some time away is counted from here. Another machine's clock may be
    /// minutes slow, by which a short session would never be live.
    ///
    /// # Examples
    /// ```
    /// use chrono::TimeDelta;
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// store.commit("token", b"data", store.now() + TimeDelta::minutes(15))?;
    /// # Ok::<(), store_core::Error>(())
    /// ```
    fn now(&self) -> DateTime<Utc>;

    /// Ends the cleanup thread and returns once it has ended. The store works on without it.
    ///
    /// It returns at once where there is no thread, may be called any number of times and from many
    /// threads at once, and wakes the thread instead of waiting for its next run. A run that is
    /// under way ends after its current batch. Dropping the last handle of the store does the same.
    ///
    /// # Examples
    /// ```
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// store.stop_cleanup();
    /// store.stop_cleanup(); // harmless
    /// assert_eq!(store.count()?, 0, "the store works on");
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[doc(alias = "StopCleanup")]
    fn stop_cleanup(&self);

    /// Returns what the cleanup thread has done so far.
    ///
    /// # Examples
    /// ```
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// assert_eq!(store.cleanup_statistics().runs, 0, "the first is five minutes away");
    /// # Ok::<(), store_core::Error>(())
    /// ```
    fn cleanup_statistics(&self) -> CleanupStatistics;
}

/// Forwards every method, also the provided ones, so that a store's own are never bypassed.
macro_rules! forward_store {
    ($($pointer:ty),*) => {$(
        impl<S: Store + ?Sized> Store for $pointer {
            fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
                (**self).find(token)
            }

            fn load(&self, token: &str) -> Result<Loaded, Error> {
                (**self).load(token)
            }

            fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
                (**self).commit(token, data, expiry)
            }

            fn create(
                &self,
                token: &str,
                data: &[u8],
                expiry: DateTime<Utc>,
                subject: Option<&str>,
            ) -> Result<(), Error> {
                (**self).create(token, data, expiry, subject)
            }

            fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
                (**self).create_with(token, change)
            }

            fn update(
                &self,
                token: &str,
                current: &[u8],
                change: &Change<'_>,
            ) -> Result<bool, Error> {
                (**self).update(token, current, change)
            }

            fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
                (**self).touch(token, expiry)
            }

            fn delete(&self, token: &str) -> Result<(), Error> {
                (**self).delete(token)
            }

            fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
                (**self).find_by_subject(subject)
            }

            fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
                (**self).subject_of(token)
            }

            fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
                (**self).delete_by_subject(subject, except)
            }

            fn delete_all(&self) -> Result<u64, Error> {
                (**self).delete_all()
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

            fn count(&self) -> Result<u64, Error> {
                (**self).count()
            }

            fn now(&self) -> DateTime<Utc> {
                (**self).now()
            }

            fn stop_cleanup(&self) {
                (**self).stop_cleanup();
            }

            fn cleanup_statistics(&self) -> CleanupStatistics {
                (**self).cleanup_statistics()
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
    }
}

//! What a store writes, as pieces of work that any thread can do.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};

use crate::Change;

/// A write of the [`Store`](crate::Store) trait, checked: the work of writers who share
/// transactions through [`GroupCommit`](super::GroupCommit).
///
/// Its `Debug` output shows neither tokens nor data.
///
/// # Examples
/// ```
/// use store_core::backend::Operation;
///
/// let delete = Operation::Delete { token: "token".into() };
/// let for_another_thread: Operation<'static> = delete.to_static();
/// assert_eq!(format!("{for_another_thread:?}"), "Delete");
/// ```
pub enum Operation<'a> {
    /// [`Store::commit`](crate::Store::commit)
    Commit {
        /// The session's token.
        token: Cow<'a, str>,
        /// The data that it has afterwards.
        data: Cow<'a, [u8]>,
        /// When it expires.
        expiry: DateTime<Utc>,
    },
    /// [`Store::create_with`](crate::Store::create_with)
    Create {
        /// The session's token.
        token: Cow<'a, str>,
        /// What it is, and what happens with it.
        change: Cow<'a, Change<'a>>,
    },
    /// [`Store::update`](crate::Store::update)
    Update {
        /// The session's token.
        token: Cow<'a, str>,
        /// The data that it must have.
        current: Cow<'a, [u8]>,
        /// What happens to it.
        change: Cow<'a, Change<'a>>,
    },
    /// [`Store::touch`](crate::Store::touch)
    Touch {
        /// The session's token.
        token: Cow<'a, str>,
        /// When it expires.
        expiry: DateTime<Utc>,
    },
    /// [`Store::delete`](crate::Store::delete)
    Delete {
        /// The session's token.
        token: Cow<'a, str>,
    },
    /// [`Store::delete_by_subject`](crate::Store::delete_by_subject)
    DeleteBySubject {
        /// The subject.
        subject: Cow<'a, str>,
        /// The token of the session that is left.
        except: Option<Cow<'a, str>>,
    },
    /// [`Store::delete_all`](crate::Store::delete_all)
    DeleteAll,
}

impl Operation<'_> {
    /// Returns how many bytes of data there are to write, for a
    /// [`GroupCommit`](super::GroupCommit).
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::Operation;
    ///
    /// let token = "token".into();
    /// let expiry = chrono::DateTime::UNIX_EPOCH;
    /// let commit = Operation::Commit { token, data: b"data"[..].into(), expiry };
    /// assert_eq!(commit.bytes(), 4);
    /// ```
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Commit { data, .. } => data.len(),
            Self::Create { change, .. } => change.data.len(),
            // The old data is read to be compared.
            Self::Update { current, change, .. } => current.len() + change.data.len(),
            Self::Touch { .. }
            | Self::Delete { .. }
            | Self::DeleteBySubject { .. }
            | Self::DeleteAll => 0,
        }
    }

    /// The same for another thread.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::Operation;
    ///
    /// let token = String::from("token");
    /// let delete = Operation::Delete { token: token.as_str().into() }.to_static();
    /// std::thread::spawn(move || drop(delete)).join().expect("no panic");
    /// ```
    #[must_use]
    pub fn to_static(&self) -> Operation<'static> {
        let text = |text: &str| Cow::Owned(text.to_owned());
        let bytes = |bytes: &[u8]| Cow::Owned(bytes.to_owned());
        match self {
            Self::Commit { token, data, expiry } => {
                Operation::Commit { token: text(token), data: bytes(data), expiry: *expiry }
            }
            Self::Create { token, change } => {
                Operation::Create { token: text(token), change: Cow::Owned(change.to_static()) }
            }
            Self::Update { token, current, change } => Operation::Update {
                token: text(token),
                current: bytes(current),
                change: Cow::Owned(change.to_static()),
            },
            Self::Touch { token, expiry } => {
                Operation::Touch { token: text(token), expiry: *expiry }
            }
            Self::Delete { token } => Operation::Delete { token: text(token) },
            Self::DeleteBySubject { subject, except } => Operation::DeleteBySubject {
                subject: text(subject),
                except: except.as_deref().map(text),
            },
            Self::DeleteAll => Operation::DeleteAll,
        }
    }
}

impl fmt::Debug for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit { .. } => "Commit",
            Self::Create { .. } => "Create",
            Self::Update { .. } => "Update",
            Self::Touch { .. } => "Touch",
            Self::Delete { .. } => "Delete",
            Self::DeleteBySubject { .. } => "DeleteBySubject",
            Self::DeleteAll => "DeleteAll",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_data_that_are_read_and_written() {
        let (token, expiry) = (Cow::Borrowed("token"), DateTime::UNIX_EPOCH);
        let change: Cow<'_, Change<'_>> = Cow::Owned(Change::new(b"new", expiry));
        for (operation, bytes) in [
            (Operation::Commit { token: token.clone(), data: (&b"data"[..]).into(), expiry }, 4),
            (Operation::Create { token: token.clone(), change: change.clone() }, 3),
            (Operation::Update { token: token.clone(), current: (&b"data"[..]).into(), change }, 7),
            (Operation::Touch { token, expiry }, 0),
        ] {
            assert_eq!(operation.bytes(), bytes, "{operation:?}");
        }
    }
}

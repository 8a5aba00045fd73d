//! What a store writes, as pieces of work that any thread can do.

use std::borrow::Cow;
use std::fmt;

/// A change of one session, or of those of a subject: the work of writers who share transactions through
/// [`GroupCommit`](crate::GroupCommit).
///
/// Its `Debug` output shows neither tokens nor data. `E` is an expiry as the store keeps it. The members are the arguments of [`Store`](crate::Store)'s and
/// [`SubjectStore`](crate::SubjectStore)'s operations, checked, and borrowed for as long as a writer does its own work.
///
/// # Examples
/// ```
/// use store_core::Change;
///
/// let change = Change::Touch { token: "token".into(), expiry: 1_800_000_000_i64 };
/// let for_another_thread: Change<'static, i64> = change.to_owned();
/// assert!(matches!(for_another_thread, Change::Touch { expiry: 1_800_000_000, .. }));
/// ```
pub enum Change<'a, E> {
    /// Creates the session, or overwrites its data and expiry.
    Commit {
        /// Whose session.
        token: Cow<'a, str>,
        /// What it is to hold.
        data: Cow<'a, [u8]>,
        /// When it ends.
        expiry: E,
    },
    /// Overwrites a live session whose data is known.
    Replace {
        /// Whose session.
        token: Cow<'a, str>,
        /// What it holds, or else nothing is changed.
        current: Cow<'a, [u8]>,
        /// What it is to hold.
        data: Cow<'a, [u8]>,
        /// When it ends.
        expiry: E,
    },
    /// Moves the expiry of a live session.
    Touch {
        /// Whose session.
        token: Cow<'a, str>,
        /// When it ends.
        expiry: E,
    },
    /// Gives a live session another token.
    Rename {
        /// Whose session.
        token: Cow<'a, str>,
        /// Where it is to be found.
        new_token: Cow<'a, str>,
    },
    /// Ends a session.
    Delete {
        /// Whose session.
        token: Cow<'a, str>,
    },
    /// Ties a live session to a subject, or to none.
    SetSubject {
        /// Whose session.
        token: Cow<'a, str>,
        /// The subject.
        subject: Option<Cow<'a, str>>,
    },
    /// Ends the live sessions of a subject.
    DeleteBySubject {
        /// The subject.
        subject: Cow<'a, str>,
        /// Whose session is left.
        except: Option<Cow<'a, str>>,
    },
}

impl<E: Copy> Change<'_, E> {
    /// The same for another thread.
    #[must_use]
    pub fn to_owned(&self) -> Change<'static, E> {
        let text = |text: &str| Cow::Owned(text.to_owned());
        let bytes = |bytes: &[u8]| Cow::Owned(bytes.to_owned());
        match self {
            Self::Commit { token, data, expiry } => {
                Change::Commit { token: text(token), data: bytes(data), expiry: *expiry }
            }
            Self::Replace { token, current, data, expiry } => Change::Replace {
                token: text(token),
                current: bytes(current),
                data: bytes(data),
                expiry: *expiry,
            },
            Self::Touch { token, expiry } => Change::Touch { token: text(token), expiry: *expiry },
            Self::Rename { token, new_token } => {
                Change::Rename { token: text(token), new_token: text(new_token) }
            }
            Self::Delete { token } => Change::Delete { token: text(token) },
            Self::SetSubject { token, subject } => {
                Change::SetSubject { token: text(token), subject: subject.as_deref().map(text) }
            }
            Self::DeleteBySubject { subject, except } => Change::DeleteBySubject {
                subject: text(subject),
                except: except.as_deref().map(text),
            },
        }
    }
}

impl<E> fmt::Debug for Change<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit { .. } => "Commit",
            Self::Replace { .. } => "Replace",
            Self::Touch { .. } => "Touch",
            Self::Rename { .. } => "Rename",
            Self::Delete { .. } => "Delete",
            Self::SetSubject { .. } => "SetSubject",
            Self::DeleteBySubject { .. } => "DeleteBySubject",
        })
    }
}

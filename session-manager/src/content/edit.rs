//! What a request does to its session, in a form that can be repeated.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::content::typed::TypedReader;
use crate::error::Error;

/// One thing that a request did to its session. If another request was quicker to write, it is done
/// again to the newer data.
pub(crate) enum Edit<C> {
    Set(String, Arc<[u8]>),
    Remove(String),
    /// Removes all keys but those that the session keeps for itself.
    Clear,
    Deadline(DateTime<Utc>),
    Update(String, Update<C>),
    /// Takes over the values of the merged session with this index. If that is another subject's,
    /// only the values with these keys.
    Merge(usize, Arc<[String]>),
    Subject(SubjectEdit),
    /// Gives forms this secret, unless they have it already.
    Form(Arc<[u8]>),
    /// Gives forms this secret, if they have one, and keeps the old one with the time, in
    /// milliseconds since 1970.
    RenewForm(Arc<[u8]>, i64),
}

/// From the encoded old value, if there is one, to the encoded new one.
pub(crate) type Update<C> =
    Box<dyn FnMut(&TypedReader<'_, C>, Option<&[u8]>) -> Result<Arc<[u8]>, Error> + Send>;

/// Another subject, or none.
pub(crate) struct SubjectEdit {
    /// The encoded subject.
    pub(crate) subject: Option<Arc<[u8]>>,
    /// The encoded time, if there is a subject.
    pub(crate) authenticated: Option<Arc<[u8]>>,
    /// Keys of values that stay when the session passes from one subject to another.
    pub(crate) kept: Arc<[String]>,
    /// When the session ends if it does pass from one to another.
    pub(crate) deadline: DateTime<Utc>,
}

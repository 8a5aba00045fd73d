//! What a stored session says of itself, to a tool that knows no manager.

use chrono::{DateTime, Utc};

use crate::codec::{Codec, CodecError};
use crate::content::Content;
use crate::content::reserved::MANAGER;
use crate::session_id::SessionId;
use crate::session_key::SessionKey;

/// What a stored session says of itself, whichever manager it belongs to: for tools that look at a
/// store without knowing the application.
///
/// There is no secret in it, and none of the application's values.
///
/// # Examples
/// ```
/// use std::ops::ControlFlow;
/// use std::sync::Arc;
/// use session_manager::{Json, SessionManager, SessionSummary};
/// use store_core::{MemoryStore, Store};
///
/// let store = Arc::new(MemoryStore::new()?);
/// let sessions = SessionManager::new(store.clone());
/// let mut session = sessions.load([])?;
/// session.set_subject("7")?;
/// let id = session.finish()?.id;
///
/// store.for_each(&mut |record| {
///     let summary = SessionSummary::read(&Json, record.token, record.data).expect("it is JSON");
///     assert_eq!(Some(summary.id), id);
///     assert_eq!(summary.subject.as_deref(), Some("7"));
///     assert_eq!(summary.cookie_name.as_deref(), Some("__Host-session"));
///     ControlFlow::Continue(())
/// })?;
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionSummary {
    /// The session's public name.
    pub id: SessionId,
    /// The name of the cookie of the session's manager. `None` for a session that a Go program has
    /// begun.
    pub cookie_name: Option<String>,
    /// Who has logged in.
    pub subject: Option<String>,
    /// When the session began, as far as that is known.
    pub created: Option<DateTime<Utc>>,
    /// When the session ends, however much it is used.
    pub deadline: DateTime<Utc>,
}

impl SessionSummary {
    /// Reads what the store has under a key. What a codec has [sealed](Codec::seal) isn't opened.
    ///
    /// # Errors
    /// [`CodecError`] if the bytes aren't in this format: another codec's, or no session's.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{CodecError, Json, SessionSummary};
    ///
    /// assert_eq!(SessionSummary::read(&Json, "key", b"not JSON"), Err(CodecError));
    /// ```
    pub fn read<C: Codec>(codec: &C, key: &str, data: &[u8]) -> Result<Self, CodecError> {
        let content = Content::from_decoded(codec.decode(data)?, None);
        let metadata = content.metadata(codec, data);
        let mark = content.values.get(MANAGER, data);
        let mark = mark.and_then(|mark| codec.decode_value::<String>(mark).ok());
        Ok(Self {
            id: metadata.id(&SessionKey::from_store(key)),
            // How the manager makes keys, a colon, and the name.
            cookie_name: mark.and_then(|mark| Some(mark.split_once(':')?.1.to_owned())),
            subject: metadata.subject(),
            created: metadata.created(),
            deadline: content.deadline,
        })
    }
}

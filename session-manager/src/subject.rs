//! Subjects as the store's index has them.

use store_core::{Error, MAX_SUBJECT_LEN};

use crate::token::digest;

/// Longer names of cookies are replaced by their hash in front of a subject in the store.
const MAX_PREFIX_LEN: usize = 64;

/// Returns a subject as the store's index has it, for the manager whose cookie has this name:
/// managers with different cookies have different users.
///
/// It is for tools that use a store without a manager. An application calls
/// [`sessions_of`](crate::SessionManager::sessions_of) and
/// [`destroy_all_of`](crate::SessionManager::destroy_all_of).
///
/// # Errors
/// [`Error::InvalidSubject`] for one that is empty or too long.
///
/// # Examples
/// ```
/// use session_manager::{SessionManager, subject_in_store};
/// use store_core::{MemoryStore, Store};
///
/// let store = std::sync::Arc::new(MemoryStore::new()?);
/// let sessions = SessionManager::new(store.clone());
/// let mut session = sessions.load([])?;
/// session.set_subject("7")?;
/// session.finish()?;
///
/// let subject = subject_in_store(sessions.cookie_name(), "7")?;
/// assert_eq!(store.find_by_subject(&subject)?.len(), 1);
/// # Ok::<(), session_manager::Error>(())
/// ```
pub fn subject_in_store(cookie_name: &str, subject: &str) -> Result<String, Error> {
    let mut in_store = if cookie_name.len() > MAX_PREFIX_LEN {
        digest(cookie_name)
    } else {
        cookie_name.to_owned()
    };
    // A cookie's name contains no colon.
    in_store.push(':');
    let (len, max) = (subject.len(), MAX_SUBJECT_LEN - in_store.len());
    if subject.is_empty() || len > max {
        return Err(Error::InvalidSubject { len, max });
    }
    in_store.push_str(subject);
    Ok(in_store)
}

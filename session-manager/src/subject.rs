//! Subjects as the store's index has them.

#[cfg(feature = "sealed")]
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
#[cfg(feature = "sealed")]
use hmac::{Hmac, KeyInit as _, Mac as _};
#[cfg(feature = "sealed")]
use sha2::Sha256;
use store_core::{Error, MAX_SUBJECT_LEN};

#[cfg(feature = "sealed")]
use crate::codec::sealed::key::SecretKey;
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
    // A cookie's name contains no colon.
    Ok(format!("{}:{subject}", checked_prefix(cookie_name, subject)?))
}

/// Returns a subject as the store's index has it, for the manager with this cookie and
/// [`with_hashed_subjects`](crate::SessionManager::with_hashed_subjects): the keyed hash
/// (HMAC-SHA-256) of both.
///
/// # Errors
/// [`Error::InvalidSubject`] for one that is empty or too long.
///
/// # Examples
/// ```
/// use session_manager::{SecretKey, hashed_subject_in_store};
///
/// let key = SecretKey::from_base64("YW5vdGhlciBvbmUsIHdoaWNoIGlzbid0IHNlY3JldCE=")?;
/// let subject = hashed_subject_in_store("__Host-session", "ada@example.org", &key)?;
/// assert!(subject.starts_with("__Host-session=") && !subject.contains("ada"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "sealed")]
#[expect(clippy::missing_panics_doc, reason = "HMAC takes keys of any length")]
pub fn hashed_subject_in_store(
    cookie_name: &str,
    subject: &str,
    key: &SecretKey,
) -> Result<String, Error> {
    let prefix = checked_prefix(cookie_name, subject)?;
    let mac = Hmac::<Sha256>::new_from_slice(key.bytes()).expect("HMAC takes keys of any length");
    // A cookie's name contains no NUL.
    let mac = mac.chain_update(cookie_name).chain_update([0]).chain_update(subject);
    let hash = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    // A cookie's name contains no equals sign either, so no subject looks like a hash.
    Ok(format!("{prefix}={hash}"))
}

/// Returns what stands in front of a subject, if that isn't empty or too long.
fn checked_prefix(cookie_name: &str, subject: &str) -> Result<String, Error> {
    let prefix = if cookie_name.len() > MAX_PREFIX_LEN {
        digest(cookie_name)
    } else {
        cookie_name.to_owned()
    };
    let (len, max) = (subject.len(), MAX_SUBJECT_LEN - prefix.len() - 1);
    if subject.is_empty() || len > max {
        return Err(Error::InvalidSubject { len, max });
    }
    Ok(prefix)
}

#[cfg(all(test, feature = "sealed"))]
mod tests {
    use super::*;

    /// What another implementation has made, in Python, of the name, a NUL and the subject.
    #[test]
    fn hash_of_a_subject_is_an_hmac_of_it_and_the_cookie() {
        let key: Vec<u8> = (0x80..0xa0).collect();
        let key = SecretKey::from_bytes(&key).expect("it has the length of one");
        let hash = hashed_subject_in_store("__Host-session", "ada", &key).expect("it is short");
        assert_eq!(hash, "__Host-session=j_69gdMAMsU0Crvp_g-oxwuM1RmJOifz7AAYcSTQ0o8");
        let other = hashed_subject_in_store("__Host-", "sessionada", &key).expect("it is short");
        assert!(!other.ends_with("o8"), "{other}");
    }
}

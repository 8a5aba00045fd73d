//! Keys that sessions keep for themselves.

/// The key of SCS's `RememberMe`.
pub(crate) const REMEMBER_ME: &str = "__rememberMe";

/// The subject, which the session also holds itself, so that it needn't be looked up in the index.
pub(crate) const SUBJECT: &str = "__subject";

/// The subject of a merged session, if nobody is logged in: the values belong to that subject and
/// to nobody else.
pub(crate) const OWNER: &str = "__owner";

/// Which manager the session belongs to: how it makes keys from tokens, and the name of its cookie.
pub(crate) const MANAGER: &str = "__manager";

/// When the session got its token, in seconds since 1970, if the manager rotates tokens
/// automatically.
pub(crate) const ROTATED: &str = "__rotated";

/// The prefix of the keys of flash values.
pub(crate) const FLASH: &str = "__flash.";

/// Returns whether the key is one of those that stay when the application clears its values.
pub(crate) fn is_session_key(key: &str) -> bool {
    [REMEMBER_ME, SUBJECT, OWNER, MANAGER, ROTATED].contains(&key)
}

/// Returns whether the application can't use the key.
pub(crate) fn is_reserved(key: &str) -> bool {
    is_session_key(key) || key.starts_with(FLASH)
}

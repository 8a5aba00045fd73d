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

/// The session's public name, if it isn't that of its key: 16 hexadecimal digits.
pub(crate) const ID: &str = "__id";

/// When the session began, in seconds since 1970.
pub(crate) const CREATED: &str = "__created";

/// When the visitor last proved who they are, in seconds since 1970.
pub(crate) const AUTHENTICATED: &str = "__authenticated";

/// Where the session is used.
pub(crate) const DEVICE: &str = "__device";

/// The idle timeout of a session that has its own, in milliseconds; zero is none.
pub(crate) const IDLE_TIMEOUT: &str = "__idleTimeout";

/// The secret of the session's forms, once one was shown.
pub(crate) const FORM: &str = "__form";

/// The secret of forms from before the session was renewed.
pub(crate) const FORM_BEFORE: &str = "__formBefore";

/// What the session holds of the device that it is bound to (feature `dbsc`). Reserved without the
/// feature, too: a process that doesn't have it must not lose it.
pub(crate) const BINDING: &str = "__binding";

/// All keys but those of flash values.
const SESSION_KEYS: [&str; 13] = [
    REMEMBER_ME,
    SUBJECT,
    OWNER,
    MANAGER,
    ROTATED,
    ID,
    CREATED,
    AUTHENTICATED,
    DEVICE,
    IDLE_TIMEOUT,
    FORM,
    FORM_BEFORE,
    BINDING,
];

/// The prefix of the keys of flash values.
pub(crate) const FLASH: &str = "__flash.";

/// Returns whether the key is one of those that stay when the application clears its values.
pub(crate) fn is_session_key(key: &str) -> bool {
    // All begin with underscores, and an application's keys hardly ever do.
    key.starts_with("__") && SESSION_KEYS.contains(&key)
}

/// Returns whether the application can't use the key.
pub(crate) fn is_reserved(key: &str) -> bool {
    is_session_key(key) || key.starts_with(FLASH)
}

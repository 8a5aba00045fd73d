//! Accounts whose passwords change while the application runs.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The name and the password of an account.
///
/// `Debug` doesn't show the password.
///
/// # Examples
/// ```
/// use store_mysql::Credentials;
///
/// let credentials = Credentials::new("app", "secret");
/// assert!(!format!("{credentials:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Credentials {
    /// The account that connections are made with.
    ///
    /// # Examples
    /// ```
    /// use store_mysql::Credentials;
    ///
    /// let credentials = Credentials::new("app", "secret");
    /// # drop(credentials);
    /// ```
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What a provider of credentials fails with.
pub(crate) type ProviderError = Box<dyn StdError + Send + Sync>;

/// Where the credentials of each new connection come from.
#[derive(Clone)]
pub(crate) struct Provider(Arc<dyn Fn() -> Result<Credentials, ProviderError> + Send + Sync>);

impl Provider {
    pub(crate) fn new(
        provide: impl Fn() -> Result<Credentials, ProviderError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(provide))
    }

    pub(crate) fn provide(&self) -> Result<Credentials, ProviderError> {
        (self.0)()
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

//! The name and attributes of the session cookie.

mod check;

mod set_cookie;

/// The prefixes of names that demand attributes (RFC 6265bis, section 4.1.3, and its successor);
/// the longest first.
const PREFIXES: [&str; 4] = ["__Host-Http-", "__Host-", "__Secure-", "__Http-"];

/// When browsers send the cookie along with requests that another site caused.
///
/// # Examples
/// ```
/// use session_manager::{CookiePolicy, SameSite};
///
/// // For a bank: not even a link from elsewhere arrives logged in.
/// let policy = CookiePolicy::new().with_same_site(SameSite::Strict);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Never, not even when a person follows a link.
    Strict,
    /// When a person follows a link, and not with forms posted from elsewhere.
    Lax,
    /// Always; the cookie must be Secure, and the application needs its own defence against forged
    /// requests.
    None,
}

/// The session cookie's name and attributes.
///
/// The default is `__Host-session`, Secure, HttpOnly, SameSite=Lax, Path=/, without Domain, and
/// gone when the browser is closed.
/// [`SessionManager::with_cookie`](crate::SessionManager::with_cookie) refuses combinations that
/// browsers would refuse.
///
/// # Examples
/// ```
/// use session_manager::{CookiePolicy, SameSite, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?).with_cookie(
///     CookiePolicy::new().with_name("__Host-shop").with_same_site(SameSite::Strict).persistent(),
/// )?;
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an attribute that a cookie has or hasn't"
)]
pub struct CookiePolicy {
    name: String,
    domain: Option<String>,
    path: String,
    http_only: bool,
    secure: bool,
    same_site: SameSite,
    partitioned: bool,
    persistent: bool,
}

impl CookiePolicy {
    /// Returns the defaults, which each method names.
    ///
    /// # Examples
    /// ```
    /// use session_manager::CookiePolicy;
    ///
    /// assert_eq!(CookiePolicy::new().name(), "__Host-session");
    /// ```
    pub fn new() -> Self {
        Self {
            name: "__Host-session".to_owned(),
            domain: None,
            path: "/".to_owned(),
            http_only: true,
            secure: true,
            same_site: SameSite::Lax,
            partitioned: false,
            persistent: false,
        }
    }

    /// Sets the cookie's name. Default: `__Host-session`.
    ///
    /// Browsers accept a name with the prefix `__Host-` only from the host itself, over HTTPS, for
    /// all paths: no other host of the domain can plant one.
    ///
    /// # Examples
    /// ```
    /// use session_manager::CookiePolicy;
    ///
    /// let policy = CookiePolicy::new().with_name("__Host-shop");
    /// ```
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sends the cookie to all hosts of this domain: the name of a host with a dot in it. Default:
    /// only to the host that set it. The name of the cookie can't have the prefix `__Host-` then.
    ///
    /// # Examples
    /// ```
    /// use session_manager::CookiePolicy;
    ///
    /// let policy = CookiePolicy::new().with_name("__Secure-session").with_domain("example.org");
    /// ```
    pub fn with_domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Sends the cookie to this path and those below it. Default: `/`. With another path the name
    /// can't have the prefix `__Host-`. A quote or a backslash is refused, because Go's HTTP client
    /// ignores a path with one. A path keeps nothing secret from other paths of the host.
    ///
    /// # Examples
    /// ```
    /// use session_manager::CookiePolicy;
    ///
    /// let policy = CookiePolicy::new().with_name("__Secure-shop").with_path("/shop");
    /// ```
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets which requests from other sites have the cookie. Default: [`SameSite::Lax`].
    ///
    /// # Examples
    /// ```
    /// use session_manager::{CookiePolicy, SameSite};
    ///
    /// let policy = CookiePolicy::new().with_same_site(SameSite::Strict);
    /// ```
    pub fn with_same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Keeps the cookie over a restart of the browser, until the session expires (at most 400
    /// days). Default: it is gone when the browser is closed, unless
    /// [`Session::remember_me`](crate::Session::remember_me) says otherwise.
    ///
    /// # Examples
    /// ```
    /// use session_manager::CookiePolicy;
    ///
    /// let policy = CookiePolicy::new().persistent();
    /// ```
    #[doc(alias = "Persist")]
    #[doc(alias = "max_age")]
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// Keeps a separate cookie for each site that embeds this one (CHIPS). Default: one for all.
    ///
    /// # Examples
    /// A widget that other sites show in a frame:
    /// ```
    /// use session_manager::{CookiePolicy, SameSite};
    ///
    /// let policy = CookiePolicy::new().with_same_site(SameSite::None).partitioned();
    /// ```
    pub fn partitioned(mut self) -> Self {
        self.partitioned = true;
        self
    }

    /// Shows the cookie to scripts of the page, and so to every script that gets into it. Default:
    /// HttpOnly.
    ///
    /// # Examples
    /// ```
    /// use session_manager::CookiePolicy;
    ///
    /// let policy = CookiePolicy::new().readable_by_scripts();
    /// ```
    #[doc(alias = "http_only")]
    pub fn readable_by_scripts(mut self) -> Self {
        self.http_only = false;
        self
    }

    /// For development on plain HTTP: no Secure, and a name without the prefix that demands it.
    /// Anyone who can listen on the network can take over every session.
    ///
    /// # Examples
    /// ```
    /// use session_manager::CookiePolicy;
    ///
    /// let policy = CookiePolicy::new().insecure_for_local_development();
    /// assert_eq!(policy.name(), "session");
    /// ```
    #[doc(alias = "secure")]
    pub fn insecure_for_local_development(mut self) -> Self {
        self.secure = false;
        let prefix = PREFIXES.into_iter().find(|prefix| has_prefix(&self.name, prefix));
        if let Some(prefix) = prefix {
            self.name.drain(..prefix.len());
        }
        self
    }

    /// Returns the cookie's name.
    ///
    /// # Examples
    /// ```
    /// use session_manager::CookiePolicy;
    ///
    /// assert_eq!(CookiePolicy::new().name(), "__Host-session");
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the attribute with which sessions can't be bound to devices, if there is one.
    #[cfg(feature = "dbsc")]
    pub(crate) fn unbindable_attribute(&self) -> Option<&'static str> {
        // Other hosts of the domain get no new device cookie, and browsers refuse bindings of
        // partitioned cookies.
        let domain = self.domain.as_ref().map(|_| "cookie domain");
        domain.or(self.partitioned.then_some("cookie Partitioned"))
    }

    pub(crate) fn is_persistent(&self) -> bool {
        self.persistent
    }
}

impl Default for CookiePolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// Browsers compare prefixes without regard to case.
fn has_prefix(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

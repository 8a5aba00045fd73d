//! What a request says of itself, in no framework's form.

use std::fmt;

/// A request's method, path and headers, whatever the framework.
///
/// [Error responders](crate::SessionManager::with_error_responder) see it. The adapters make it by
/// themselves.
///
/// # Examples
/// For a framework without an adapter:
/// ```
/// use session_manager::RequestHead;
///
/// let headers = [("Host", "example.org"), ("Accept", "application/json")];
/// let request = RequestHead::new("GET", "/cart?page=2", |name| {
///     let found = headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
///     found.map(|(_, value)| *value)
/// });
/// assert_eq!((request.method(), request.path()), ("GET", "/cart"));
/// assert_eq!(request.header("accept"), Some("application/json"));
/// ```
pub struct RequestHead<'r> {
    method: &'r str,
    path: &'r str,
    header: Box<dyn Fn(&str) -> Option<&'r str> + 'r>,
}

impl<'r> RequestHead<'r> {
    /// The value of a header that isn't text. It has no meaning in any header.
    ///
    /// # Examples
    /// ```
    /// use session_manager::RequestHead;
    ///
    /// let origin: &[u8] = b"https://\xFF.example";
    /// let request = RequestHead::new("POST", "/cart", |name| {
    ///     (name == "Origin").then(|| str::from_utf8(origin).unwrap_or(RequestHead::NO_TEXT))
    /// });
    /// assert_eq!(request.header("Origin"), Some("\u{FFFD}"));
    /// ```
    pub const NO_TEXT: &'static str = "\u{FFFD}";

    /// Returns the head of a request with this method and target (a path, with or without a query).
    /// `header` returns the first value of the header with that name, in any case of its letters.
    /// For one that isn't text it returns [`NO_TEXT`](Self::NO_TEXT), not `None`: without Origin a
    /// request passes for one that no browser has sent.
    ///
    /// # Examples
    /// ```
    /// use session_manager::RequestHead;
    ///
    /// let request = RequestHead::new("GET", "/", |_| None);
    /// assert_eq!(request.header("Accept"), None);
    /// ```
    #[must_use]
    pub fn new(
        method: &'r str,
        target: &'r str,
        header: impl Fn(&str) -> Option<&'r str> + 'r,
    ) -> Self {
        let path = target.split('?').next().unwrap_or(target);
        Self { method, path, header: Box::new(header) }
    }

    /// Returns the method, as it was sent.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::RequestHead;
    /// assert_eq!(RequestHead::new("POST", "/", |_| None).method(), "POST");
    /// ```
    #[must_use]
    pub fn method(&self) -> &'r str {
        self.method
    }

    /// Returns the path, as it was sent, without the query.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::RequestHead;
    /// assert_eq!(RequestHead::new("GET", "/a%20b?c=d", |_| None).path(), "/a%20b");
    /// ```
    #[must_use]
    pub fn path(&self) -> &'r str {
        self.path
    }

    /// Returns the first value of a header, which is [`NO_TEXT`](Self::NO_TEXT) if it isn't text.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::RequestHead;
    /// let request = RequestHead::new("GET", "/", |name| (name == "Accept").then_some("*/*"));
    /// assert_eq!(request.header("Accept"), Some("*/*"));
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'r str> {
        (self.header)(name)
    }
}

impl fmt::Debug for RequestHead<'_> {
    /// Headers are left out: the cookie's value is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

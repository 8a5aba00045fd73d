//! What handlers return.

use store_core::BoxError;

/// What the handler of an adapter may return: the framework's response, or a result with any error.
///
/// With a response the session is written, whatever its status; with an error nothing of it is, and
/// the [error responder](crate::SessionManager::with_error_responder) answers.
///
/// # Examples
#[cfg_attr(feature = "rouille", doc = "```")]
#[cfg_attr(not(feature = "rouille"), doc = "```text")]
/// use rouille::{Request, Response, post_input, try_or_400};
/// use session_manager::SessionManager;
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?);
/// # let form = vec![("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
/// # let posted = || Request::fake_http("POST", "/", form.clone(), b"name=Ada".to_vec());
/// # let request = &posted();
///
/// // A result: `?` works, and a form without a name is answered with status 400.
/// let response = sessions.rouille(request, |session| {
///     let form = post_input!(request, { name: String })?;
///     session.insert("name", form.name)?;
///     Ok(Response::text("saved"))
/// });
/// # assert_eq!(response.status_code, 200);
/// # let request = &posted();
///
/// // A response: `try_or_400!` works, which returns one.
/// let response = sessions.rouille(request, |session| {
///     let form = try_or_400!(post_input!(request, { name: String }));
///     try_or_400!(session.insert("name", form.name));
///     Response::text("saved")
/// });
/// # assert_eq!(response.status_code, 200);
/// # Ok::<(), session_manager::Error>(())
/// ```
pub trait HandlerResult<R> {
    /// Returns the response, or why there is none.
    ///
    /// # Errors
    /// The handler's.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{BoxError, HandlerResult};
    ///
    /// let result: Result<&str, BoxError> = Ok("a response");
    /// assert_eq!(result.into_result()?, "a response");
    /// # Ok::<(), BoxError>(())
    /// ```
    fn into_result(self) -> Result<R, BoxError>;
}

impl<R> HandlerResult<R> for Result<R, BoxError> {
    fn into_result(self) -> Self {
        self
    }
}

#[cfg(feature = "rouille")]
impl HandlerResult<Self> for rouille::Response {
    fn into_result(self) -> Result<Self, BoxError> {
        Ok(self)
    }
}

#[cfg(feature = "http")]
impl<B> HandlerResult<Self> for http::Response<B> {
    fn into_result(self) -> Result<Self, BoxError> {
        Ok(self)
    }
}

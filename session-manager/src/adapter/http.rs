//! Sessions for servers on the types of the `http` crate.

use std::error::Error as StdError;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use store_core::BoxError;

use crate::adapter;
use crate::codec::Codec;
use crate::manager::SessionManager;
use crate::session::Session;

impl<C: Codec> SessionManager<C> {
    /// Loads the session of a request with these headers, calls the handler, writes the session,
    /// and adds the session's headers to the response.
    ///
    /// If the handler or the session fails, none of the session's changes is written, though a
    /// session that the handler has destroyed stays destroyed, and the response is the [error
    /// responder's](Self::with_error_responder). A handler that panics writes nothing either.
    ///
    /// # Examples
    /// ```
    /// use http::{HeaderMap, Response};
    /// use session_manager::SessionManager;
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?);
    /// let response: Response<String> = sessions.http(&HeaderMap::new(), |session| {
    ///     session.insert("name", "Ada")?;
    ///     Ok(Response::new("Hello".to_owned()))
    /// });
    /// assert!(response.headers().contains_key("set-cookie"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[expect(clippy::missing_panics_doc, reason = "what could panic was checked before")]
    pub fn http<B: From<String>>(
        &self,
        headers: &HeaderMap,
        handler: impl FnOnce(&mut Session<'_, C>) -> Result<Response<B>, BoxError>,
    ) -> Response<B> {
        let cookies = headers.get_all(COOKIE).into_iter().map(HeaderValue::as_bytes);
        let session = self.load_from_headers(cookies);
        let (mut response, headers) = adapter::run(session, handler)
            .unwrap_or_else(|(error, headers)| (self.failed_as(&*error), headers));
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("it is the name of a header");
            let value = HeaderValue::try_from(value)
                .expect("what goes into a cookie was checked when the manager was built");
            // Appended, not inserted: the application may set other cookies.
            response.headers_mut().append(name, value);
        }
        response
    }

    fn failed_as<B: From<String>>(&self, error: &(dyn StdError + 'static)) -> Response<B> {
        let answer = (self.error_responder)(error);
        let mut response = Response::new(answer.body.into());
        *response.status_mut() =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if let Ok(content_type) = HeaderValue::try_from(answer.content_type) {
            headers.insert(CONTENT_TYPE, content_type);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = answer.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

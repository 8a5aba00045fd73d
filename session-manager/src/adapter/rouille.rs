//! Sessions in a rouille application.

use std::error::Error as StdError;

use rouille::{Request, Response};

use crate::{BoxError, Codec, Session, SessionManager, adapter};

impl<C: Codec> SessionManager<C> {
    /// Loads the request's session, calls the handler, writes the session, and adds the headers to the
    /// response.
    ///
    /// Where the handler or the session fails, none of the session's changes is written, though a
    /// session that the handler has destroyed stays destroyed, and the response is the [error
    /// responder's](Self::with_error_responder). A handler that panics writes nothing either; rouille
    /// answers with status 500.
    ///
    /// # Examples
    /// ```no_run
    /// use rouille::Response;
    /// use session_manager::SessionManager;
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?);
    /// rouille::start_server("127.0.0.1:4000", move |request| {
    ///     sessions.rouille(request, |session| {
    ///         let visits: u32 = session.get("visits")?.unwrap_or(0);
    ///         session.insert("visits", visits + 1)?;
    ///         Ok(Response::text(format!("visit {}", visits + 1)))
    ///     })
    /// });
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "LoadAndSave")]
    pub fn rouille(
        &self,
        request: &Request,
        handler: impl FnOnce(&mut Session<'_, C>) -> Result<Response, BoxError>,
    ) -> Response {
        let headers = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case("Cookie"));
        let session = self.load_from_headers(headers.map(|(_, value)| value.as_bytes()));
        let (response, headers) = adapter::run(session, handler)
            .unwrap_or_else(|(failure, headers)| (self.failed(&*failure), headers));
        // Added, not replaced: the application may set cookies of its own.
        headers
            .into_iter()
            .fold(response, |response, (name, value)| response.with_additional_header(name, value))
    }

    fn failed(&self, failure: &(dyn StdError + 'static)) -> Response {
        let error = (self.error_responder)(failure);
        let response = Response::from_data(error.content_type, error.body)
            .with_status_code(error.status)
            .with_unique_header("Cache-Control", "no-store");
        match error.retry_after {
            Some(seconds) => response.with_unique_header("Retry-After", seconds.to_string()),
            None => response,
        }
    }
}

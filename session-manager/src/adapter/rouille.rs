//! Sessions in a rouille application.

use std::error::Error as StdError;

use rouille::{Request, Response};
use store_core::BoxError;

use crate::adapter;
use crate::codec::Codec;
use crate::manager::SessionManager;
use crate::session::Session;

impl<C: Codec> SessionManager<C> {
    /// Loads the request's session, calls the handler, writes the session, and adds the headers to
    /// the response.
    ///
    /// If the handler or the session fails, none of the session's changes is written, though a
    /// session that the handler has destroyed stays destroyed, and the response is the [error
    /// responder's](Self::with_error_responder). A handler that panics writes nothing either;
    /// rouille answers with status 500.
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
    ///         let visits = session.update("visits", |n: Option<u32>| n.unwrap_or(0) + 1)?;
    ///         Ok(Response::text(format!("visit {visits}")))
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
            .unwrap_or_else(|(error, headers)| (self.failed(&*error), headers));
        // Added, not replaced: the application may set other cookies.
        headers
            .into_iter()
            .fold(response, |response, (name, value)| response.with_additional_header(name, value))
    }

    fn failed(&self, error: &(dyn StdError + 'static)) -> Response {
        let answer = (self.error_responder)(error);
        let response = Response::from_data(answer.content_type, answer.body)
            .with_status_code(answer.status)
            .with_unique_header("Cache-Control", "no-store");
        match answer.retry_after {
            Some(seconds) => response.with_unique_header("Retry-After", seconds.to_string()),
            None => response,
        }
    }
}

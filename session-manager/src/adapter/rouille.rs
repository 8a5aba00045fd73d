//! Sessions in a rouille application.

use std::error::Error as StdError;
use std::io;

use rouille::input::json::JsonError;
use rouille::input::multipart::MultipartError;
use rouille::input::post::PostError;
use rouille::{Request, Response, ResponseBody};

use crate::adapter;
use crate::adapter::handler_result::HandlerResult;
use crate::codec::Codec;
use crate::error_response::ErrorResponse;
use crate::manager::SessionManager;
use crate::request_head::RequestHead;
use crate::session::Session;

impl<C: Codec> SessionManager<C> {
    /// [Checks](Self::check_origin) where the request comes from, loads its session, calls the
    /// handler, writes the session, and adds the headers to the response.
    ///
    /// The handler returns a response or a result; see [`HandlerResult`]. If it or the session
    /// fails, none of the session's changes is written, though a session that the handler has
    /// destroyed stays destroyed, and the response is the [error
    /// responder's](Self::with_error_responder). A handler that panics writes nothing either;
    /// rouille answers with status 500. What the handler leaves of a body in chunks is read and
    /// thrown away, so that it isn't taken for the connection's next request.
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
    pub fn rouille<H: HandlerResult<Response>>(
        &self,
        request: &Request,
        handler: impl FnOnce(&mut Session<'_, C>) -> H,
    ) -> Response {
        let _unread = UnreadBody(request);
        let head = head(request);
        let headers = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case("Cookie"));
        let headers = headers.map(|(_, value)| value.as_bytes());
        let session = self.check_origin(&head).and_then(|()| self.load_from_headers(headers));
        let (response, headers) = adapter::run(self.cookie_name(), session, handler)
            .unwrap_or_else(|(error, headers)| {
                (from_error_response(self.error_response(&*error, &head)), headers)
            });
        // Added, not replaced: the application may set other cookies.
        headers
            .into_iter()
            .fold(response, |response, (name, value)| response.with_additional_header(name, value))
    }

    /// Answers a browser that binds a session to its device, or needs a new device cookie: see
    /// [`device_endpoint`](Self::device_endpoint). With the feature `dbsc`.
    ///
    /// # Examples
    /// ```
    /// use rouille::{Request, Response};
    /// use session_manager::{BindingPolicy, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// fn respond(sessions: &SessionManager, request: &Request) -> Response {
    ///     if request.url() == "/device-session" {
    ///         return sessions.rouille_device_endpoint(request);
    ///     }
    ///     sessions.rouille(request, |session| {
    ///         session.set_subject("7")?;
    ///         session.bind_to_device()?;
    ///         Ok(Response::text("logged in"))
    ///     })
    /// }
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?)
    ///     .with_device_binding(BindingPolicy::new("/device-session"))?;
    /// let request = Request::fake_http("POST", "/device-session", vec![], vec![]);
    /// assert_eq!(respond(&sessions, &request).status_code, 403);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[cfg(feature = "dbsc")]
    pub fn rouille_device_endpoint(&self, request: &Request) -> Response {
        let _unread = UnreadBody(request);
        let headers = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case("Cookie"));
        let headers = headers.map(|(_, value)| value.as_bytes());
        let response = self.device_endpoint(&head(request), headers);
        let headers = response.headers.into_iter();
        Response {
            status_code: response.status,
            headers: headers.map(|(name, value)| (name.into(), value.into())).collect(),
            data: ResponseBody::from_data(response.body),
            upgrade: None,
        }
    }
}

/// Reads what nobody has read of a body in chunks, when dropped. rouille's server would take that
/// for the next request of the connection, and a proxy would send the response to it to whoever
/// comes next. What is left of a body of a known length, the server reads.
struct UnreadBody<'r>(&'r Request);

impl Drop for UnreadBody<'_> {
    fn drop(&mut self) {
        // A connection that becomes another protocol's has no such header, and no end.
        if self.0.header("Transfer-Encoding").is_some()
            && let Some(mut body) = self.0.data()
        {
            // After an error nothing follows on the connection.
            let _ = io::copy(&mut body, &mut io::sink());
        }
    }
}

fn head(request: &Request) -> RequestHead<'_> {
    RequestHead::new(request.method(), request.raw_url(), |name| request.header(name))
}

fn from_error_response(response: ErrorResponse) -> Response {
    let headers = response.headers().into_iter();
    Response {
        status_code: response.status,
        headers: headers.map(|(name, value)| (name.into(), value.into())).collect(),
        data: ResponseBody::from_data(response.body),
        upgrade: None,
    }
}

/// Returns whether the error is one of rouille's that says that the request's body isn't what it
/// should be. A body that is asked for twice is the application's fault.
pub(crate) fn is_bad_input(error: &(dyn StdError + 'static)) -> bool {
    let post = error.downcast_ref::<PostError>();
    let json = error.downcast_ref::<JsonError>();
    let multipart = error.downcast_ref::<MultipartError>();
    post.is_some_and(|error| !matches!(error, PostError::BodyAlreadyExtracted))
        || json.is_some_and(|error| !matches!(error, JsonError::BodyAlreadyExtracted))
        || matches!(multipart, Some(MultipartError::WrongContentType))
}

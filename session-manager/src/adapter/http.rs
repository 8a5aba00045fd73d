//! Sessions for servers on the types of the `http` crate.

use http::header::COOKIE;
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use crate::adapter;
use crate::adapter::handler_result::HandlerResult;
use crate::codec::Codec;
use crate::error_response::ErrorResponse;
use crate::manager::SessionManager;
use crate::request_head::RequestHead;
use crate::session::Session;
use crate::session::headers::Header;

impl<C: Codec> SessionManager<C> {
    /// [Checks](Self::check_origin) where the request comes from, loads its session, calls the
    /// handler, writes the session, and adds the session's headers to the response.
    ///
    /// The handler returns a response or a result; see [`HandlerResult`]. If it or the session
    /// fails, none of the session's changes is written, though a session that the handler has
    /// destroyed stays destroyed, and the response is the [error
    /// responder's](Self::with_error_responder). A handler that panics writes nothing either.
    ///
    /// # Examples
    /// ```
    /// use http::{Request, Response};
    /// use session_manager::SessionManager;
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?);
    /// let mut request = Request::post("/name").body("Ada".to_owned()).expect("it is one");
    /// let response: Response<String> = sessions.http(&mut request, |request, session| {
    ///     session.insert("name", std::mem::take(request.body_mut()))?;
    ///     Ok(Response::new("Hello".to_owned()))
    /// });
    /// assert!(response.headers().contains_key("set-cookie"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn http<Q, B: From<String>, H: HandlerResult<Response<B>>>(
        &self,
        request: &mut Request<Q>,
        handler: impl FnOnce(&mut Request<Q>, &mut Session<'_, C>) -> H,
    ) -> Response<B> {
        let cookies = request.headers().get_all(COOKIE).into_iter().map(HeaderValue::as_bytes);
        let session =
            self.check_origin(&head(request)).and_then(|()| self.load_from_headers(cookies));
        let answer = adapter::run(self.cookie_name(), session, |session| handler(request, session));
        let (mut response, headers) = answer.unwrap_or_else(|(error, headers)| {
            (from_error_response(self.error_response(&*error, &head(request))), headers)
        });
        add_headers(&mut response, headers);
        response
    }

    /// Answers a browser that binds a session to its device, or needs a new device cookie: see
    /// [`device_endpoint`](Self::device_endpoint). With the feature `dbsc`.
    ///
    /// # Examples
    /// ```
    /// use http::{Request, Response};
    /// use session_manager::{BindingPolicy, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?)
    ///     .with_device_binding(BindingPolicy::new("/device-session"))?;
    /// let request = Request::post("/device-session").body(()).expect("it is one");
    /// let response: Response<String> = sessions.http_device_endpoint(&request);
    /// assert_eq!(response.status(), 403);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[cfg(feature = "dbsc")]
    #[expect(clippy::missing_panics_doc, reason = "what could panic was checked before")]
    pub fn http_device_endpoint<Q, B: From<String>>(&self, request: &Request<Q>) -> Response<B> {
        let cookies = request.headers().get_all(COOKIE).into_iter().map(HeaderValue::as_bytes);
        let answer = self.device_endpoint(&head(request), cookies);
        let mut response = Response::new(answer.body.into());
        *response.status_mut() = StatusCode::from_u16(answer.status).expect("it is a status");
        add_headers(&mut response, answer.headers);
        response
    }
}

fn add_headers<B>(response: &mut Response<B>, headers: Vec<Header>) {
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("it is the name of a header");
        let value = HeaderValue::try_from(value)
            .expect("what goes into a header was checked when the manager was built");
        // Appended, not inserted: the application may set other cookies.
        response.headers_mut().append(name, value);
    }
}

fn head<Q>(request: &Request<Q>) -> RequestHead<'_> {
    RequestHead::new(request.method().as_str(), request.uri().path(), |name| {
        let value = request.headers().get(name);
        let value = value.map(|value| value.to_str().unwrap_or(RequestHead::NO_TEXT));
        // HTTP/2 has the host in the target.
        let authority = || request.uri().authority().filter(|_| name.eq_ignore_ascii_case("Host"));
        value.or_else(|| authority().map(Authority::as_str))
    })
}

fn from_error_response<B: From<String>>(answer: ErrorResponse) -> Response<B> {
    let headers = answer.headers();
    let mut response = Response::new(answer.body.into());
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        // The application's content type may be anything.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

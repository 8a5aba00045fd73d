//! What an adapter does, for `tiny_http`: to copy as it is.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use session_manager::{BoxError, Header, RequestHead, Session, SessionManager};
use tiny_http::{Method, Request};

pub(crate) type Response = tiny_http::Response<Cursor<Vec<u8>>>;

/// The fields of a form. Of several with one name, the last.
pub(crate) type Form = BTreeMap<String, String>;

/// In bytes. What is longer is cut off.
const MAX_FORM: u64 = 4096;

/// Answers a request by what the handler makes of it, with the session of its cookie.
pub(crate) fn serve<H>(sessions: &SessionManager, mut request: Request, handler: H)
where
    H: FnOnce(&RequestHead<'_>, &Form, &mut Session<'_>) -> Result<Response, BoxError>,
{
    // A panic ends the request and not the worker. The session is dropped by it, and not written.
    let response = catch_unwind(AssertUnwindSafe(|| respond(sessions, &mut request, handler)));
    let response = response.unwrap_or_else(|_| Err("the handler panicked".into()));
    let response = response.unwrap_or_else(|error| apologize(sessions, &request, &error));
    // What is left of a body in chunks would be taken for the next request of the connection.
    let _ = io::copy(request.as_reader(), &mut io::sink());
    // A visitor who has gone misses nothing.
    let _ = request.respond(response);
}

fn respond<H>(
    sessions: &SessionManager,
    request: &mut Request,
    handler: H,
) -> Result<Response, BoxError>
where
    H: FnOnce(&RequestHead<'_>, &Form, &mut Session<'_>) -> Result<Response, BoxError>,
{
    sessions.check_origin(&head(request))?;
    let mut body = Vec::new();
    request.as_reader().take(MAX_FORM).read_to_end(&mut body)?;
    let form = form_urlencoded::parse(&body).into_owned().collect();
    let cookies = request.headers().iter().filter(|header| header.field.equiv("Cookie"));
    let cookies = cookies.map(|header| header.value.as_str().as_bytes());
    let mut session = sessions.load_from_headers(cookies)?;

    let response = handler(&head(request), &form, &mut session);
    // A logout is done by now, so its cookie goes, whatever fails.
    let removal = session.removal_headers();
    let finished = response.and_then(|response| match request.method() {
        // It changes nothing. Above all, it takes no message away from the next page.
        Method::Head => Ok((response, Vec::new())),
        _ => Ok((response, session.finish()?.headers)),
    });
    let (response, headers) =
        finished.unwrap_or_else(|error| (apologize(sessions, request, &error), removal));
    Ok(with_headers(response, headers))
}

fn apologize(sessions: &SessionManager, request: &Request, error: &BoxError) -> Response {
    let apology = sessions.error_response(&**error, &head(request));
    with_headers(text(apology.status, &apology.body), apology.headers())
}

fn head(request: &Request) -> RequestHead<'_> {
    RequestHead::new(request.method().as_str(), request.url(), |name| {
        let is_named = |field: &str| field.eq_ignore_ascii_case(name);
        let mut headers = request.headers().iter();
        let header = headers.find(|header| is_named(header.field.as_str().as_str()));
        header.map(|header| header.value.as_str())
    })
}

pub(crate) fn text(status: u16, text: &str) -> Response {
    Response::from_string(text).with_status_code(status)
}

/// Adds headers of ASCII. Other cookies of the response stay.
pub(crate) fn with_headers(
    response: Response,
    headers: impl IntoIterator<Item = Header>,
) -> Response {
    headers.into_iter().fold(response, |response, (name, value)| {
        response.with_header(tiny_http::Header::from_bytes(name, value).expect("it is of ASCII"))
    })
}

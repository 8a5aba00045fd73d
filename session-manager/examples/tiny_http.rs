//! Counts a visitor's visits, with `tiny_http`, for which there is no adapter: the calls that
//! serve any framework.
//!
//! ```text
//! cargo run --package sync-session-manager --example tiny_http -- 127.0.0.1:4000
//! ```

use std::io::Write as _;
use std::{env, io};

use session_manager::{CookiePolicy, Error, Header, RequestHead, SessionManager};
use store_core::MemoryStore;
use tiny_http::{Request, Response, Server};

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4000".to_owned());

    // This example speaks plain HTTP. Behind HTTPS, leave the cookie as it is: remove the second
    // line.
    let sessions = SessionManager::new(MemoryStore::new()?)
        .with_cookie(CookiePolicy::new().insecure_for_local_development())?;

    let server = Server::http(&*address)?;
    writeln!(io::stdout(), "Open http://{}/ in a browser.", server.server_addr())?;
    for request in server.incoming_requests() {
        let head = head(&request);
        let (status, body, headers) = match page(&sessions, &request, &head) {
            Ok((page, headers)) => (200, page, headers),
            Err(error) => {
                let response = sessions.error_response(&error, &head);
                let headers = response.headers();
                (response.status, response.body, headers)
            }
        };
        drop(head);
        let mut response = Response::from_string(body).with_status_code(status);
        for (name, value) in headers {
            // Added, so that the application's other cookies stay.
            let header = tiny_http::Header::from_bytes(name, value);
            response.add_header(header.map_err(|()| "the session's headers are ASCII")?);
        }
        // A visitor who has gone misses nothing.
        let _ = request.respond(response);
    }
    Ok(())
}

/// What the request says of itself.
fn head(request: &Request) -> RequestHead<'_> {
    RequestHead::new(request.method().as_str(), request.url(), |name| {
        let mut headers = request.headers().iter();
        let header =
            headers.find(|header| header.field.as_str().as_str().eq_ignore_ascii_case(name));
        header.map(|header| header.value.as_str())
    })
}

/// The page, and the headers that the session adds to it.
fn page(
    sessions: &SessionManager,
    request: &Request,
    head: &RequestHead<'_>,
) -> Result<(String, Vec<Header>), Error> {
    sessions.check_origin(head)?;
    let headers = request.headers().iter().filter(|header| header.field.equiv("Cookie"));
    let mut session =
        sessions.load_from_headers(headers.map(|header| header.value.as_str().as_bytes()))?;
    let visits = session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
    Ok((format!("visit {visits}"), session.finish()?.headers))
}

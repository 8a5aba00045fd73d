//! Counts a visitor's visits, with `tiny_http`, for which there is no adapter: the two calls that
//! serve any framework.
//!
//! ```text
//! cargo run --package sync-session-manager --example tiny_http -- 127.0.0.1:4000
//! ```

use std::io::Write as _;
use std::{env, io};

use session_manager::{CookiePolicy, Error, Header, SessionManager};
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
        let response = match page(&sessions, &request) {
            Ok((page, headers)) => {
                let mut response = Response::from_string(page);
                for (name, value) in headers {
                    // Added, so that the application's other cookies stay.
                    let header = tiny_http::Header::from_bytes(name, value);
                    response.add_header(header.map_err(|()| "the session's headers are ASCII")?);
                }
                response
            }
            Err(error) => {
                let status = if error.is_retryable() { 503 } else { 500 };
                Response::from_string("Please try again.").with_status_code(status)
            }
        };
        // A visitor who has gone misses nothing.
        let _ = request.respond(response);
    }
    Ok(())
}

/// The page, and the headers that the session adds to it.
fn page(sessions: &SessionManager, request: &Request) -> Result<(String, Vec<Header>), Error> {
    let headers = request.headers().iter().filter(|header| header.field.equiv("Cookie"));
    let mut session =
        sessions.load_from_headers(headers.map(|header| header.value.as_str().as_bytes()))?;
    let visits = session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
    Ok((format!("visit {visits}"), session.finish()?.headers))
}

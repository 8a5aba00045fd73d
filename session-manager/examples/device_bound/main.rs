//! Sessions that are bound to the device of their browser: a copy of the cookies is worth nothing
//! elsewhere. With rouille.
//!
//! ```text
//! cargo run --package sync-session-manager --example device_bound \
//!     --features dbsc,rouille -- 127.0.0.1:4000
//! ```
//!
//! It speaks plain HTTP, and browsers bind only to sites with HTTPS: put a proxy in front of it
//! that speaks that. It has no passwords.

mod page;

use std::io::Write as _;
use std::time::Duration;
use std::{env, io};

use rouille::{Request, Response, Server};
use session_manager::store_core::MemoryStore;
use session_manager::{BindingPolicy, BoxError, DeviceBinding, Session, SessionManager};

/// Where browsers register devices and get new device cookies.
const DEVICE_PATH: &str = "/device-session";

/// How long after a login the browser is asked to register.
const FRESH: Duration = Duration::from_secs(10 * 60);

fn main() -> Result<(), BoxError> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4000".to_owned());
    let sessions = SessionManager::new(MemoryStore::new()?)
        .with_device_binding(BindingPolicy::new(DEVICE_PATH).requiring_proof())?;

    let server = Server::new(address, move |request| {
        if request.url() == DEVICE_PATH {
            return sessions.rouille_device_endpoint(request);
        }
        sessions.rouille(request, |session| route(request, session))
    })?;
    writeln!(io::stdout(), "Listening on http://{}/ for a proxy.", server.server_addr())?;
    server.run();
    Ok(())
}

fn route(request: &Request, session: &mut Session<'_>) -> Result<Response, BoxError> {
    match (request.method(), &*request.url()) {
        ("GET", "/") => home(session),
        // The second is where a login at another site ends; OAuth's state and code have to be
        // checked there.
        ("POST", "/login") | ("GET", "/callback") => log_in(session),
        ("POST", "/logout") => {
            session.destroy()?;
            Ok(Response::redirect_303("/"))
        }
        _ => Ok(Response::empty_404()),
    }
}

fn log_in(session: &mut Session<'_>) -> Result<Response, BoxError> {
    session.set_subject("ada")?;
    // Also if the same user logs in again.
    session.mark_authenticated()?;
    session.bind_to_device()?;
    Ok(Response::redirect_303("/"))
}

fn home(session: &mut Session<'_>) -> Result<Response, BoxError> {
    // A browser that came from another site for the login couldn't register.
    if session.device_binding() == DeviceBinding::Unbound && session.authenticated_within(FRESH) {
        session.bind_to_device()?;
    }
    let page = match (session.device_binding(), session.subject()) {
        // The session reads as none, so there is no subject.
        (DeviceBinding::Unproven { .. }, _) => page::unproven(),
        (DeviceBinding::Bound { proved }, Some(user)) => page::bound(&user, proved),
        (_, Some(user)) => page::unbound(&user),
        (_, None) => page::logged_out(),
    };
    Ok(Response::html(page))
}

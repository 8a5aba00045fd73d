//! Counts a visitor's visits, with oxhttp: a server on the types of the `http` crate.
//!
//! ```text
//! cargo run --package sync-session-manager --example oxhttp --features http -- 127.0.0.1:4000
//! ```

use std::io::Write as _;
use std::net::SocketAddr;
use std::{env, io};

use oxhttp::Server;
use oxhttp::model::{Body, Response};
use session_manager::{BoxError, CookiePolicy, SessionManager};
use store_core::MemoryStore;

fn main() -> Result<(), BoxError> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4000".to_owned());

    // This example speaks plain HTTP. Behind HTTPS, leave the cookie as it is: remove the second
    // line.
    let sessions = SessionManager::new(MemoryStore::new()?)
        .with_cookie(CookiePolicy::new().insecure_for_local_development())?;

    let server = Server::new(move |request| {
        sessions.http(request, |_, session| {
            // Browsers send several requests at once; `update` counts all of them.
            let visits = session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
            Ok(Response::new(Body::from(format!("visit {visits}"))))
        })
    });
    let server = server.bind(address.parse::<SocketAddr>()?).spawn()?;
    writeln!(io::stdout(), "Open http://{address}/ in a browser.")?;
    server.join()?;
    Ok(())
}

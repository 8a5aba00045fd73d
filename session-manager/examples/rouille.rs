//! Counts a visitor's visits, with rouille.
//!
//! ```text
//! cargo run --package sync-session-manager --example rouille --features rouille -- 127.0.0.1:4000
//! ```

use std::io::Write as _;
use std::{env, io};

use rouille::{Response, Server};
use session_manager::store_core::MemoryStore;
use session_manager::{BoxError, CookiePolicy, SessionManager};

fn main() -> Result<(), BoxError> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4000".to_owned());

    // This example speaks plain HTTP. Behind HTTPS, leave the cookie as it is: remove the second
    // line.
    let sessions = SessionManager::new(MemoryStore::new()?)
        .with_cookie(CookiePolicy::new().insecure_for_local_development())?;

    let server = Server::new(address, move |request| {
        sessions.rouille(request, |session| {
            // Browsers send several requests at once; `update` counts all of them.
            let visits = session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
            Ok(Response::text(format!("visit {visits}")))
        })
    })?;
    writeln!(io::stdout(), "Open http://{}/ in a browser.", server.server_addr())?;
    server.run();
    Ok(())
}

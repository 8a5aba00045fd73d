//! Counts a visitor's visits, with rouille and sessions in a redb file, without any C.
//!
//! ```text
//! cargo run --package sync-session-store-ql-compat --example ql_sessions
//! ```

use rouille::Response;
use session_manager::{CookiePolicy, Error, SessionManager};
use store_ql_compat::QlStore;

fn main() -> Result<(), Error> {
    // Creates the file if it doesn't exist. A thread removes expired sessions.
    let store = QlStore::open("sessions.redb")?;
    let sessions = SessionManager::new(store)
        // This example speaks plain HTTP. Behind HTTPS, remove this line.
        .with_cookie(CookiePolicy::new().insecure_for_local_development())?;
    rouille::start_server("127.0.0.1:4000", move |request| {
        sessions.rouille(request, |session| {
            let visits = session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
            Ok(Response::text(format!("visit {visits}")))
        })
    });
}

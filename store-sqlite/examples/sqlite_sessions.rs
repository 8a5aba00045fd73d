//! Counts a visitor's visits, with rouille and sessions in a SQLite file.
//!
//! ```text
//! cargo run --package sync-session-store-sqlite --example sqlite_sessions
//! ```

use rouille::Response;
use session_manager::{CookiePolicy, Error, SessionManager};
use store_sqlite::SqliteStore;

fn main() -> Result<(), Error> {
    // Creates the file and the table if they don't exist. A thread removes expired sessions.
    let store = SqliteStore::open("sessions.db")?;
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

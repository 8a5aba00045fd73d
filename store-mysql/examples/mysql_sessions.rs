//! Counts a visitor's visits, with rouille and sessions in MySQL or MariaDB.
//!
//! ```text
//! DATABASE_URL=mysql://app:secret@localhost/app \
//!     cargo run --package sync-session-store-mysql --example mysql_sessions
//! ```

use rouille::Response;
use session_manager::{BoxError, CookiePolicy, SessionManager};
use store_mysql::{MysqlOptions, MysqlStore};

fn main() -> Result<(), BoxError> {
    let pool = MysqlOptions::new().pool(&std::env::var("DATABASE_URL")?)?;
    // Once, by an account that may create tables. The store itself only reads and writes rows.
    MysqlStore::create_table(&pool)?;
    // A thread removes expired sessions.
    let sessions = SessionManager::new(MysqlStore::new(pool)?)
        // This example speaks plain HTTP. Behind HTTPS, remove this line.
        .with_cookie(CookiePolicy::new().insecure_for_local_development())?;
    rouille::start_server("127.0.0.1:4000", move |request| {
        sessions.rouille(request, |session| {
            let visits = session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
            Ok(Response::text(format!("visit {visits}")))
        })
    });
}

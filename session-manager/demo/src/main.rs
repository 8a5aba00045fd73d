//! A small rouille application that keeps its sessions in one of the stores.
//!
//! ```text
//! cargo run --package sessions-demo -- sqlite 127.0.0.1:4000 target/demo.db
//! cargo run --package sessions-demo --features ql -- ql 127.0.0.1:4000 target/demo.redb
//! DATABASE_URL=mysql://app:secret@localhost/app \
//!     cargo run --package sessions-demo --features mysql -- mysql
//! ```
//!
//! `cargo xtask demo` runs it, and starts a server for MySQL. Count your visits, leave a note, log
//! in from two browsers, and log one of them out from the other. Stop the demo or the database with
//! `kill -9` and start it again: everybody is still logged in.
//!
//! `DEMO_IDLE_TIMEOUT`, `DEMO_ROTATION` and `DEMO_CLEANUP_INTERVAL` set times in seconds,
//! `DEMO_TIMEOUT_MS` how long the store waits, and `DEMO_CONNECTIONS` the size of its pool. With
//! the feature `metrics`, visitors from the same machine find figures for Prometheus at `/metrics`.

mod app;

mod connections;

#[cfg(feature = "metrics")]
mod metrics;

mod settings;

mod stores;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, io};

use rouille::Request;
use session_manager::{BoxError, CookiePolicy, SessionManager};
use store_core::ErrorChain;

use crate::app::App;
use crate::connections::Connections;
use crate::settings::Settings;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Serves the application on a store and an address, which are the first two arguments. The third
/// is the file of a store that has one.
fn serve() -> Result<(), BoxError> {
    let mut arguments = env::args().skip(1);
    let store = arguments.next().unwrap_or_else(|| "sqlite".to_owned());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:4000".to_owned());
    let settings = Settings::from_env()?;
    let opened = stores::open(&store, arguments.next(), &settings)?;
    let store = opened.store;
    #[cfg(feature = "metrics")]
    let (store, metrics) = metrics::Metrics::of(store)?;
    let sessions = settings
        .apply(SessionManager::new(store))?
        // The demo is served on plain HTTP; an application on HTTPS leaves this line out.
        .with_cookie(CookiePolicy::new().insecure_for_local_development())?
        .with_error_responder(|error, _| {
            log(error);
            app::error_page(error)
        });
    let app = App::new(sessions, opened.label);
    let connections = Arc::new(Connections::default());
    let of_requests = Arc::clone(&connections);
    let respond = move |request: &Request| {
        of_requests.request_came();
        #[cfg(feature = "metrics")]
        if let Some(figures) = metrics.respond(request) {
            return figures;
        }
        app.respond(request)
    };
    let server = rouille::Server::new(&address, respond)
        .map_err(|error| format!("can't listen on {address} (another one: --addr): {error}"))?;
    connections.keep_moving(server.server_addr())?;
    announce(&format!(
        "Sessions are in {}. Open http://{}/ in a browser.{}",
        opened.place,
        server.server_addr(),
        if cfg!(feature = "metrics") { " Figures for Prometheus are at /metrics." } else { "" }
    ))?;
    server.run();
    Ok(())
}

fn announce(line: &str) -> io::Result<()> {
    use io::Write as _;
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

fn log(error: &(dyn Error + 'static)) {
    use io::Write as _;
    // If not even standard error can be written to, there is nobody to report it to.
    let _ = writeln!(io::stderr(), "{}", ErrorChain(error));
}

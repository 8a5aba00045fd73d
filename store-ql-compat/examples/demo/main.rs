//! A small rouille application that keeps its sessions in a file of redb, without a line of C.
//!
//! ```text
//! cargo run --package store-ql-compat --example demo-ql -- 127.0.0.1:4000 target/demo.redb
//! ```
//!
//! Count your visits, leave a note, log in from two browsers, and log one of them out from the other. Stop it
//! with `kill -9` and start it again: everybody is still logged in.

// The application doesn't know the store.
#[path = "../../../store-sqlite/examples/demo/app.rs"]
mod app;

use std::error::Error;
use std::process::ExitCode;
use std::{env, io};

use session_manager::{CookiePolicy, ErrorResponse, SessionManager};
use store_ql_compat::QlStore;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log_error(&*error);
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:4000".to_owned());
    let path = arguments.next().unwrap_or_else(|| "demo.redb".to_owned());

    let store =
        QlStore::open(&path).inspect_err(|_| log(&format!("can't keep sessions in {path}")))?;
    let sessions = SessionManager::with_subjects(store)
        // The demo is served on plain HTTP; an application on HTTPS leaves this line out.
        .with_cookie(CookiePolicy::new().insecure_for_local_development())?
        .with_error_responder(|error| {
            log_error(error);
            ErrorResponse::default_for(error)
        });
    let server = rouille::Server::new(&address, move |request| app::respond(&sessions, request))
        .map_err(|error| format!("can't listen on {address} (another one: --addr): {error}"))?;
    announce(&format!(
        "Sessions are in {path}. Open http://{}/ in a browser.",
        server.server_addr()
    ))?;
    server.run();
    Ok(())
}

fn announce(line: &str) -> io::Result<()> {
    use io::Write as _;
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

fn log_error(error: &(dyn Error + 'static)) {
    let mut causes = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes = format!("{causes}: {error}");
        cause = error.source();
    }
    log(&causes);
}

fn log(line: &str) {
    use io::Write as _;
    // Where not even standard error can be written to, nobody is left to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

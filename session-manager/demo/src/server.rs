//! What the demos of all stores share beside the application: a server, and words for the person at
//! the terminal.

use std::error::Error;
use std::process::ExitCode;
use std::{env, io};

use session_manager::{CookiePolicy, ErrorResponse, SessionManager};
use store_core::{ErrorChain, Store};

use crate::app;

/// Where a store keeps sessions, and the store.
pub(crate) type Opened<S> = (String, Result<S, store_core::Error>);

/// Serves the application on the address that the first argument names, on the store that `open`
/// makes of the second.
pub(crate) fn run<S: Store + 'static>(open: impl FnOnce(Option<String>) -> Opened<S>) -> ExitCode {
    match serve(open) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&*error);
            ExitCode::FAILURE
        }
    }
}

fn serve<S: Store + 'static>(
    open: impl FnOnce(Option<String>) -> Opened<S>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:4000".to_owned());
    let (place, store) = open(arguments.next());
    let store = store.inspect_err(|_| say(&format!("can't keep sessions in {place}")))?;
    let sessions = SessionManager::new(store)
        // The demo is served on plain HTTP; an application on HTTPS leaves this line out.
        .with_cookie(CookiePolicy::new().insecure_for_local_development())?
        .with_error_responder(|error| {
            log(error);
            ErrorResponse::default_for(error)
        });
    let server = rouille::Server::new(&address, move |request| app::respond(&sessions, request))
        .map_err(|error| format!("can't listen on {address} (another one: --addr): {error}"))?;
    announce(&format!(
        "Sessions are in {place}. Open http://{}/ in a browser.",
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

fn log(error: &(dyn Error + 'static)) {
    say(&ErrorChain(error).to_string());
}

fn say(line: &str) {
    use io::Write as _;
    // Where not even standard error can be written to, nobody is left to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

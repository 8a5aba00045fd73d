//! The servers of a test program: one that all tests share, and those of single tests.

use std::env;
use std::io::{self, Write as _};
use std::sync::OnceLock;

use crate::{
    Installation, PrivateServer, REQUIRED_VARIABLE, Release, Result, SERVER_VARIABLE,
    ServerOptions, URL_VARIABLE,
};

/// The server that all tests of a program share. They make their own databases, and touch nothing
/// else.
#[derive(Debug)]
pub struct SharedServer {
    url: String,
    private: Option<PrivateServer>,
}

impl SharedServer {
    /// The URL of the server. That of a private one names no database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server, unless it is the one that [`URL_VARIABLE`] names.
    pub fn private(&self) -> Option<&PrivateServer> {
        self.private.as_ref()
    }
}

/// Returns the server that all tests of this program share; the first call starts it. If there is
/// none, reports on standard error that tests are skipped, even if the tests' output is captured.
///
/// # Panics
///
/// There is none and [`REQUIRED_VARIABLE`] is set, or it doesn't start.
pub fn shared_server() -> Option<&'static SharedServer> {
    static SERVER: OnceLock<Option<SharedServer>> = OnceLock::new();
    SERVER
        .get_or_init(|| start().unwrap_or_else(|error| panic!("there is no server: {error}")))
        .as_ref()
}

/// Whether there is a server, or tests have to be skipped. See [`shared_server`].
pub fn is_server_there() -> bool {
    shared_server().is_some()
}

/// Starts a server for one test, which may change its settings and harm it. Returns `None` if the
/// programs aren't on this machine, or if [`URL_VARIABLE`] names the server of the tests instead.
pub fn private_server(options: ServerOptions) -> Option<PrivateServer> {
    shared_server()?;
    let release = Release::from_env().expect("a product");
    let installation = Installation::find(release).expect("programs that run")?;
    Some(PrivateServer::start(&installation, options).expect("it starts"))
}

fn start() -> Result<Option<SharedServer>> {
    if let Ok(url) = env::var(URL_VARIABLE) {
        return Ok(Some(SharedServer { url, private: None }));
    }
    let release = Release::from_env()?;
    if let Some(installation) = Installation::find(release)? {
        let server = PrivateServer::start(&installation, ServerOptions::new())?;
        return Ok(Some(SharedServer { url: server.url(), private: Some(server) }));
    }
    let task = format!("`cargo xtask test-mysql --server {}`", release.name());
    if env::var_os(REQUIRED_VARIABLE).is_some() {
        let problem = format!("{REQUIRED_VARIABLE} is set, and there is no {release}");
        return Err(format!("{problem}; run {task}, which gets it").into());
    }
    // Not `eprintln!`, whose output tests capture.
    let _ = writeln!(
        io::stderr(),
        "!!! SKIPPED: there is no {release} here, so nothing is tested on it.
!!! {task} gets it. ({SERVER_VARIABLE} chooses it, {URL_VARIABLE} a server.)"
    );
    Ok(None)
}

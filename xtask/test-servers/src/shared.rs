//! The one server that all tests of a program share.

use std::env;
use std::io::{self, Write as _};
use std::sync::OnceLock;

use super::{
    Installation, PRODUCT_VARIABLE, PrivateServer, Product, REQUIRED_VARIABLE, ServerOptions,
    URL_VARIABLE,
};
use crate::Result;

/// The server that all tests of a program share. They make databases of their own, and touch nothing else.
#[derive(Debug)]
pub struct SharedServer {
    url: String,
    private: Option<PrivateServer>,
}

impl SharedServer {
    /// The URL of the server. That of a private one names no database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server, unless it is the one that [`URL_VARIABLE`] names.
    #[must_use]
    pub fn private(&self) -> Option<&PrivateServer> {
        self.private.as_ref()
    }
}

/// The server that all tests of this program share, started by the first that asks. Where there is
/// none, the answer is `None`, and standard error says so even where tests' output is captured.
///
/// # Panics
///
/// There is none and [`REQUIRED_VARIABLE`] is set, or there is one and it doesn't start.
pub fn shared_server() -> Option<&'static SharedServer> {
    static SERVER: OnceLock<Option<SharedServer>> = OnceLock::new();
    SERVER
        .get_or_init(|| start().unwrap_or_else(|error| panic!("there is no server: {error}")))
        .as_ref()
}

fn start() -> Result<Option<SharedServer>> {
    if let Ok(url) = env::var(URL_VARIABLE) {
        return Ok(Some(SharedServer { url, private: None }));
    }
    let product = Product::from_env()?;
    if let Some(installation) = Installation::find(product)? {
        let server = PrivateServer::start(&installation, ServerOptions::new())?;
        return Ok(Some(SharedServer { url: server.url(), private: Some(server) }));
    }
    if env::var_os(REQUIRED_VARIABLE).is_some() {
        let how =
            format!("run `cargo xtask test-mysql --server {}`, which gets it", product.name());
        return Err(format!("{REQUIRED_VARIABLE} is set, and there is no {product}; {how}").into());
    }
    // Not the macro, whose output tests capture.
    let name = product.name();
    let _ = writeln!(
        io::stderr(),
        "!!! SKIPPED: there is no {product} here, so nothing is tested on it.
!!! `cargo xtask test-mysql --server {name}` gets it. ({PRODUCT_VARIABLE} chooses the product, {URL_VARIABLE} a server.)"
    );
    Ok(None)
}

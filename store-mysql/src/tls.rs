//! Encrypted connections.

use rustls::crypto::{CryptoProvider, ring};

/// Names the cryptography that the driver is to use, unless the application has named its own.
///
/// rustls finds it by itself as long as only one is compiled into the program; where another crate
/// brings a second one it would panic at the first connection.
pub(crate) fn install_default_provider() {
    if CryptoProvider::get_default().is_none() {
        // Somebody else may have been faster, which is as good.
        let _ = ring::default_provider().install_default();
    }
}

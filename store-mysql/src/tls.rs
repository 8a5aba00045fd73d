//! Encrypted connections.

use rustls::crypto::{CryptoProvider, ring};

/// Chooses the cryptography of the driver, unless the application has chosen.
///
/// rustls chooses by itself if only one is compiled into the program. If another crate brings a
/// second one, it would panic at the first connection.
pub(crate) fn install_default_provider() {
    if CryptoProvider::get_default().is_none() {
        // Another thread may have been faster, which is as good.
        let _ = ring::default_provider().install_default();
    }
}

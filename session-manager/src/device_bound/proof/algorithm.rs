//! How devices sign.

/// An algorithm of RFC 7518, section 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[cfg(feature = "dbsc-rs256")]
    Rs256,
}

impl Algorithm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            #[cfg(feature = "dbsc-rs256")]
            Self::Rs256 => "RS256",
        }
    }
}

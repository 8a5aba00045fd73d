//! The device cookies of a request.

/// The device cookies that a request came with, as hashes. Without the feature `dbsc` there is
/// nothing to it.
#[derive(Clone, Default)]
pub(crate) struct SentDeviceCookies {
    #[cfg(feature = "dbsc")]
    pub(crate) hashes: Vec<String>,
}

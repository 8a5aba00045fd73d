//! Waits for a connection.

use std::time::Instant;

/// The histogram, with the feature `metrics`.
#[cfg(feature = "metrics")]
pub(crate) const POOL_WAIT: &str = "session_store_pool_wait_seconds";

/// Records how long an operation has waited for a connection of its pool, in vain or not, in the
/// histogram `session_store_pool_wait_seconds`. Without the feature `metrics` it does nothing.
///
/// # Examples
/// ```
/// use std::time::Instant;
/// use store_core::backend::record_pool_wait;
///
/// let started = Instant::now();
/// // Here a store takes a connection from its pool.
/// record_pool_wait(started);
/// ```
pub fn record_pool_wait(started: Instant) {
    #[cfg(feature = "metrics")]
    metrics::histogram!(POOL_WAIT).record(started.elapsed());
    #[cfg(not(feature = "metrics"))]
    let _ = started;
}

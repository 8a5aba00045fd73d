//! Since when no server has taken a connection, and why.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::connect_error::ConnectError;
use crate::lock::lock;

/// For how long after an attempt to connect has failed its error is told to whoever comes, on top
/// of the time that the attempt took.
const MEMORY: Duration = Duration::from_secs(1);

/// How often the failures of one outage are logged as warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(30);

/// The outage of all servers, if there is one.
#[derive(Default)]
pub(crate) struct Outage(Mutex<Option<Failures>>);

/// The attempts to connect since the last that succeeded.
struct Failures {
    since: Instant,
    warned_at: Instant,
    latest: Instant,
    /// How long the latest attempt took.
    took: Duration,
    error: ConnectError,
}

impl Outage {
    /// Records an attempt that has begun at this moment and failed. Returns whether a person wants
    /// to know.
    pub(crate) fn record_failure(&self, begun: Instant, error: ConnectError) -> bool {
        let now = Instant::now();
        let mut failures = lock(&self.0);
        let (since, warned_at) = match &*failures {
            Some(earlier) => (earlier.since, Some(earlier.warned_at)),
            None => (begun, None),
        };
        let is_news = warned_at.is_none_or(|at| now.duration_since(at) >= WARNING_INTERVAL);
        let warned_at = warned_at.filter(|_| !is_news).unwrap_or(now);
        let took = now.duration_since(begun);
        *failures = Some(Failures { since, warned_at, latest: now, took, error });
        is_news
    }

    pub(crate) fn record_success(&self) {
        *lock(&self.0) = None;
    }

    /// Why an operation isn't to wait for a connection: no server has taken one for this long, or
    /// all of them have denied it. `None` if that isn't known, or was too long ago.
    pub(crate) fn refusal(&self, patience: Duration) -> Option<ConnectError> {
        lock(&self.0)
            .as_ref()
            .filter(|failures| failures.latest.elapsed() <= failures.took + MEMORY)
            .filter(|failures| {
                failures.error.is_denied()
                    || failures.latest.duration_since(failures.since) >= patience
            })
            .map(|failures| failures.error.clone())
    }

    /// Why the latest attempt failed, if it was after this moment.
    pub(crate) fn failure_since(&self, moment: Option<Instant>) -> Option<ConnectError> {
        lock(&self.0)
            .as_ref()
            .filter(|failures| moment.is_none_or(|moment| failures.latest >= moment))
            .map(|failures| failures.error.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_is_told_after_the_patience_and_denial_at_once() {
        let patience = Duration::from_secs(60);
        let outage = Outage::default();
        assert!(outage.refusal(Duration::ZERO).is_none());
        let now = Instant::now();
        outage.record_failure(now, ConnectError::refused("away".to_owned()));
        assert!(outage.refusal(patience).is_none());
        assert!(outage.refusal(Duration::ZERO).is_some());
        outage.record_failure(now, ConnectError::denied("no access".to_owned()));
        assert!(outage.refusal(patience).is_some());
        outage.record_success();
        assert!(outage.refusal(Duration::ZERO).is_none());
    }

    #[test]
    fn outage_is_news_once() {
        let outage = Outage::default();
        let failure = || ConnectError::refused("away".to_owned());
        let now = Instant::now();
        assert!(outage.record_failure(now, failure()));
        assert!(!outage.record_failure(now, failure()));
        outage.record_success();
        assert!(outage.record_failure(now, failure()));
    }
}

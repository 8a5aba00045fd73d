//! Calls of the store under test that fail the claim on a fault of the system, and what waits for
//! them.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::{RecvTimeoutError, bounded};
use store_core::{Change, CleanupOptions, Error, Loaded, Rotation, Store};

use crate::Harness;

/// A grace that is longer than any test.
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// A store without a cleanup thread.
pub(crate) fn unswept<H: Harness>(harness: &H) -> H::Store {
    harness.store(CleanupOptions::disabled())
}

pub(crate) fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

pub(crate) fn an_hour_ago() -> DateTime<Utc> {
    Utc::now() - TimeDelta::hours(1)
}

/// The data under a token; a fault of the system fails the test.
pub(crate) fn found(store: &dyn Store, token: &str) -> Option<Vec<u8>> {
    store.find(token).expect("find returns no error")
}

pub(crate) fn commit(store: &dyn Store, token: &str, data: &[u8], expiry: DateTime<Utc>) {
    store.commit(token, data, expiry).expect("commit succeeds");
}

pub(crate) fn loaded(store: &dyn Store, token: &str) -> Loaded {
    store.load(token).expect("load returns no error")
}

pub(crate) fn update(store: &dyn Store, token: &str, current: &[u8], change: &Change<'_>) -> bool {
    store.update(token, current, change).expect("update answers")
}

/// A change that gives a session this data and a new token.
pub(crate) fn rotation<'a>(new_token: &'a str, data: &'a [u8]) -> Change<'a> {
    Change::new(data, in_an_hour()).with_rotation(Rotation::new(new_token))
}

/// A rotation whose grace doesn't end while a test runs.
pub(crate) fn lasting(new_token: &str) -> Rotation<'_> {
    Rotation::new(new_token).with_grace(HOUR)
}

/// Tries an operation that must not bring a session (back) to life on every kind of one that isn't.
pub(crate) fn assert_not_revived(
    store: &dyn Store,
    operation: &str,
    revive: impl Fn(&str) -> Result<bool, Error>,
) {
    commit(store, "deleted", b"data", in_an_hour());
    store.delete("deleted").expect("delete succeeds");
    commit(store, "expired", b"data", an_hour_ago());
    commit(store, "ended", b"data", in_an_hour());
    assert!(store.touch("ended", an_hour_ago()).expect("touch succeeds"));
    commit(store, "rotated", b"data", in_an_hour());
    assert!(update(store, "rotated", b"data", &rotation("elsewhere", b"data")));
    for token in ["never-written", "deleted", "expired", "ended", "rotated"] {
        assert!(!revive(token).expect("it answers"), "{operation} of a {token} session is false");
        assert_eq!(found(store, token), None, "{operation} leaves a {token} session dead");
    }
    assert_eq!(walk(store).len(), 1, "only the rotated session lives, elsewhere");
    store.delete("elsewhere").expect("delete succeeds");
}

/// Clause 8: never later, at most 1 ms earlier.
pub(crate) fn assert_stored(given: DateTime<Utc>, stored: DateTime<Utc>) {
    let early = given - stored;
    assert!(
        early >= TimeDelta::zero() && early <= TimeDelta::milliseconds(1),
        "expiry {given:?} was stored as {stored:?}"
    );
}

/// Every session that a walk shows, as often as it shows it.
pub(crate) fn walk(store: &dyn Store) -> Vec<(String, Vec<u8>, DateTime<Utc>)> {
    let mut seen = Vec::new();
    store
        .for_each(&mut |record| {
            seen.push((record.token.to_owned(), record.data.to_owned(), record.expiry));
            ControlFlow::Continue(())
        })
        .expect("the walk succeeds");
    seen
}

/// Ends the loops of other threads, also when the one that holds it panics.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs something that must not hang, on a thread of its own, and gives up after the patience.
pub(crate) fn within<T: Send + 'static>(
    patience: Duration,
    what: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, result) = bounded(1);
    let thread = thread::spawn(move || {
        // Nobody receives once the patience has ended.
        let _ = done.send(run());
    });
    match result.recv_timeout(patience) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("{what} did not end within {patience:?}"),
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => unreachable!("the thread sends before it ends"),
        },
    }
}

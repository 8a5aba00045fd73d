//! Counts and times what a store does.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Instant;

use chrono::{DateTime, Utc};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::backend::pool_wait::POOL_WAIT;
use crate::{Change, CleanupStatistics, Error, Loaded, OwnedRecord, Record, Store};

const OPERATIONS: &str = "session_store_operations_total";
const SECONDS: &str = "session_store_operation_seconds";
const CLEANUP_RUNS: &str = "session_store_cleanup_runs";
const CLEANUP_FAILURES: &str = "session_store_cleanup_failures";
const CLEANUP_REMOVED: &str = "session_store_cleanup_removed_sessions";

/// A store whose operations are counted and timed through the facade
/// [`metrics`](https://docs.rs/metrics), for whichever recorder the application has installed.
///
/// | metric | kind | labels |
/// |---|---|---|
/// | `session_store_operations_total` | counter | `operation`, as the method is named; `outcome` |
/// | `session_store_operation_seconds` | histogram | `operation` |
/// | `session_store_pool_wait_seconds` | histogram | |
/// | `session_store_cleanup_runs`, `…_failures`, `…_removed_sessions` | gauge | |
///
/// The outcome is `ok`; `missing` for a `find`, `load` or `touch` of no live session; `rotated` for
/// a `load` of a token from before a renewal; `conflict` for an `update` or `create_with` whose
/// condition didn't hold, and a token that was taken; and for errors `pool_exhausted`,
/// `unreachable`, `contended`, or `error`. How long an operation waits for a connection of its pool
/// is part of its time, and a metric of its own, which the stores record by themselves; who keeps a
/// connection waits for none. The gauges of the cleanup are set by
/// [`record_cleanup`](Self::record_cleanup). No label has a token, a subject or data in it.
///
/// # Examples
/// ```
/// use store_core::{MemoryStore, MeteredStore, Store};
///
/// let store = MeteredStore::new(MemoryStore::new()?);
/// assert_eq!(store.find("token")?, None); // counted as `missing`
/// store.record_cleanup();
/// # Ok::<(), store_core::Error>(())
/// ```
#[derive(Debug)]
pub struct MeteredStore<S> {
    store: S,
}

impl<S: Store> MeteredStore<S> {
    /// Counts and times what this store does.
    ///
    /// # Examples
    /// ```
    /// use store_core::{MemoryStore, MeteredStore, Store};
    ///
    /// let store = MeteredStore::new(MemoryStore::new()?);
    /// assert_eq!(store.count()?, 0);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn new(store: S) -> Self {
        describe_counter!(OPERATIONS, "Operations on the store of sessions.");
        describe_histogram!(SECONDS, Unit::Seconds, "How long they took.");
        describe_histogram!(POOL_WAIT, Unit::Seconds, "How long they waited for a connection.");
        describe_gauge!(CLEANUP_RUNS, "Runs of the cleanup, failed ones included.");
        describe_gauge!(CLEANUP_FAILURES, "Runs of the cleanup that failed.");
        describe_gauge!(CLEANUP_REMOVED, "Expired sessions that the cleanup has removed.");
        Self { store }
    }

    /// Sets the gauges of the cleanup to what its thread has done so far: call it when figures are
    /// collected.
    ///
    /// # Examples
    /// ```
    /// use store_core::{MemoryStore, MeteredStore};
    ///
    /// MeteredStore::new(MemoryStore::new()?).record_cleanup();
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    pub fn record_cleanup(&self) {
        let CleanupStatistics { runs, failures, removed, .. } = self.store.cleanup_statistics();
        gauge!(CLEANUP_RUNS).set(runs as f64);
        gauge!(CLEANUP_FAILURES).set(failures as f64);
        gauge!(CLEANUP_REMOVED).set(removed as f64);
    }

    fn measure<T>(
        &self,
        operation: &'static str,
        outcome: impl FnOnce(&T) -> &'static str,
        run: impl FnOnce(&S) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let result = run(&self.store);
        histogram!(SECONDS, "operation" => operation).record(started.elapsed());
        let outcome = match &result {
            Ok(value) => outcome(value),
            Err(Error::TokenTaken) => "conflict",
            Err(Error::PoolExhausted { .. }) => "pool_exhausted",
            Err(Error::Unreachable { .. }) => "unreachable",
            Err(Error::Contended { .. }) => "contended",
            Err(_) => "error",
        };
        counter!(OPERATIONS, "operation" => operation, "outcome" => outcome).increment(1);
        result
    }
}

fn done<T>(_: &T) -> &'static str {
    "ok"
}

#[expect(clippy::ref_option, reason = "it is given what an operation returns")]
fn found(data: &Option<Vec<u8>>) -> &'static str {
    if data.is_some() { "ok" } else { "missing" }
}

fn loaded(loaded: &Loaded) -> &'static str {
    match loaded {
        Loaded::Live { .. } => "ok",
        Loaded::Rotated { .. } => "rotated",
        Loaded::Missing => "missing",
    }
}

impl<S: Store> Store for MeteredStore<S> {
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        self.measure("find", found, |store| store.find(token))
    }

    fn load(&self, token: &str) -> Result<Loaded, Error> {
        self.measure("load", loaded, |store| store.load(token))
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        self.measure("commit", done, |store| store.commit(token, data, expiry))
    }

    fn create(
        &self,
        token: &str,
        data: &[u8],
        expiry: DateTime<Utc>,
        subject: Option<&str>,
    ) -> Result<(), Error> {
        self.measure("create", done, |store| store.create(token, data, expiry, subject))
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        self.measure(
            "create_with",
            |changed| if *changed { "ok" } else { "conflict" },
            |store| store.create_with(token, change),
        )
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        self.measure(
            "update",
            |changed| if *changed { "ok" } else { "conflict" },
            |store| store.update(token, current, change),
        )
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        self.measure(
            "touch",
            |touched| if *touched { "ok" } else { "missing" },
            |store| store.touch(token, expiry),
        )
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        self.measure("delete", done, |store| store.delete(token))
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        self.measure("find_by_subject", done, |store| store.find_by_subject(subject))
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        self.measure("subject_of", done, |store| store.subject_of(token))
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        self.measure(
            "delete_by_subject",
            |_| "ok",
            |store| store.delete_by_subject(subject, except),
        )
    }

    fn delete_all(&self) -> Result<u64, Error> {
        self.measure("delete_all", done, Store::delete_all)
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        self.measure("delete_expired", done, Store::delete_expired)
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        self.measure("for_each", done, |store| store.for_each(visit))
    }

    fn all(&self) -> Result<HashMap<String, Vec<u8>>, Error> {
        self.measure("all", done, Store::all)
    }

    fn count(&self) -> Result<u64, Error> {
        self.measure("count", done, Store::count)
    }

    fn now(&self) -> DateTime<Utc> {
        self.store.now()
    }

    fn stop_cleanup(&self) {
        self.store.stop_cleanup();
    }

    fn cleanup_statistics(&self) -> CleanupStatistics {
        self.store.cleanup_statistics()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use chrono::TimeDelta;
    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata,
        Recorder, SharedString, with_local_recorder,
    };

    use super::*;
    use crate::backend::record_pool_wait;
    use crate::sync::{Mutex, PoisonError};
    use crate::{CleanupOptions, MemoryOptions, Rotation};

    /// How often each metric was counted or recorded, or what it was set to, by name and labels.
    #[derive(Default)]
    struct Recorded(Mutex<HashMap<String, Arc<Times>>>);

    #[derive(Default)]
    struct Times(AtomicU64);

    impl GaugeFn for Times {
        fn increment(&self, value: f64) {
            panic!("cleanups are set, not counted: {value}");
        }

        fn decrement(&self, value: f64) {
            panic!("cleanups are set, not counted: {value}");
        }

        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few runs")]
        fn set(&self, value: f64) {
            self.0.store(value as u64, Ordering::Relaxed);
        }
    }

    impl CounterFn for Times {
        fn increment(&self, value: u64) {
            self.0.fetch_add(value, Ordering::Relaxed);
        }

        fn absolute(&self, value: u64) {
            self.0.store(value, Ordering::Relaxed);
        }
    }

    impl HistogramFn for Times {
        fn record(&self, seconds: f64) {
            assert!(seconds >= 0.0);
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Recorded {
        fn times(&self, key: &Key) -> Arc<Times> {
            let labels = key.labels().map(|label| format!(" {}", label.value()));
            let name = format!("{}{}", key.name(), labels.collect::<String>());
            let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(recorded.entry(name).or_default())
        }

        fn get(&self, name: &str) -> u64 {
            let recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            recorded.get(name).map_or(0, |times| times.0.load(Ordering::Relaxed))
        }
    }

    impl Recorder for Recorded {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.times(key))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.times(key))
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.times(key))
        }
    }

    #[test]
    fn each_operation_is_counted_by_its_outcome_and_timed() -> Result<(), Error> {
        let recorded = Recorded::default();
        with_local_recorder(&recorded, || {
            let options = MemoryOptions::new().with_cleanup(CleanupOptions::disabled());
            let store = MeteredStore::new(options.build()?);
            let expiry = Utc::now() + TimeDelta::hours(1);
            store.create("token", b"data", expiry, None)?;
            assert!(matches!(store.create("token", b"data", expiry, None), Err(Error::TokenTaken)));
            assert!(store.find("token")?.is_some() && store.find("other")?.is_none());
            let renewal = Change::new(b"data", expiry).with_rotation(Rotation::new("new"));
            assert!(store.update("token", b"data", &renewal)?);
            assert!(!store.update("token", b"data", &renewal)?);
            assert!(matches!(store.load("token")?, Loaded::Rotated { .. }));
            assert!(!store.touch("token", expiry)?);
            assert!(matches!(store.commit("", b"data", expiry), Err(Error::InvalidToken(_))));
            record_pool_wait(Instant::now());
            Ok::<_, Error>(())
        })?;
        for counted in [
            "create ok",
            "create conflict",
            "find ok",
            "find missing",
            "update ok",
            "update conflict",
            "load rotated",
            "touch missing",
            "commit error",
        ] {
            assert_eq!(recorded.get(&format!("{OPERATIONS} {counted}")), 1, "{counted}");
        }
        assert_eq!(recorded.get(&format!("{SECONDS} find")), 2);
        assert_eq!(recorded.get(POOL_WAIT), 1);
        let names = recorded.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(names.keys().all(|name| !name.contains("token")), "{:?}", names.keys());
        Ok(())
    }

    #[test]
    fn what_the_cleanup_has_done_is_shown_as_gauges() -> Result<(), Error> {
        let recorded = Recorded::default();
        with_local_recorder(&recorded, || {
            let (cleanup, manual) = CleanupOptions::new().with_manual_cleanup();
            let store = MeteredStore::new(MemoryOptions::new().with_cleanup(cleanup).build()?);
            for token in ["one", "two", "three"] {
                store.commit(token, b"data", Utc::now() - TimeDelta::hours(1))?;
            }
            assert!(manual.run() && manual.run() && manual.wait_until_idle());
            store.record_cleanup();
            Ok::<_, Error>(())
        })?;
        let gauges = [CLEANUP_RUNS, CLEANUP_FAILURES, CLEANUP_REMOVED];
        assert_eq!(gauges.map(|gauge| recorded.get(gauge)), [2, 0, 3]);
        Ok(())
    }
}

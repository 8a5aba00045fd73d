//! A store that is opened when it is first used, or once its database is there.

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::sync::{AtomicBool, Mutex, Ordering, PoisonError};
use crate::{Change, CleanupStatistics, Error, Loaded, OwnedRecord, Record, Store};

/// How long [`LazyStore::wait_until_open`] pauses between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// A store whose database may be away when the application starts.
///
/// It is opened by its first operation, or by [`wait_until_open`](Self::wait_until_open), and from
/// then on it is that store. As long as it can't be opened, each operation returns the reason. One
/// thread at a time tries; the others wait for its outcome, and after a failure nobody tries for as
/// long as that attempt took, at least a second. So if the database's host is silent, requests wait
/// for one attempt at most, and half of them for none.
///
/// Until it is open, [`now`](Store::now) is this machine's clock, and nothing is cleaned up. A
/// missing table is an error at the first use then, and not when the application starts.
///
/// # Examples
/// ```
/// use store_core::{Error, LazyStore, MemoryStore, Store};
///
/// let away = || Error::Unreachable { source: "connection refused".into() };
/// let store = LazyStore::new(move || Err::<MemoryStore, _>(away()));
/// assert!(matches!(store.find("token"), Err(Error::Unreachable { .. })));
/// assert!(!store.is_open());
///
/// let store = LazyStore::new(MemoryStore::new);
/// assert_eq!(store.find("token")?, None);
/// assert!(store.is_open());
/// # Ok::<(), Error>(())
/// ```
pub struct LazyStore<S> {
    store: OnceLock<S>,
    /// Why it couldn't be opened, and until when nobody tries again.
    failed: Mutex<Option<(Error, Instant)>>,
    /// Whether the cleanup was stopped, maybe before there was one.
    is_stopped: AtomicBool,
    open: Box<dyn Fn() -> Result<S, Error> + Send + Sync>,
}

impl<S: Store> LazyStore<S> {
    /// A store that `open` opens when it is first used.
    ///
    /// # Examples
    /// ```
    /// use store_core::{LazyStore, MemoryStore, Store};
    ///
    /// // As with MysqlStore::connect("mysql://app@db.example/app").
    /// let store = LazyStore::new(|| MemoryStore::new());
    /// assert!(!store.is_open());
    /// assert_eq!(store.count()?, 0);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn new(open: impl Fn() -> Result<S, Error> + Send + Sync + 'static) -> Self {
        Self {
            store: OnceLock::new(),
            failed: Mutex::default(),
            is_stopped: AtomicBool::new(false),
            open: Box::new(open),
        }
    }

    /// Returns whether the store has been opened.
    ///
    /// # Examples
    /// ```
    /// use store_core::{LazyStore, MemoryStore};
    ///
    /// assert!(!LazyStore::new(MemoryStore::new).is_open());
    /// ```
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.store.get().is_some()
    }

    /// Opens the store, and tries again as long as its database is [away or
    /// busy](Error::is_retryable), until the timeout.
    ///
    /// # Errors
    /// Why it couldn't be opened the last time. Errors that time doesn't heal, as a missing table,
    /// are returned at once.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_core::{LazyStore, MemoryStore, Store};
    ///
    /// let store = LazyStore::new(MemoryStore::new);
    /// store.wait_until_open(Duration::from_secs(60))?;
    /// assert!(store.is_open());
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn wait_until_open(&self, timeout: Duration) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            match self.store() {
                Err(error) if error.is_retryable() && started.elapsed() < timeout => {
                    thread::sleep(PAUSE.min(timeout));
                }
                outcome => return outcome.map(drop),
            }
        }
    }

    /// Returns the store, and opens it if that hasn't been done.
    fn store(&self) -> Result<&S, Error> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        if let Some((error, until)) = &*failed
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let started = Instant::now();
        match (self.open)() {
            Ok(store) => {
                let store = self.store.get_or_init(|| store);
                // Who stops it later finds the store.
                if self.is_stopped.load(Ordering::SeqCst) {
                    store.stop_cleanup();
                }
                Ok(store)
            }
            Err(error) => {
                let pause = started.elapsed().max(Duration::from_secs(1));
                *failed = Some((error.clone(), Instant::now() + pause));
                Err(error)
            }
        }
    }
}

impl<S: Store> Store for LazyStore<S> {
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        self.store()?.find(token)
    }

    fn load(&self, token: &str) -> Result<Loaded, Error> {
        self.store()?.load(token)
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        self.store()?.commit(token, data, expiry)
    }

    fn create(
        &self,
        token: &str,
        data: &[u8],
        expiry: DateTime<Utc>,
        subject: Option<&str>,
    ) -> Result<(), Error> {
        self.store()?.create(token, data, expiry, subject)
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        self.store()?.create_with(token, change)
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        self.store()?.update(token, current, change)
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        self.store()?.touch(token, expiry)
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        self.store()?.delete(token)
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        self.store()?.find_by_subject(subject)
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        self.store()?.subject_of(token)
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        self.store()?.delete_by_subject(subject, except)
    }

    fn delete_all(&self) -> Result<u64, Error> {
        self.store()?.delete_all()
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        self.store()?.delete_expired()
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        self.store()?.for_each(visit)
    }

    fn all(&self) -> Result<HashMap<String, Vec<u8>>, Error> {
        self.store()?.all()
    }

    fn count(&self) -> Result<u64, Error> {
        self.store()?.count()
    }

    fn now(&self) -> DateTime<Utc> {
        self.store.get().map_or_else(Utc::now, Store::now)
    }

    fn stop_cleanup(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        // Whoever opens it sees that.
        if let Some(store) = self.store.get() {
            store.stop_cleanup();
        }
    }

    fn cleanup_statistics(&self) -> CleanupStatistics {
        self.store.get().map(Store::cleanup_statistics).unwrap_or_default()
    }
}

impl<S: fmt::Debug> fmt::Debug for LazyStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyStore").field("store", &self.store.get()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::atomic::AtomicUsize;

    use chrono::TimeDelta;

    use super::*;
    use crate::sync::Arc;
    use crate::{CleanupOptions, MemoryOptions, MemoryStore};

    /// A database that can be away, and how often it was asked for.
    #[derive(Default)]
    struct Database {
        is_there: AtomicBool,
        attempts: AtomicUsize,
    }

    fn store() -> (LazyStore<MemoryStore>, Arc<Database>) {
        let database = Arc::new(Database::default());
        let store = LazyStore::new({
            let database = Arc::clone(&database);
            move || {
                database.attempts.fetch_add(1, Ordering::SeqCst);
                if database.is_there.load(Ordering::SeqCst) {
                    MemoryStore::new()
                } else {
                    Err(Error::Unreachable { source: "away".into() })
                }
            }
        });
        (store, database)
    }

    #[test]
    fn requests_meanwhile_get_the_reason_and_do_not_queue_for_attempts() {
        let (store, database) = store();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        assert!(matches!(store.find("token"), Err(Error::Unreachable { .. })));
                    }
                });
            }
        });
        // One a second.
        let attempts = database.attempts.load(Ordering::SeqCst);
        assert!(attempts < 80, "{attempts}");
    }

    #[test]
    fn store_works_once_its_database_is_there() -> Result<(), Error> {
        let (store, database) = store();
        assert!(store.wait_until_open(Duration::ZERO).is_err());
        database.is_there.store(true, Ordering::SeqCst);
        // Only ends what hangs.
        store.wait_until_open(Duration::from_secs(60))?;
        store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
        assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
        Ok(())
    }

    #[test]
    fn error_that_stays_is_not_waited_for() {
        let attempts = Arc::new(AtomicUsize::new(0));
        let store = LazyStore::new({
            let attempts = Arc::clone(&attempts);
            move || {
                attempts.fetch_add(1, Ordering::SeqCst);
                Err::<MemoryStore, _>(Error::TableMissing { table: "sessions".to_owned() })
            }
        });
        let waited = store.wait_until_open(Duration::from_secs(24 * 60 * 60));
        assert!(matches!(waited, Err(Error::TableMissing { .. })));
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn cleanup_that_was_stopped_before_the_store_is_open_never_runs() -> Result<(), Error> {
        let (cleanup, manual) =
            CleanupOptions::new().with_batch_size(NonZeroUsize::MIN).with_manual_cleanup();
        let cleanup = Mutex::new(Some(cleanup));
        let store = LazyStore::new(move || {
            let cleanup = cleanup.lock().unwrap_or_else(PoisonError::into_inner).take();
            MemoryOptions::new().with_cleanup(cleanup.expect("it is opened once")).build()
        });
        store.stop_cleanup();
        assert_eq!(store.count()?, 0);
        assert!(!manual.run(), "the thread has ended");
        assert_eq!(store.cleanup_statistics().runs, 0);
        Ok(())
    }
}

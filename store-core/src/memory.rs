//! A store that keeps sessions in the memory of the process.

mod tables;

use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::backend::{Batch, CleanupThread, OpenStore, delete_in_batches};
use crate::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::{
    Change, CleanupOptions, CleanupStatistics, Clock, Error, Limits, Loaded, OwnedRecord, Record,
    Store, SystemClock,
};

use tables::Tables;

/// Sessions that [`Store::for_each`] copies under one lock.
const PAGE_LEN: usize = 256;

/// A store in memory: for tests, for development, and as the smallest model of a store.
///
/// Sessions are gone when the process ends. The clock of the process decides what is live. The
/// default limits are [`Limits::DEFAULT`]; every `DateTime<Utc>` can be an expiry, and is kept
/// exactly.
///
/// In a process that was forked since, each operation returns [`Error::Forked`]: what the parent
/// ends from then on would live on in the copy, and its locks may stay locked.
///
/// # Examples
/// ```
/// use chrono::{TimeDelta, Utc};
/// use store_core::{MemoryStore, Store};
///
/// let store = MemoryStore::new()?;
/// store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
/// assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
/// # Ok::<(), store_core::Error>(())
/// ```
#[doc(alias = "memstore")]
#[doc(alias = "MemStore")]
pub struct MemoryStore {
    sessions: Arc<Sessions>,
    cleanup: CleanupThread,
}

impl MemoryStore {
    /// A store that is swept every five minutes.
    ///
    /// # Errors
    /// [`Error::SpawnThread`] if the operating system refuses a thread, and [`Error::Forked`].
    ///
    /// # Examples
    /// ```
    /// use store_core::{MemoryStore, Store};
    ///
    /// assert_eq!(MemoryStore::new()?.count()?, 0);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[doc(alias = "New")]
    pub fn new() -> Result<Self, Error> {
        MemoryOptions::new().build()
    }

    /// A store that is swept after each `interval`; zero means never.
    ///
    /// # Errors
    /// [`Error::SpawnThread`] if the operating system refuses a thread, and [`Error::Forked`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_core::MemoryStore;
    ///
    /// let store = MemoryStore::with_cleanup_interval(Duration::from_secs(60))?;
    /// # drop(store);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[doc(alias = "NewWithCleanupInterval")]
    pub fn with_cleanup_interval(interval: Duration) -> Result<Self, Error> {
        MemoryOptions::new().with_cleanup(CleanupOptions::new().with_interval(interval)).build()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("rows", &self.sessions.read().map(|tables| tables.rows.len()).ok())
            .field("limits", &self.sessions.limits)
            .field("cleanup", &self.cleanup)
            .finish()
    }
}

/// The options of a [`MemoryStore`].
///
/// # Examples
/// ```
/// use store_core::{Limits, MemoryOptions};
///
/// let limits = Limits { max_data_len: 4_096, ..Limits::DEFAULT };
/// let store = MemoryOptions::new().with_limits(limits).build()?;
/// # drop(store);
/// # Ok::<(), store_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct MemoryOptions {
    cleanup: CleanupOptions,
    limits: Limits,
    clock: Arc<dyn Clock>,
}

impl MemoryOptions {
    /// The defaults, which each method names.
    ///
    /// # Examples
    /// ```
    /// use store_core::MemoryOptions;
    ///
    /// let store = MemoryOptions::new().build()?;
    /// # drop(store);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn new() -> Self {
        Self {
            cleanup: CleanupOptions::new(),
            limits: Limits::DEFAULT,
            clock: Arc::new(SystemClock),
        }
    }

    /// When expired sessions are removed. Default: [`CleanupOptions::new`].
    ///
    /// # Examples
    /// ```
    /// use store_core::{CleanupOptions, MemoryOptions};
    ///
    /// let store = MemoryOptions::new().with_cleanup(CleanupOptions::disabled()).build()?;
    /// # drop(store);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn with_cleanup(mut self, cleanup: CleanupOptions) -> Self {
        self.cleanup = cleanup;
        self
    }

    /// The largest token and data. Default: [`Limits::DEFAULT`].
    ///
    /// # Examples
    /// ```
    /// use chrono::Utc;
    /// use store_core::{Error, Limits, MemoryOptions, Store};
    ///
    /// let limits = Limits { max_data_len: 1_000, ..Limits::DEFAULT };
    /// let store = MemoryOptions::new().with_limits(limits).build()?;
    /// let refused = store.commit("token", &[0; 1_001], Utc::now());
    /// assert!(matches!(refused, Err(Error::DataTooLarge { .. })));
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The clock that decides what is live. Default: [`SystemClock`].
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use chrono::{DateTime, TimeDelta};
    /// use store_core::{ManualClock, MemoryOptions, Store};
    ///
    /// let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    /// let store = MemoryOptions::new().with_clock(clock.clone()).build()?;
    /// store.commit("token", b"data", DateTime::UNIX_EPOCH + TimeDelta::hours(1))?;
    /// clock.advance(TimeDelta::hours(1));
    /// assert_eq!(store.find("token")?, None);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the store.
    ///
    /// # Errors
    /// [`Error::SpawnThread`] if the operating system refuses a thread, and [`Error::Forked`].
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use store_core::{MemoryOptions, Store};
    ///
    /// let store: Arc<dyn Store> = Arc::new(MemoryOptions::new().build()?);
    /// # drop(store);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn build(self) -> Result<MemoryStore, Error> {
        let batch_size = self.cleanup.batch_size().get();
        let sessions = Arc::new(Sessions {
            open: OpenStore::new()?,
            tables: RwLock::default(),
            limits: self.limits,
            clock: self.clock,
            batch_size,
        });
        let cleanup = CleanupThread::start(self.cleanup, {
            let sessions = Arc::clone(&sessions);
            move || sessions.remove_batch()
        })?;
        Ok(MemoryStore { sessions, cleanup })
    }
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What the store and its cleanup thread share.
struct Sessions {
    open: OpenStore,
    tables: RwLock<Tables>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    batch_size: usize,
}

impl Sessions {
    fn read(&self) -> Result<RwLockReadGuard<'_, Tables>, Error> {
        self.open.owner().check()?;
        // No code panics between the changes of the tables.
        Ok(self.tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> Result<RwLockWriteGuard<'_, Tables>, Error> {
        self.open.owner().check()?;
        Ok(self.tables.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn remove_batch(&self) -> Result<Batch, Error> {
        let mut tables = self.write()?;
        let now = self.clock.now();
        let mut removed = 0;
        while removed < self.batch_size {
            match tables.expiries.first() {
                Some(&(expiry, id)) if expiry <= now => tables.remove(id),
                _ => break,
            }
            removed += 1;
        }
        let is_full = removed == self.batch_size;
        if !is_full {
            tables.forget_rotations(now);
        }
        Ok(Batch { removed: removed as u64, has_more: is_full })
    }
}

impl Store for MemoryStore {
    fn load(&self, token: &str) -> Result<Loaded, Error> {
        let tables = self.sessions.read()?;
        let now = self.sessions.clock.now();
        if let Some(id) = tables.live(token, now) {
            let row = &tables.rows[&id];
            return Ok(Loaded::Live { data: row.data.to_vec(), expiry: row.expiry });
        }
        Ok(match tables.rotated(token, now) {
            Some((id, opens)) => {
                Loaded::Rotated { token: tables.rows[&id].token.to_string(), opens }
            }
            None => Loaded::Missing,
        })
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        self.sessions.limits.check_token(token)?;
        self.sessions.limits.check_data(data)?;
        let mut tables = self.sessions.write()?;
        if let Some(id) = tables.live(token, self.sessions.clock.now()) {
            tables.set_data(id, data);
            tables.set_expiry(id, expiry);
        } else {
            tables.remove_token(token);
            tables.insert(token, data, expiry);
        }
        Ok(())
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        change.check_creation(token, &self.sessions.limits)?;
        let expiry = change.first_expiry()?;
        let mut tables = self.sessions.write()?;
        let now = self.sessions.clock.now();

        // Nothing is written before all of it is known to be possible.
        let live = tables.live(token, now);
        let Some(absorbed) = tables.absorbed(change, live, now) else { return Ok(false) };
        if live.is_some() {
            return Err(Error::TokenTaken);
        }

        tables.absorb(change, &absorbed, token, now);
        tables.remove_token(token);
        let id = tables.insert(token, &change.data, expiry);
        tables.set_subject(id, change.new_subject());
        Ok(true)
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        change.check(&self.sessions.limits)?;
        let mut tables = self.sessions.write()?;
        let now = self.sessions.clock.now();

        // Nothing is written before all of it is known to be possible.
        let Some(id) = tables.matching(token, current, now) else { return Ok(false) };
        let Some(absorbed) = tables.absorbed(change, Some(id), now) else { return Ok(false) };
        let rotation = change.rotation.as_ref().filter(|rotation| rotation.new_token != token);
        if rotation.is_some_and(|rotation| tables.live(&rotation.new_token, now).is_some()) {
            return Err(Error::TokenTaken);
        }

        tables.absorb(change, &absorbed, token, now);
        tables.set_data(id, &change.data);
        if let Some(expiry) = change.expiry {
            tables.set_expiry(id, expiry);
        }
        if let Some(subject) = &change.subject {
            tables.set_subject(id, subject.as_deref());
        }
        if let Some(rotation) = rotation {
            tables.rotate(id, rotation, now);
        }
        Ok(true)
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        let mut tables = self.sessions.write()?;
        let Some(id) = tables.live(token, self.sessions.clock.now()) else { return Ok(false) };
        tables.set_expiry(id, expiry);
        Ok(true)
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        let mut tables = self.sessions.write()?;
        if let Some(id) = tables.live_or_rotated(token, self.sessions.clock.now()) {
            tables.remove(id);
        }
        Ok(())
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        let tables = self.sessions.read()?;
        let ids = tables.of_subject(subject, self.sessions.clock.now());
        let records = ids.into_iter().map(|id| {
            let row = &tables.rows[&id];
            OwnedRecord::new(&*row.token, &*row.data, row.expiry)
        });
        Ok(records.collect())
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        let tables = self.sessions.read()?;
        let id = tables.live(token, self.sessions.clock.now());
        Ok(id.and_then(|id| tables.rows[&id].subject.as_deref().map(str::to_owned)))
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        let mut tables = self.sessions.write()?;
        let now = self.sessions.clock.now();
        let except = except.and_then(|except| tables.live_or_rotated(except, now));
        let mut removed = 0;
        for id in tables.of_subject(subject, now) {
            if except != Some(id) {
                tables.remove(id);
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn delete_all(&self) -> Result<u64, Error> {
        Ok(self.sessions.write()?.clear())
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        delete_in_batches(|| self.sessions.remove_batch())
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let mut after = Bound::Unbounded;
        loop {
            let page: Vec<_> = {
                let tables = self.sessions.read()?;
                let now = self.sessions.clock.now();
                tables
                    .rows
                    .range((after, Bound::Unbounded))
                    .filter(|(_, row)| now < row.expiry)
                    .take(PAGE_LEN)
                    .map(|(&id, row)| {
                        (id, Arc::clone(&row.token), Arc::clone(&row.data), row.expiry)
                    })
                    .collect()
            };
            for (_, token, data, expiry) in &page {
                if visit(Record::new(token, data, *expiry)).is_break() {
                    return Ok(());
                }
            }
            match page.last() {
                Some(&(id, ..)) if page.len() == PAGE_LEN => after = Bound::Excluded(id),
                _ => return Ok(()),
            }
        }
    }

    fn count(&self) -> Result<u64, Error> {
        let tables = self.sessions.read()?;
        let now = self.sessions.clock.now();
        Ok(tables.expiries.iter().rev().take_while(|(expiry, _)| now < *expiry).count() as u64)
    }

    fn now(&self) -> DateTime<Utc> {
        self.sessions.clock.now()
    }

    fn stop_cleanup(&self) {
        self.cleanup.stop();
    }

    fn cleanup_statistics(&self) -> CleanupStatistics {
        self.cleanup.statistics()
    }
}

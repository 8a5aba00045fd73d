//! A store that keeps sessions in the memory of the process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{
    Batch, Cleanup, CleanupOptions, CleanupStatistics, Clock, Error, Limits, Record, Store,
    SubjectStore, SystemClock, check_subject, sweep,
};

/// Sessions that [`Store::for_each`] copies under one lock.
const PAGE_LEN: usize = 256;

/// A store in memory: for tests, for development, and as the smallest model of a store.
///
/// Sessions are gone when the process ends. The clock of the process decides what is live. The default
/// limits are [`Limits::DEFAULT`]; every `DateTime<Utc>` can be an expiry, and is kept exactly.
///
/// # Examples
/// ```
/// use chrono::{TimeDelta, Utc};
/// use store_core::{MemoryStore, Store};
///
/// let store = MemoryStore::new()?;
/// store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
/// assert!(store.replace("token", b"data", b"newer", Utc::now() + TimeDelta::hours(1))?);
/// assert!(!store.replace("token", b"data", b"too late", Utc::now() + TimeDelta::hours(1))?);
/// # Ok::<(), store_core::Error>(())
/// ```
#[doc(alias = "memstore")]
#[doc(alias = "MemStore")]
pub struct MemoryStore {
    sessions: Arc<Sessions>,
    cleanup: Cleanup,
}

impl MemoryStore {
    /// A store that is swept every five minutes.
    ///
    /// # Errors
    /// [`Error::CleanupThread`] if the operating system gives no thread.
    #[doc(alias = "New")]
    pub fn new() -> Result<Self, Error> {
        MemoryOptions::new().build()
    }

    /// A store that is swept after each `interval`; zero means never.
    ///
    /// # Errors
    /// [`Error::CleanupThread`] if the operating system gives no thread.
    #[doc(alias = "NewWithCleanupInterval")]
    pub fn with_cleanup_interval(interval: Duration) -> Result<Self, Error> {
        MemoryOptions::new().with_cleanup(CleanupOptions::new().with_interval(interval)).build()
    }

    /// Ends the cleanup thread and returns once it has ended; see [`Cleanup::stop`].
    #[doc(alias = "StopCleanup")]
    pub fn stop_cleanup(&self) {
        self.cleanup.stop();
    }

    /// What the cleanup thread has done so far.
    #[must_use]
    pub fn cleanup_statistics(&self) -> CleanupStatistics {
        self.cleanup.statistics()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("rows", &self.sessions.read().rows.len())
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
    pub fn new() -> Self {
        Self {
            cleanup: CleanupOptions::new(),
            limits: Limits::DEFAULT,
            clock: Arc::new(SystemClock),
        }
    }

    /// When to sweep. Default: [`CleanupOptions::new`].
    pub fn with_cleanup(mut self, cleanup: CleanupOptions) -> Self {
        self.cleanup = cleanup;
        self
    }

    /// The largest token and data. Default: [`Limits::DEFAULT`].
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The clock that decides what is live. Default: [`SystemClock`].
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the store.
    ///
    /// # Errors
    /// [`Error::CleanupThread`] if the operating system gives no thread.
    pub fn build(self) -> Result<MemoryStore, Error> {
        let batch_size = self.cleanup.batch_size().get();
        let sessions = Arc::new(Sessions {
            tables: RwLock::default(),
            limits: self.limits,
            clock: self.clock,
            batch_size,
        });
        let cleanup = Cleanup::start(self.cleanup, {
            let sessions = Arc::clone(&sessions);
            move || Ok(sessions.remove_batch())
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
    tables: RwLock<Tables>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    batch_size: usize,
}

/// A row keeps its id for life, also when it is renamed, so that a walk in the order of ids sees each
/// session once. Invariant: the tables name the same rows.
#[derive(Default)]
struct Tables {
    rows: BTreeMap<u64, Row>,
    ids: HashMap<Arc<str>, u64>,
    expiries: BTreeSet<(DateTime<Utc>, u64)>,
    subjects: BTreeSet<(Arc<str>, u64)>,
    next_id: u64,
}

struct Row {
    token: Arc<str>,
    data: Arc<[u8]>,
    expiry: DateTime<Utc>,
    subject: Option<Arc<str>>,
}

impl Sessions {
    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        // No code of ours panics between the changes of the tables.
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove_batch(&self) -> Batch {
        let mut tables = self.write();
        let now = self.clock.now();
        let mut removed = 0;
        while removed < self.batch_size {
            match tables.expiries.first() {
                Some(&(expiry, id)) if expiry <= now => tables.remove(id),
                _ => break,
            }
            removed += 1;
        }
        Batch { removed: removed as u64, more: removed == self.batch_size }
    }
}

impl Tables {
    /// The id of the live session that this token names.
    fn live(&self, token: &str, now: DateTime<Utc>) -> Option<u64> {
        let id = *self.ids.get(token)?;
        (now < self.rows[&id].expiry).then_some(id)
    }

    fn set_expiry(&mut self, id: u64, expiry: DateTime<Utc>) {
        if let Some(row) = self.rows.get_mut(&id) {
            self.expiries.remove(&(row.expiry, id));
            self.expiries.insert((expiry, id));
            row.expiry = expiry;
        }
    }

    fn set_data(&mut self, id: u64, data: &[u8]) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.data = data.into();
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some(row) = self.rows.remove(&id) {
            self.ids.remove(&row.token);
            self.expiries.remove(&(row.expiry, id));
            if let Some(subject) = row.subject {
                self.subjects.remove(&(subject, id));
            }
        }
    }

    fn set_subject(&mut self, id: u64, subject: Option<Arc<str>>) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        if let Some(old) = std::mem::replace(&mut row.subject, subject.clone()) {
            self.subjects.remove(&(old, id));
        }
        if let Some(new) = subject {
            self.subjects.insert((new, id));
        }
    }

    /// The ids of the subject's live sessions.
    fn of_subject(&self, subject: &str, now: DateTime<Utc>) -> Vec<u64> {
        let subject: Arc<str> = subject.into();
        self.subjects
            .range((Arc::clone(&subject), 0)..=(subject, u64::MAX))
            .map(|&(_, id)| id)
            .filter(|id| now < self.rows[id].expiry)
            .collect()
    }
}

impl Store for MemoryStore {
    fn find_with_expiry(&self, token: &str) -> Result<Option<(Vec<u8>, DateTime<Utc>)>, Error> {
        let tables = self.sessions.read();
        let id = tables.live(token, self.sessions.clock.now());
        Ok(id.map(|id| &tables.rows[&id]).map(|row| (row.data.to_vec(), row.expiry)))
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        self.sessions.limits.check_token(token)?;
        self.sessions.limits.check_data(data)?;
        let mut tables = self.sessions.write();
        if let Some(&id) = tables.ids.get(token) {
            tables.set_data(id, data);
            tables.set_expiry(id, expiry);
            return Ok(());
        }
        let id = tables.next_id;
        tables.next_id += 1;
        let token: Arc<str> = token.into();
        tables.ids.insert(Arc::clone(&token), id);
        tables.expiries.insert((expiry, id));
        tables.rows.insert(id, Row { token, data: data.into(), expiry, subject: None });
        Ok(())
    }

    fn replace(
        &self,
        token: &str,
        current: &[u8],
        data: &[u8],
        expiry: DateTime<Utc>,
    ) -> Result<bool, Error> {
        self.sessions.limits.check_data(data)?;
        let mut tables = self.sessions.write();
        match tables.live(token, self.sessions.clock.now()) {
            Some(id) if *tables.rows[&id].data == *current => {
                tables.set_data(id, data);
                tables.set_expiry(id, expiry);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        let mut tables = self.sessions.write();
        let Some(id) = tables.live(token, self.sessions.clock.now()) else { return Ok(false) };
        tables.set_expiry(id, expiry);
        Ok(true)
    }

    fn rename(&self, token: &str, new_token: &str) -> Result<bool, Error> {
        self.sessions.limits.check_token(new_token)?;
        let mut tables = self.sessions.write();
        let now = self.sessions.clock.now();
        let Some(id) = tables.live(token, now) else { return Ok(false) };
        if token == new_token {
            return Ok(true);
        }
        if tables.live(new_token, now).is_some() {
            return Err(Error::TokenTaken);
        }
        if let Some(&expired) = tables.ids.get(new_token) {
            tables.remove(expired);
        }
        let new_token: Arc<str> = new_token.into();
        tables.ids.remove(token);
        tables.ids.insert(Arc::clone(&new_token), id);
        if let Some(row) = tables.rows.get_mut(&id) {
            row.token = new_token;
        }
        Ok(true)
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        let mut tables = self.sessions.write();
        if let Some(&id) = tables.ids.get(token) {
            tables.remove(id);
        }
        Ok(())
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        sweep(|| Ok(self.sessions.remove_batch()))
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let mut after = Bound::Unbounded;
        loop {
            let page: Vec<_> = {
                let tables = self.sessions.read();
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
}

impl SubjectStore for MemoryStore {
    fn set_subject(&self, token: &str, subject: Option<&str>) -> Result<bool, Error> {
        subject.map_or(Ok(()), check_subject)?;
        let mut tables = self.sessions.write();
        let Some(id) = tables.live(token, self.sessions.clock.now()) else { return Ok(false) };
        tables.set_subject(id, subject.map(Arc::from));
        Ok(true)
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<String>, Error> {
        let tables = self.sessions.read();
        let ids = tables.of_subject(subject, self.sessions.clock.now());
        Ok(ids.into_iter().map(|id| tables.rows[&id].token.to_string()).collect())
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        let mut tables = self.sessions.write();
        let mut removed = 0;
        for id in tables.of_subject(subject, self.sessions.clock.now()) {
            if except != Some(&*tables.rows[&id].token) {
                tables.remove(id);
                removed += 1;
            }
        }
        Ok(removed)
    }
}

//! A store of one's own, to copy from: sessions in a map behind a lock. It passes the conformance
//! kit, which the end of this file runs:
//!
//! ```text
//! cargo test --package sync-session-store-conformance --example map_store
//! ```
//!
//! A database replaces the map by tables and the lock by transactions; what has to happen as a
//! whole is the same.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chrono::{DateTime, Utc};
use store_core::backend::{Batch, CleanupThread, OpenStore, delete_in_batches};
use store_core::{
    Absorbed, Change, CleanupOptions, CleanupStatistics, Error, Limits, Loaded, OwnedRecord,
    Record, Rotation, Store,
};

/// A store in a map.
pub struct MapStore {
    shared: Arc<Shared>,
    cleanup: CleanupThread,
}

/// What the store and its cleanup thread share.
struct Shared {
    /// Refuses the child of a fork.
    open: OpenStore,
    tables: RwLock<Tables>,
    batch_size: usize,
}

#[derive(Default)]
struct Tables {
    sessions: BTreeMap<String, Session>,
    rotations: HashMap<String, Rotated>,
}

#[derive(Clone)]
struct Session {
    data: Vec<u8>,
    expiry: DateTime<Utc>,
    subject: Option<String>,
}

/// Where an old token leads.
struct Rotated {
    newest: String,
    opens: bool,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl fmt::Debug for MapStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither tokens nor data.
        f.debug_struct("MapStore").field("cleanup", &self.cleanup).finish_non_exhaustive()
    }
}

impl MapStore {
    /// Makes an empty store.
    ///
    /// # Errors
    /// [`Error::SpawnThread`] and [`Error::Forked`].
    pub fn new(cleanup: CleanupOptions) -> Result<Self, Error> {
        let batch_size = cleanup.batch_size().get();
        let shared =
            Arc::new(Shared { open: OpenStore::new()?, tables: RwLock::default(), batch_size });
        let cleanup = CleanupThread::start(cleanup, {
            let shared = Arc::clone(&shared);
            move || shared.remove_batch()
        })?;
        Ok(Self { shared, cleanup })
    }
}

impl Shared {
    fn read(&self) -> Result<RwLockReadGuard<'_, Tables>, Error> {
        self.open.owner().check()?;
        self.tables.read().map_err(|_| Error::backend("a thread panicked"))
    }

    fn write(&self) -> Result<RwLockWriteGuard<'_, Tables>, Error> {
        self.open.owner().check()?;
        self.tables.write().map_err(|_| Error::backend("a thread panicked"))
    }

    /// Removes some of what has expired; between two batches, requests have the lock.
    fn remove_batch(&self) -> Result<Batch, Error> {
        let (mut tables, now) = (self.write()?, Utc::now());
        tables.rotations.retain(|_, rotated| now < rotated.until);
        let expired = tables.sessions.iter().filter(|(_, session)| session.expiry <= now);
        let expired: Vec<_> =
            expired.map(|(token, _)| token.clone()).take(self.batch_size).collect();
        for token in &expired {
            tables.sessions.remove(token);
        }
        let removed = expired.len() as u64;
        Ok(Batch { removed, has_more: expired.len() == self.batch_size })
    }
}

impl Tables {
    fn live(&self, token: &str, now: DateTime<Utc>) -> Option<&Session> {
        self.sessions.get(token).filter(|session| now < session.expiry)
    }

    /// Returns the token and the session that a token led to until a moment ago.
    fn rotated(&self, token: &str, now: DateTime<Utc>) -> Option<(&str, bool)> {
        let rotated = self.rotations.get(token)?;
        let counts = rotated.from <= now && now < rotated.until;
        (counts && self.live(&rotated.newest, now).is_some())
            .then_some((&*rotated.newest, rotated.opens))
    }

    /// Returns the name of the session that a token names, or had named until a moment ago.
    fn newest(&self, token: &str, now: DateTime<Utc>) -> Option<String> {
        if self.live(token, now).is_some() {
            return Some(token.to_owned());
        }
        self.rotated(token, now).map(|(newest, _)| newest.to_owned())
    }

    fn of_subject(&self, subject: &str, now: DateTime<Utc>) -> BTreeMap<String, Session> {
        let live = self.sessions.iter().filter(|(_, session)| now < session.expiry);
        let own = live.filter(|(_, session)| session.subject.as_deref() == Some(subject));
        own.map(|(token, session)| (token.clone(), session.clone())).collect()
    }

    /// Whether the conditions of a change on sessions other than its own hold.
    fn allows(&self, change: &Change<'_>, token: &str, now: DateTime<Utc>) -> bool {
        let matches = |other: &Absorbed<'_>| {
            other.token != token
                && self.live(&other.token, now).is_some_and(|found| found.data == *other.data)
        };
        let expected = change.expected_sessions.as_ref().is_none_or(|expected| {
            let found = self.of_subject(&expected.subject, now);
            expected.are(found.keys().map(String::as_str))
        });
        expected && change.absorbed.iter().all(matches)
    }

    /// Ends the sessions that a change absorbs.
    fn absorb(&mut self, change: &Change<'_>, token: &str, now: DateTime<Utc>) {
        for other in &change.absorbed {
            self.sessions.remove(&*other.token);
            if other.leads_on {
                self.lead(&other.token, &change.absorption(token), now);
            }
        }
    }

    /// Leads a token, and those from before it, to the newest.
    fn lead(&mut self, old: &str, rotation: &Rotation<'_>, now: DateTime<Utc>) {
        for rotated in self.rotations.values_mut().filter(|rotated| rotated.newest == old) {
            rotated.newest = rotation.new_token.clone().into_owned();
            rotated.opens &= rotation.old_token_opens;
        }
        let ((from, until), opens) = (rotation.window(now), rotation.old_token_opens);
        let newest = rotation.new_token.clone().into_owned();
        self.rotations.insert(old.to_owned(), Rotated { newest, opens, from, until });
    }
}

impl Store for MapStore {
    fn load(&self, token: &str) -> Result<Loaded, Error> {
        let (tables, now) = (self.shared.read()?, Utc::now());
        if let Some(Session { data, expiry, .. }) = tables.live(token, now) {
            return Ok(Loaded::Live { data: data.clone(), expiry: *expiry });
        }
        Ok(tables.rotated(token, now).map_or(Loaded::Missing, |(newest, opens)| Loaded::Rotated {
            token: newest.to_owned(),
            opens,
        }))
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        Limits::DEFAULT.check_token(token)?;
        Limits::DEFAULT.check_data(data)?;
        let mut tables = self.shared.write()?;
        let subject = tables.live(token, Utc::now()).and_then(|session| session.subject.clone());
        tables.sessions.insert(token.to_owned(), Session { data: data.to_vec(), expiry, subject });
        Ok(())
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        change.check_creation(token, &Limits::DEFAULT)?;
        let expiry = change.first_expiry()?;
        let (mut tables, now) = (self.shared.write()?, Utc::now());
        // All checks come before the first change.
        if !tables.allows(change, token, now) {
            return Ok(false);
        }
        if tables.live(token, now).is_some() {
            return Err(Error::TokenTaken);
        }
        tables.absorb(change, token, now);
        let (data, subject) = (change.data.to_vec(), change.new_subject().map(str::to_owned));
        tables.sessions.insert(token.to_owned(), Session { data, expiry, subject });
        Ok(true)
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        change.check(&Limits::DEFAULT)?;
        let (mut tables, now) = (self.shared.write()?, Utc::now());
        // All checks come before the first change.
        let Some(session) = tables.live(token, now) else { return Ok(false) };
        if session.data != current || !tables.allows(change, token, now) {
            return Ok(false);
        }
        let rotation = change.rotation.as_ref().filter(|rotation| rotation.new_token != token);
        if rotation.is_some_and(|rotation| tables.live(&rotation.new_token, now).is_some()) {
            return Err(Error::TokenTaken);
        }

        tables.absorb(change, token, now);
        let Some(mut session) = tables.sessions.remove(token) else { return Ok(false) };
        session.data = change.data.to_vec();
        session.expiry = change.expiry.unwrap_or(session.expiry);
        if let Some(subject) = &change.subject {
            session.subject = subject.as_deref().map(str::to_owned);
        }
        let newest = rotation.map_or(token, |rotation| &rotation.new_token);
        tables.sessions.insert(newest.to_owned(), session);
        if let Some(rotation) = rotation {
            tables.lead(token, rotation, now);
        }
        Ok(true)
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        let (mut tables, now) = (self.shared.write()?, Utc::now());
        let session = tables.sessions.get_mut(token).filter(|session| now < session.expiry);
        Ok(session.map(|session| session.expiry = expiry).is_some())
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        let mut tables = self.shared.write()?;
        if let Some(newest) = tables.newest(token, Utc::now()) {
            tables.sessions.remove(&newest);
        }
        Ok(())
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        let found = self.shared.read()?.of_subject(subject, Utc::now());
        let found = found.into_iter();
        Ok(found
            .map(|(token, session)| OwnedRecord::new(token, session.data, session.expiry))
            .collect())
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        let (tables, now) = (self.shared.read()?, Utc::now());
        let live = tables.sessions.get(token).filter(|session| now < session.expiry);
        Ok(live.and_then(|session| session.subject.clone()))
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        let (mut tables, now) = (self.shared.write()?, Utc::now());
        let except = except.and_then(|except| tables.newest(except, now));
        let mut found = tables.of_subject(subject, now);
        found.retain(|token, _| Some(token) != except.as_ref());
        for token in found.keys() {
            tables.sessions.remove(token);
        }
        Ok(found.len() as u64)
    }

    fn delete_all(&self) -> Result<u64, Error> {
        let sessions = std::mem::take(&mut self.shared.write()?.sessions);
        Ok(sessions.len() as u64)
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        delete_in_batches(|| self.shared.remove_batch())
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        // A copy, so that the visitor may call the store. A database reads page by page.
        let sessions = self.shared.read()?.sessions.clone();
        let now = Utc::now();
        for (token, Session { data, expiry, .. }) in &sessions {
            if now < *expiry && visit(Record::new(token, data, *expiry)).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn count(&self) -> Result<u64, Error> {
        let (tables, now) = (self.shared.read()?, Utc::now());
        Ok(tables.sessions.values().filter(|session| now < session.expiry).count() as u64)
    }

    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn stop_cleanup(&self) {
        self.cleanup.stop();
    }

    fn cleanup_statistics(&self) -> CleanupStatistics {
        self.cleanup.statistics()
    }
}

fn main() -> Result<(), Error> {
    let store = MapStore::new(CleanupOptions::new())?;
    store.commit("token", b"data", Utc::now() + chrono::TimeDelta::hours(1))?;
    assert_eq!(store.count()?, 1);
    Ok(())
}

#[cfg(test)]
mod conformance {
    use store_conformance::Harness;

    use super::*;

    struct Map;

    impl Harness for Map {
        type Store = MapStore;

        fn store(&self, cleanup: CleanupOptions) -> MapStore {
            MapStore::new(cleanup).expect("a thread starts")
        }

        fn limits(&self) -> Limits {
            Limits::DEFAULT
        }
    }

    store_conformance::conformance_tests!(Map, indexes);
}

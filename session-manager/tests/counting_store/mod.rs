//! A store in memory that counts what is asked of it, and can be told to fail.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use store_core::{
    CleanupOptions, Clock, Error, MemoryOptions, MemoryStore, Record, Store, SubjectStore,
};

/// How often each operation was called.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) finds: AtomicUsize,
    pub(crate) writes: AtomicUsize,
    pub(crate) touches: AtomicUsize,
}

impl Calls {
    /// Finds, touches and other writes since the last call.
    pub(crate) fn take(&self) -> (usize, usize, usize) {
        let take = |count: &AtomicUsize| count.swap(0, Ordering::Relaxed);
        (take(&self.finds), take(&self.touches), take(&self.writes))
    }
}

/// The operation that fails from now on, as if the database were down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    Nothing,
    Find,
    Replace,
    /// `replace` does what it is asked for, but its answer gets lost.
    ReplaceUnheard,
    SetSubject,
    Rename,
    /// As `ReplaceUnheard`.
    RenameUnheard,
    DeleteBySubject,
    AfterDelete,
    /// `replace` always says that the data was another.
    ReplaceNeverMatches,
}

pub(crate) struct CountingStore {
    inner: MemoryStore,
    pub(crate) calls: Calls,
    pub(crate) failing: Mutex<Failing>,
    fails_once: AtomicBool,
    /// What another request does just before this one's operation.
    meanwhile: Mutex<Option<(Failing, Act)>>,
}

type Act = Box<dyn FnOnce() + Send>;

impl CountingStore {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let inner = MemoryOptions::new()
            .with_cleanup(CleanupOptions::disabled())
            .with_clock(clock)
            .build()
            .expect("no thread is needed");
        Arc::new(Self {
            inner,
            calls: Calls::default(),
            failing: Mutex::new(Failing::Nothing),
            fails_once: AtomicBool::new(false),
            meanwhile: Mutex::new(None),
        })
    }

    /// Has something done just before the next operation of a kind.
    pub(crate) fn before(&self, operation: Failing, act: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().expect("nobody panics with it") = Some((operation, Box::new(act)));
    }

    pub(crate) fn fail(&self, failing: Failing) {
        *self.failing.lock().expect("nobody panics with it") = failing;
        self.fails_once.store(false, Ordering::Relaxed);
    }

    /// Has the next operation of a kind fail, and no more.
    pub(crate) fn fail_once(&self, failing: Failing) {
        self.fail(failing);
        self.fails_once.store(true, Ordering::Relaxed);
    }

    fn is_failing(&self, operation: Failing) -> Result<(), Error> {
        let meanwhile = self
            .meanwhile
            .lock()
            .expect("nobody panics with it")
            .take_if(|(awaited, _)| *awaited == operation);
        if let Some((_, act)) = meanwhile {
            act();
        }
        let mut failing = self.failing.lock().expect("nobody panics with it");
        if *failing == operation {
            if self.fails_once.load(Ordering::Relaxed) {
                *failing = Failing::Nothing;
            }
            return Err(Error::Unreachable { source: "the database is down".into() });
        }
        Ok(())
    }
}

fn count(calls: &AtomicUsize) {
    calls.fetch_add(1, Ordering::Relaxed);
}

impl Store for CountingStore {
    fn find_with_expiry(&self, token: &str) -> Result<Option<(Vec<u8>, DateTime<Utc>)>, Error> {
        count(&self.calls.finds);
        self.is_failing(Failing::Find)?;
        self.inner.find_with_expiry(token)
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        count(&self.calls.writes);
        self.inner.commit(token, data, expiry)
    }

    fn replace(
        &self,
        token: &str,
        current: &[u8],
        data: &[u8],
        expiry: DateTime<Utc>,
    ) -> Result<bool, Error> {
        count(&self.calls.writes);
        self.is_failing(Failing::Replace)?;
        if self.is_failing(Failing::ReplaceNeverMatches).is_err() {
            return Ok(false);
        }
        let replaced = self.inner.replace(token, current, data, expiry)?;
        self.is_failing(Failing::ReplaceUnheard)?;
        Ok(replaced)
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        count(&self.calls.touches);
        self.inner.touch(token, expiry)
    }

    fn rename(&self, token: &str, new_token: &str) -> Result<bool, Error> {
        count(&self.calls.writes);
        self.is_failing(Failing::Rename)?;
        let renamed = self.inner.rename(token, new_token)?;
        self.is_failing(Failing::RenameUnheard)?;
        Ok(renamed)
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        count(&self.calls.writes);
        self.inner.delete(token)?;
        self.is_failing(Failing::AfterDelete)
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        count(&self.calls.writes);
        self.inner.delete_expired()
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        self.inner.for_each(visit)
    }

    fn all(&self) -> Result<HashMap<String, Vec<u8>>, Error> {
        self.inner.all()
    }
}

impl SubjectStore for CountingStore {
    fn set_subject(&self, token: &str, subject: Option<&str>) -> Result<bool, Error> {
        count(&self.calls.writes);
        self.is_failing(Failing::SetSubject)?;
        self.inner.set_subject(token, subject)
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<String>, Error> {
        self.inner.find_by_subject(subject)
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        count(&self.calls.writes);
        self.is_failing(Failing::DeleteBySubject)?;
        self.inner.delete_by_subject(subject, except)
    }
}

/// The token that the headers give the browser: `Some("")` where they take it away, `None` where they leave the
/// cookie alone.
pub(crate) fn token(headers: &[session_manager::Header]) -> Option<String> {
    let (_, cookie) = headers.iter().find(|(name, _)| *name == "Set-Cookie")?;
    let value = cookie.split(';').next().and_then(|pair| pair.split_once('='));
    value.map(|(_, value)| value.to_owned())
}

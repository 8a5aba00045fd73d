//! A store in memory that counts what is asked of it, and can be told to fail.

#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "../hooked_store/mod.rs"]
mod hooked_store;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hooked_store::{Call, Hook, HookedStore};
use session_manager::Finished;
use store_core::{CleanupOptions, Clock, Error, MemoryOptions, MemoryStore};

/// How often each operation was called.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) finds: AtomicUsize,
    pub(crate) writes: AtomicUsize,
    pub(crate) touches: AtomicUsize,
    searches: AtomicUsize,
}

impl Calls {
    /// Finds, touches and other writes since the last call.
    pub(crate) fn take(&self) -> (usize, usize, usize) {
        let take = |count: &AtomicUsize| count.swap(0, Ordering::Relaxed);
        (take(&self.finds), take(&self.touches), take(&self.writes))
    }

    /// Reads of a subject's sessions since the last call.
    pub(crate) fn take_searches(&self) -> usize {
        self.searches.swap(0, Ordering::Relaxed)
    }
}

/// The operation that fails from now on, as if the database were down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    Nothing,
    Find,
    Touch,
    Create,
    Update,
    /// The update is done, but its answer gets lost.
    UpdateUnheard,
    Delete,
    DeleteBySubject,
    AfterDelete,
    /// An update always answers that the data was another.
    UpdateNeverMatches,
}

impl Failing {
    /// What fails before the call, and after it.
    fn of(call: Call) -> (Option<Self>, Option<Self>) {
        match call {
            Call::Load => (Some(Self::Find), None),
            Call::Touch => (Some(Self::Touch), None),
            Call::Create => (Some(Self::Create), None),
            Call::Update => (Some(Self::Update), Some(Self::UpdateUnheard)),
            Call::Delete => (Some(Self::Delete), Some(Self::AfterDelete)),
            Call::DeleteBySubject => (Some(Self::DeleteBySubject), None),
            _ => (None, None),
        }
    }
}

pub(crate) type CountingStore = HookedStore<MemoryStore, Counting>;

pub(crate) struct Counting {
    calls: Calls,
    failing: Mutex<Failing>,
    fails_once: AtomicBool,
    /// What another request does just before this one's operation.
    first_act: Mutex<Option<(Failing, Act)>>,
}

type Act = Box<dyn FnOnce() + Send>;

pub(crate) fn counting_store(clock: Arc<dyn Clock>) -> Arc<CountingStore> {
    let inner = MemoryOptions::new()
        .with_cleanup(CleanupOptions::disabled())
        .with_clock(clock)
        .build()
        .expect("no thread is needed");
    let hook = Counting {
        calls: Calls::default(),
        failing: Mutex::new(Failing::Nothing),
        fails_once: AtomicBool::new(false),
        first_act: Mutex::new(None),
    };
    Arc::new(HookedStore::new(inner, hook))
}

impl CountingStore {
    pub(crate) fn calls(&self) -> &Calls {
        &self.hook.calls
    }

    /// Has something done just before the next operation of a kind.
    pub(crate) fn before(&self, operation: Failing, act: impl FnOnce() + Send + 'static) {
        *self.hook.first_act.lock().expect("nobody panics with it") =
            Some((operation, Box::new(act)));
    }

    pub(crate) fn fail(&self, failing: Failing) {
        *self.hook.failing.lock().expect("nobody panics with it") = failing;
        self.hook.fails_once.store(false, Ordering::Relaxed);
    }

    /// Has the next operation of a kind fail, and no more.
    pub(crate) fn fail_once(&self, failing: Failing) {
        self.fail(failing);
        self.hook.fails_once.store(true, Ordering::Relaxed);
    }
}

impl Counting {
    fn is_failing(&self, operation: Failing) -> Result<(), Error> {
        let first_act = self
            .first_act
            .lock()
            .expect("nobody panics with it")
            .take_if(|(awaited, _)| *awaited == operation);
        if let Some((_, act)) = first_act {
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

impl Hook for Counting {
    fn before(&self, call: Call) -> Result<(), Error> {
        let count = match call {
            Call::Load => Some(&self.calls.finds),
            Call::Touch => Some(&self.calls.touches),
            Call::FindBySubject => Some(&self.calls.searches),
            Call::Walk | Call::Count => None,
            _ => Some(&self.calls.writes),
        };
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Failing::of(call).0.map_or(Ok(()), |failing| self.is_failing(failing))
    }

    fn after(&self, call: Call) -> Result<(), Error> {
        Failing::of(call).1.map_or(Ok(()), |failing| self.is_failing(failing))
    }

    fn refuses_updates(&self) -> bool {
        self.is_failing(Failing::UpdateNeverMatches).is_err()
    }
}

/// Returns the token that a response brings to the browser: `Some("")` if it removes it, `None` if
/// it leaves the cookie alone.
pub(crate) fn token(finished: &Finished) -> Option<String> {
    let (_, cookie) = finished.headers.iter().find(|(name, _)| *name == "Set-Cookie")?;
    let value = cookie.split(';').next().and_then(|pair| pair.split_once('='));
    value.map(|(_, value)| value.to_owned())
}

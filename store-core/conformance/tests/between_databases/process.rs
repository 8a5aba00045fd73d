//! A process whose calls of the two databases are counted, so that it can be stopped before each.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use store_core::{
    Change, CleanupOptions, CleanupStatistics, Error, Limits, Loaded, MemoryOptions, MemoryStore,
    MovingStore, OwnedRecord, Record, Store,
};

/// The two databases, which all processes share.
#[derive(Clone)]
pub(crate) struct Databases {
    pub(crate) old: Arc<MemoryStore>,
    pub(crate) new: Arc<MemoryStore>,
}

impl Databases {
    pub(crate) fn empty() -> Self {
        Self::with_limits(Limits::DEFAULT)
    }

    /// With those of the new database.
    pub(crate) fn with_limits(limits: Limits) -> Self {
        let store = |limits| {
            let options = MemoryOptions::new().with_cleanup(CleanupOptions::disabled());
            Arc::new(options.with_limits(limits).build().expect("no thread is needed"))
        };
        Self { old: store(Limits::DEFAULT), new: store(limits) }
    }

    /// The same the other way round.
    pub(crate) fn swapped(self) -> Self {
        Self { old: self.new, new: self.old }
    }

    pub(crate) fn store(&self, phase: Phase) -> MovingStore {
        match phase {
            Phase::Preparing => MovingStore::preparing(self.old.clone(), self.new.clone()),
            Phase::Moving => MovingStore::moving(self.old.clone(), self.new.clone()),
        }
    }

    /// The old and the new database as one process reaches them.
    pub(crate) fn watched(&self, before_call: usize, event: Event) -> [Watched; 2] {
        let calls = Calls { state: State::Waiting(before_call), event: Some(event) };
        let calls = Arc::new(Mutex::new(calls));
        [&self.old, &self.new]
            .map(|inner| Watched { inner: Arc::clone(inner), calls: Arc::clone(&calls) })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Preparing,
    Moving,
}

/// What happens to a process before one of its calls.
pub(crate) enum Event {
    /// It is killed: none of its calls reaches a database any more.
    Kill,
    /// This call fails, and reaches no database.
    Fail,
    /// Others do something.
    Pause(Box<dyn FnOnce() + Send>),
    /// The same, and then it makes so many calls until it is killed.
    PauseThenKill(Box<dyn FnOnce() + Send>, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting(usize),
    Happened,
    Killed,
}

struct Calls {
    state: State,
    event: Option<Event>,
}

/// A database as the process reaches it.
pub(crate) struct Watched {
    inner: Arc<MemoryStore>,
    calls: Arc<Mutex<Calls>>,
}

/// Runs some work in a process, to which the event happens before its call of this number. Returns
/// whether it has made so many.
pub(crate) fn run<T>(
    databases: &Databases,
    phase: Phase,
    before_call: usize,
    event: Event,
    work: impl FnOnce(&MovingStore) -> Result<T, Error>,
) -> (Result<T, Error>, bool) {
    let [old, new] = databases.watched(before_call, event);
    let calls = Arc::clone(&old.calls);
    let store = match phase {
        Phase::Preparing => MovingStore::preparing(old, new),
        Phase::Moving => MovingStore::moving(old, new),
    };
    let outcome = work(&store);
    (outcome, has_happened(&calls))
}

/// What a store has under a token.
pub(crate) fn data(store: &dyn Store, token: &str) -> Option<Vec<u8>> {
    store.find(token).expect("it answers")
}

fn has_happened(calls: &Mutex<Calls>) -> bool {
    let state = calls.lock().unwrap_or_else(PoisonError::into_inner).state;
    !matches!(state, State::Waiting(_))
}

impl Watched {
    /// Whether so many calls were made.
    pub(crate) fn has_happened(&self) -> bool {
        has_happened(&self.calls)
    }

    fn before(&self) -> Result<(), Error> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        match calls.state {
            State::Waiting(0) => match calls.event.take() {
                Some(Event::Pause(others)) => {
                    calls.state = State::Happened;
                    drop(calls);
                    others();
                    Ok(())
                }
                Some(Event::PauseThenKill(others, calls_left)) => {
                    calls.state = State::Happened;
                    drop(calls);
                    others();
                    let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
                    // This call is one of them.
                    calls.state = State::Waiting(calls_left - 1);
                    Ok(())
                }
                Some(Event::Fail) => {
                    calls.state = State::Happened;
                    Err(Error::backend("failed"))
                }
                Some(Event::Kill) | None => {
                    calls.state = State::Killed;
                    Err(Error::backend("killed"))
                }
            },
            State::Waiting(left) => {
                calls.state = State::Waiting(left - 1);
                Ok(())
            }
            State::Happened => Ok(()),
            State::Killed => Err(Error::backend("killed")),
        }
    }
}

impl Store for Watched {
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        self.before()?;
        self.inner.find(token)
    }

    fn load(&self, token: &str) -> Result<Loaded, Error> {
        self.before()?;
        self.inner.load(token)
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        self.before()?;
        self.inner.commit(token, data, expiry)
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        self.before()?;
        self.inner.create_with(token, change)
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        self.before()?;
        self.inner.update(token, current, change)
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        self.before()?;
        self.inner.touch(token, expiry)
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        self.before()?;
        self.inner.delete(token)
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        self.before()?;
        self.inner.find_by_subject(subject)
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        self.before()?;
        self.inner.subject_of(token)
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        self.before()?;
        self.inner.delete_by_subject(subject, except)
    }

    fn delete_all(&self) -> Result<u64, Error> {
        self.before()?;
        self.inner.delete_all()
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        self.before()?;
        self.inner.delete_expired()
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        self.before()?;
        self.inner.for_each(visit)
    }

    fn count(&self) -> Result<u64, Error> {
        self.before()?;
        self.inner.count()
    }

    fn now(&self) -> DateTime<Utc> {
        self.inner.now()
    }

    fn stop_cleanup(&self) {
        self.inner.stop_cleanup();
    }

    fn cleanup_statistics(&self) -> CleanupStatistics {
        self.inner.cleanup_statistics()
    }
}

//! What the tests begin with: a manager, and sessions in its store.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use session_manager::{Error, EventKind, Header, SessionManager};
use store_core::{ManualClock, MemoryStore, Store as _};

use crate::counting_store::{CountingStore, counting_store, token};

/// A manager, its store, and the clock of both, which stands at noon.
pub(crate) struct Fixture {
    pub(crate) sessions: SessionManager,
    pub(crate) store: Arc<CountingStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) events: Arc<Mutex<Vec<EventKind>>>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse().expect("noon")));
        let store = counting_store(clock.clone());
        let events = Arc::<Mutex<Vec<_>>>::default();
        let sessions =
            SessionManager::new(Arc::clone(&store)).with_clock(clock.clone()).with_event_hook({
                let events = Arc::clone(&events);
                move |event| events.lock().expect("nobody panics with it").push(event.kind.clone())
            });
        Self { sessions, store, clock, events }
    }

    pub(crate) fn with(
        mut self,
        change: impl FnOnce(SessionManager) -> Result<SessionManager, Error>,
    ) -> Self {
        self.sessions = change(self.sessions).expect("the options are right");
        self
    }

    /// Stores a session with one value, and returns its token.
    pub(crate) fn stored(&self) -> Result<String, Error> {
        let mut session = self.sessions.load([])?;
        session.insert("name", "Ada")?;
        let token = token(&session.finish()?).expect("it is new");
        self.store.calls().take();
        self.events();
        Ok(token)
    }

    /// What the manager reported since the last call.
    pub(crate) fn events(&self) -> Vec<EventKind> {
        std::mem::take(&mut *self.events.lock().expect("nobody panics with it"))
    }

    /// The one row of the store, with its key.
    pub(crate) fn row(&self) -> (String, Vec<u8>, DateTime<Utc>) {
        let mut rows = Vec::new();
        let walk = self.store.for_each(&mut |record| {
            rows.push((record.token.to_owned(), record.data.to_owned(), record.expiry));
            ControlFlow::Continue(())
        });
        walk.expect("a walk in memory succeeds");
        assert_eq!(rows.len(), 1);
        rows.remove(0)
    }

    pub(crate) fn rows(&self) -> usize {
        self.store.all().expect("a walk in memory succeeds").len()
    }
}

pub(crate) fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
}

/// Renews a session, and returns its new token.
pub(crate) fn renewed(sessions: &SessionManager, old: &str) -> Result<String, Error> {
    let mut session = sessions.load([old])?;
    session.renew()?;
    Ok(token(&session.finish()?).expect("it changes"))
}

pub(crate) fn manager() -> Result<SessionManager, Error> {
    Ok(SessionManager::new(MemoryStore::new()?))
}

/// Stores sessions of one user, and returns their tokens.
pub(crate) fn logged_in_sessions(
    sessions: &SessionManager,
    count: usize,
) -> Result<Vec<String>, Error> {
    let one = |_| {
        let mut session = sessions.load([])?;
        session.insert("user", 7)?;
        session.set_subject("7")?;
        Ok(token(&session.finish()?).expect("it is new"))
    };
    (0..count).map(one).collect()
}

/// Logs a user in who keeps a value of their own.
pub(crate) fn logged_in(sessions: &SessionManager, user: &str) -> Result<String, Error> {
    let mut session = sessions.load([])?;
    session.set_subject(user)?;
    session.insert("secret of", user)?;
    session.insert("language", user)?;
    Ok(token(&session.finish()?).expect("it is new"))
}

//! What the tests begin with: a manager whose sessions are bound to devices.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use session_manager::{BindingPolicy, Error, EventKind, SessionManager};
use store_core::ManualClock;

use crate::counting_store::{CountingStore, counting_store};

/// Where the device endpoint is.
pub(crate) const PATH: &str = "/device-session";

/// How long a device cookie lives.
pub(crate) const COOKIE_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// How long a device cookie is taken, with what requests may be under way.
pub(crate) const COOKIE_END: TimeDelta = TimeDelta::minutes(11);

pub(crate) struct Fixture {
    pub(crate) sessions: SessionManager,
    pub(crate) store: Arc<CountingStore>,
    pub(crate) clock: Arc<ManualClock>,
    events: Arc<Mutex<Vec<EventKind>>>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with_policy(BindingPolicy::new(PATH))
    }

    /// A session without a proof reads as none.
    pub(crate) fn requiring_proof() -> Self {
        Self::with_policy(BindingPolicy::new(PATH).requiring_proof())
    }

    pub(crate) fn with_policy(policy: BindingPolicy) -> Self {
        let clock = Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse().expect("noon")));
        let store = counting_store(clock.clone());
        let events = Arc::<Mutex<Vec<_>>>::default();
        let lifetime = Duration::from_secs(600);
        let sessions = SessionManager::new(Arc::clone(&store))
            .with_clock(clock.clone())
            .with_event_hook({
                let events = Arc::clone(&events);
                move |event| events.lock().expect("nobody panics with it").push(event.kind.clone())
            })
            .with_device_binding(policy.with_cookie_lifetime(lifetime))
            .expect("the policy is right");
        Self { sessions, store, clock, events }
    }

    pub(crate) fn with(
        mut self,
        change: impl FnOnce(SessionManager) -> Result<SessionManager, Error>,
    ) -> Self {
        self.sessions = change(self.sessions).expect("the options are right");
        self
    }

    /// A manager of another process.
    pub(crate) fn other_process(&self) -> Result<SessionManager, Error> {
        SessionManager::new(Arc::clone(&self.store))
            .with_clock(self.clock.clone())
            .with_device_binding(BindingPolicy::new(PATH))
    }

    /// What the manager reported since the last call.
    pub(crate) fn events(&self) -> Vec<EventKind> {
        std::mem::take(&mut *self.events.lock().expect("nobody panics with it"))
    }
}

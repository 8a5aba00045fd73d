//! A browser with a session, and the store that has it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use session_manager::{Error, Header, Session, SessionManager};
use store_core::{CleanupOptions, Clock, MemoryOptions};

use super::faulty_store::{Fault, FaultyStore};

/// How often a manager rotates a token by itself. It is less than the grace, so that a token can be
/// good that isn't the newest of those that have to be rotated.
const ROTATION: Duration = Duration::from_secs(10);

/// Longer than all that happens, and due to be moved after a tenth of it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(150);

/// The time. No other thread runs while it is read: its lock isn't shuttle's.
#[derive(Debug)]
pub(crate) struct Time(Mutex<DateTime<Utc>>);

impl Time {
    pub(crate) fn advance(&self, seconds: i64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += TimeDelta::seconds(seconds);
    }
}

impl Clock for Time {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Response {
    /// With the token of the cookie that it sets, if it sets one.
    Done(Option<String>),
    Superseded,
}

/// What a token opens.
#[derive(Debug)]
pub(crate) struct Found {
    key: String,
    pub(crate) subject: Option<String>,
    pub(crate) keys: Vec<String>,
    /// Whether it is the session that the browser had at the beginning.
    pub(crate) is_from_before: bool,
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) clock: Arc<Time>,
    store: Arc<FaultyStore>,
    /// The manager of a process that serves several of the requests.
    sessions: Arc<SessionManager>,
}

impl World {
    pub(crate) fn new(fault: Fault) -> Self {
        let clock = Arc::new(Time(Mutex::new(DateTime::UNIX_EPOCH)));
        let options = MemoryOptions::new().with_cleanup(CleanupOptions::disabled());
        let inner = options.with_clock(Arc::clone(&clock) as _).build().expect("no thread");
        let store = Arc::new(FaultyStore { inner, fault });
        let sessions = Arc::new(manager(&store, &clock));
        Self { clock, store, sessions }
    }

    /// Serves a request, in the process of others or in one of its own.
    pub(crate) fn serve(
        &self,
        shares_process: bool,
        token: &str,
        act: impl Fn(&mut Session<'_>) -> Result<(), Error>,
    ) -> Response {
        let own;
        let sessions = if shares_process {
            &*self.sessions
        } else {
            own = manager(&self.store, &self.clock);
            &own
        };
        let mut session = sessions.load([token]).expect("memory doesn't fail");
        let written = act(&mut session).and_then(|()| session.finish());
        match written {
            Ok(finished) => Response::Done(new_token(&finished.headers)),
            Err(Error::Superseded) => Response::Superseded,
            Err(error) => panic!("{error}"),
        }
    }

    /// A manager that only looks.
    fn observer(&self) -> SessionManager {
        let clock = Arc::clone(&self.clock);
        SessionManager::new(Arc::clone(&self.store)).with_clock(clock)
    }

    pub(crate) fn open(&self, token: &str) -> Option<Found> {
        let sessions = self.observer();
        let session = sessions.load([token]).expect("memory doesn't fail");
        Some(Found {
            key: session.key()?.as_str().to_owned(),
            subject: session.subject(),
            keys: session.keys().map(str::to_owned).collect(),
            is_from_before: session.contains("from"),
        })
    }

    /// How many different tokens open the session that most of these open.
    pub(crate) fn most_tokens<'a>(&self, tokens: impl Iterator<Item = &'a str>) -> usize {
        let mut sessions = BTreeMap::<_, BTreeSet<_>>::new();
        for token in tokens {
            if let Some(found) = self.open(token) {
                sessions.entry(found.key).or_default().insert(token);
            }
        }
        sessions.values().map(BTreeSet::len).max().unwrap_or(0)
    }

    /// The counters of all sessions, and how many sessions have been there from the beginning.
    pub(crate) fn count(&self) -> (usize, usize) {
        let (mut total, mut sessions) = (0, 0);
        let visit = |session: session_manager::StoredSession<'_>| {
            total += session.get::<usize>("n").expect("a number").unwrap_or(0);
            sessions += usize::from(session.get::<bool>("from").expect("a boolean").is_some());
            ControlFlow::Continue(())
        };
        self.observer().for_each(visit).expect("memory doesn't fail");
        (total, sessions)
    }
}

/// A manager as a process has it.
fn manager(store: &Arc<FaultyStore>, clock: &Arc<Time>) -> SessionManager {
    SessionManager::new(Arc::clone(store))
        .with_clock(Arc::clone(clock) as _)
        .with_rotation(ROTATION)
        .expect("some seconds")
        .with_idle_timeout(IDLE_TIMEOUT)
        .expect("some minutes")
        .with_kept_values(["from"])
}

fn new_token(headers: &[Header]) -> Option<String> {
    let (_, cookie) = headers.iter().find(|(name, _)| *name == "Set-Cookie")?;
    let value = cookie.split(';').next().and_then(|pair| pair.split_once('='));
    value.map(|(_, value)| value.to_owned()).filter(|value| !value.is_empty())
}

//! The sessions that are to be ended, and how one of them is ended for good.

use std::collections::HashSet;
use std::ops::ControlFlow;

use session_manager::SessionId;
use store_core::{Error, Record, Store};

use crate::key_files::Unsealer;
use crate::summary::Summary;

/// How often a session is looked for that was renewed while it was looked for, or written again by
/// somebody who doesn't care that it has ended.
const ATTEMPTS: u32 = 10;

/// Sessions that are looked for: those of a subject, the one with an id, or both.
pub(crate) struct Target<'a> {
    pub(crate) subject: Option<&'a str>,
    pub(crate) id: Option<SessionId>,
    pub(crate) unsealer: &'a Unsealer,
}

impl Target<'_> {
    fn matches(&self, record: Record<'_>) -> bool {
        let id = || Summary::read(record, self.unsealer).told.map(|told| told.id);
        self.id.is_none_or(|looked_for| id() == Some(looked_for))
    }

    /// Calls the visitor with the key of each session that is meant.
    fn visit(&self, store: &dyn Store, visit: &mut dyn FnMut(&str)) -> Result<(), Error> {
        if let Some(subject) = self.subject {
            for session in store.find_by_subject(subject)? {
                if self.matches(Record::new(&session.token, &session.data, session.expiry)) {
                    visit(&session.token);
                }
            }
            return Ok(());
        }
        store.for_each(&mut |record| {
            if self.matches(record) {
                visit(record.token);
            }
            ControlFlow::Continue(())
        })
    }

    /// Returns how many sessions that are.
    pub(crate) fn count(&self, store: &dyn Store) -> Result<u64, Error> {
        // A walk may meet a session twice that a Go program writes meanwhile.
        let mut found = HashSet::new();
        self.visit(store, &mut |key| {
            found.insert(key.to_owned());
        })?;
        Ok(found.len() as u64)
    }

    /// Ends the session, and returns whether there was one.
    ///
    /// It is looked for until it isn't found: a session that was renewed since a walk began may
    /// have a key by now that the walk doesn't know, and by which alone it ends.
    pub(crate) fn end(&self, store: &dyn Store) -> Result<bool, Error> {
        let mut has_ended = false;
        for _ in 0..ATTEMPTS {
            let (mut outcome, mut is_done) = (Ok(()), true);
            self.visit(store, &mut |key| {
                is_done = false;
                if outcome.is_ok() {
                    outcome = store.delete(key);
                    has_ended = true;
                }
            })?;
            outcome?;
            if is_done {
                return Ok(has_ended);
            }
        }
        Err(Error::Contended {
            source: "it is there again each time: something goes on writing it".into(),
        })
    }
}

#[cfg(test)]
#[path = "../../tests/hooked_store/mod.rs"]
mod hooked_store;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use chrono::{DateTime, TimeDelta};
    use session_manager::{Json, SessionManager, SessionSummary};
    use store_core::{Change, CleanupOptions, ManualClock, MemoryOptions, MemoryStore, Rotation};

    use super::hooked_store::{Call, Hook, HookedStore};
    use super::*;

    /// Before each of so many deletions, the session is renewed, and the grace of that is over.
    struct Renewing {
        store: Arc<MemoryStore>,
        clock: Arc<ManualClock>,
        times: AtomicU32,
    }

    impl Hook for Renewing {
        fn before(&self, call: Call) -> Result<(), Error> {
            let is_left = |times: u32| times.checked_sub(1);
            if call == Call::Delete
                && self.times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_left).is_ok()
            {
                renew(&self.store)?;
                self.clock.advance(TimeDelta::minutes(1));
            }
            Ok(())
        }
    }

    /// Gives the only session another key.
    fn renew(store: &MemoryStore) -> Result<(), Error> {
        let mut found = None;
        store.for_each(&mut |record| {
            found = Some((record.token.to_owned(), record.data.to_owned(), record.expiry));
            ControlFlow::Break(())
        })?;
        let (key, data, expiry) = found.expect("there is a session");
        let new_key = format!("{key}'");
        let change = Change::new(&data, expiry).with_rotation(Rotation::new(&new_key));
        assert!(store.update(&key, &data, &change)?);
        Ok(())
    }

    /// A store with one session, which is renewed so often, and the session's id.
    fn fixture(times: u32) -> (HookedStore<Arc<MemoryStore>, Renewing>, SessionId) {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let options = MemoryOptions::new().with_cleanup(CleanupOptions::disabled());
        let store = Arc::new(options.with_clock(clock.clone()).build().expect("no thread"));
        let sessions = SessionManager::new(Arc::clone(&store));
        // An id of its own, as a session has that was renewed.
        let mut session = sessions.load([]).expect("the store works");
        session.set_subject("7").expect("a subject");
        let token = session.finish().expect("the store works");
        let token = token.headers[0].1.split(['=', ';']).nth(1).expect("a cookie").to_owned();
        let mut session = sessions.load([&*token]).expect("the store works");
        session.renew().expect("it is loaded");
        let id = session.finish().expect("the store works").id.expect("it is stored");
        let hook = Renewing { store: Arc::clone(&store), clock, times: times.into() };
        (HookedStore::new(store, hook), id)
    }

    #[test]
    fn session_that_is_renewed_meanwhile_ends_nevertheless() -> Result<(), Error> {
        for subject in [None, Some("__Host-session:7")] {
            let (store, id) = fixture(2);
            let target = Target { subject, id: Some(id), unsealer: &Unsealer::default() };
            assert_eq!(target.count(&store)?, 1);
            assert!(target.end(&store)?);
            assert_eq!(store.count()?, 0, "{subject:?}");
            assert!(!target.end(&store)?);
        }
        Ok(())
    }

    #[test]
    fn session_that_always_comes_again_is_an_error() -> Result<(), Error> {
        let (store, id) = fixture(u32::MAX);
        let outcome =
            Target { subject: None, id: Some(id), unsealer: &Unsealer::default() }.end(&store);
        assert!(matches!(outcome, Err(Error::Contended { .. })), "{outcome:?}");
        assert_eq!(store.count()?, 1);
        Ok(())
    }

    #[test]
    fn no_other_session_ends() -> Result<(), Error> {
        let (store, id) = fixture(0);
        let (_, other) = fixture(0);
        assert_ne!(id, other);
        assert!(
            !Target { subject: None, id: Some(other), unsealer: &Unsealer::default() }
                .end(&store)?
        );
        assert!(
            !Target {
                subject: Some("__Host-session:8"),
                id: Some(id),
                unsealer: &Unsealer::default()
            }
            .end(&store)?
        );
        let mut ids = Vec::new();
        store.for_each(&mut |record| {
            ids.extend(SessionSummary::read(&Json, record.token, record.data).map(|told| told.id));
            ControlFlow::Continue(())
        })?;
        assert_eq!(ids, [id]);
        Ok(())
    }
}

//! A limited number of sessions of a user, however many log in at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use session_manager::{Error, SessionLimit};
use store_core::Store;

use crate::counting_store::token;
use crate::{Manager, TestResult};

const THREADS: usize = 6;
const LOGINS: usize = 4;
const MAX: usize = 3;

on_every_store! {
    logins_at_once_never_leave_more_than_there_may_be
    logins_at_once_are_refused_but_for_as_many_as_there_may_be
    login_ends_the_oldest_and_what_comes_with_its_token_ends_nothing
}

/// A manager as a process of its own has it.
fn manager(store: &Arc<dyn Store>, limit: SessionLimit) -> Result<Manager, Error> {
    crate::manager(Arc::clone(store)).with_session_limit(limit)
}

/// Logs Ada in, from a session that the browser has already if that is asked for.
fn log_in(sessions: &Manager, from_session: bool) -> Result<String, Error> {
    let mut session = sessions.load([])?;
    if from_session {
        session.insert("cart", "tea")?;
        let cookie = token(&session.finish()?).expect("it is new");
        session = sessions.load([&*cookie])?;
    }
    session.set_subject("ada")?;
    Ok(token(&session.finish()?).expect("it is new"))
}

fn logins_at_once_never_leave_more_than_there_may_be(store: &Arc<dyn Store>) -> TestResult {
    thread::scope(|scope| {
        let logins: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let sessions = manager(store, SessionLimit::EndOldest(MAX))?;
                    for n in 0..LOGINS {
                        log_in(&sessions, (thread + n) % 2 == 0)?;
                        let count = sessions.sessions_of("ada")?.len();
                        assert!((1..=MAX).contains(&count), "{count} sessions");
                    }
                    Ok::<_, Error>(())
                })
            })
            .collect();
        logins.into_iter().try_for_each(|login| login.join().expect("no assertion fails"))
    })?;
    let sessions = manager(store, SessionLimit::EndOldest(MAX))?;
    assert_eq!(sessions.sessions_of("ada")?.len(), MAX);
    assert_eq!(store.count()?, MAX as u64, "nothing is left of those that gave way");
    Ok(())
}

fn logins_at_once_are_refused_but_for_as_many_as_there_may_be(
    store: &Arc<dyn Store>,
) -> TestResult {
    let refused = AtomicUsize::new(0);
    thread::scope(|scope| {
        let logins: Vec<_> = (0..THREADS)
            .map(|thread| {
                let refused = &refused;
                scope.spawn(move || {
                    let sessions = manager(store, SessionLimit::Refuse(MAX))?;
                    match log_in(&sessions, thread % 2 == 0) {
                        Err(Error::TooManySessions { max: MAX }) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        login => drop(login?),
                    }
                    Ok::<_, Error>(())
                })
            })
            .collect();
        logins.into_iter().try_for_each(|login| login.join().expect("no assertion fails"))
    })?;
    assert_eq!(refused.into_inner(), THREADS - MAX);
    let sessions = manager(store, SessionLimit::Refuse(MAX))?;
    assert_eq!(sessions.sessions_of("ada")?.len(), MAX);
    // One that logs out makes room.
    sessions.destroy(sessions.sessions_of("ada")?[0].key())?;
    log_in(&sessions, false)?;
    Ok(())
}

fn login_ends_the_oldest_and_what_comes_with_its_token_ends_nothing(
    store: &Arc<dyn Store>,
) -> TestResult {
    let sessions = manager(store, SessionLimit::EndOldest(1))?;
    for from_session in [false, true] {
        let old = log_in(&sessions, from_session)?;
        let new = log_in(&sessions, from_session)?;
        let mut late = sessions.load([&*old])?;
        assert_eq!(late.subject(), None);
        late.destroy()?;
        late.finish()?;
        assert_eq!(sessions.load([&*new])?.subject().as_deref(), Some("ada"));
        // The same session may prove again whose it is.
        let mut session = sessions.load([&*new])?;
        session.mark_authenticated()?;
        let renewed = token(&session.finish()?).expect("rights have changed");
        assert_eq!(sessions.load([&*renewed])?.subject().as_deref(), Some("ada"));
    }
    Ok(())
}

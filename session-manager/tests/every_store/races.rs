//! Many requests of one session at the same time, on threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use session_manager::Error;
use store_core::Store;

use crate::fixture::logged_in;
use crate::{Manager, Session, TestResult};

const THREADS: usize = 8;
const REQUESTS: usize = 12;

on_every_store! {
    concurrent_requests_lose_no_insert_and_no_count
    logout_in_the_middle_of_many_requests_is_final
    renewal_in_the_middle_of_many_requests_is_undone_by_nothing
    logouts_and_renewals_at_the_same_moment_leave_nobody_logged_in
    sixteen_requests_at_once_are_never_too_many
}

/// Runs `THREADS` threads of `REQUESTS` requests each, all on one session; returns the first error,
/// or how many requests heard that the session had ended or was renewed.
fn many_requests(
    sessions: &Manager,
    token: &str,
    request: impl Fn(&mut Session<'_>, usize, usize) -> TestResult + Sync,
) -> Result<usize, Error> {
    let start = Barrier::new(THREADS);
    let superseded = AtomicUsize::new(0);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|i| {
                let (start, request, superseded) = (&start, &request, &superseded);
                scope.spawn(move || {
                    start.wait();
                    for n in 0..REQUESTS {
                        let mut session = sessions.load([token])?;
                        request(&mut session, i, n)?;
                        match session.finish() {
                            Ok(_) => {}
                            Err(Error::Superseded) => {
                                superseded.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => return Err(error),
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no assertion fails"))
    })?;
    Ok(superseded.into_inner())
}

fn concurrent_requests_lose_no_insert_and_no_count(store: &Arc<dyn Store>) -> TestResult {
    let (sessions, token) = logged_in(store)?;
    let superseded = many_requests(&sessions, &token, |session, i, n| {
        session.insert(&format!("thread {i} request {n}"), n)?;
        session.update("count", |count: Option<usize>| count.unwrap_or(0) + 1)?;
        Ok(())
    })?;
    assert_eq!(superseded, 0);
    let session = sessions.load([&*token])?;
    assert_eq!(session.get("count")?, Some(THREADS * REQUESTS));
    for (i, n) in (0..THREADS).flat_map(|i| (0..REQUESTS).map(move |n| (i, n))) {
        assert_eq!(session.get(&format!("thread {i} request {n}"))?, Some(n));
    }
    assert_eq!(session.get("user_id")?, Some(7));
    Ok(())
}

fn logout_in_the_middle_of_many_requests_is_final(store: &Arc<dyn Store>) -> TestResult {
    let (sessions, token) = logged_in(store)?;
    let logged_out = AtomicBool::new(false);
    let requests = AtomicUsize::new(0);
    many_requests(&sessions, &token, |session, i, n| {
        if requests.fetch_add(1, Ordering::Relaxed) == THREADS * REQUESTS / 2 {
            session.destroy()?;
            logged_out.store(true, Ordering::Release);
            return Ok(());
        }
        // What is only put into sessions that are logged in; a fresh one stays empty and isn't
        // stored.
        if session.contains("user_id") {
            session.insert(&format!("thread {i} request {n}"), n)?;
            session.update("count", |count: Option<usize>| count.unwrap_or(0) + 1)?;
        }
        Ok(())
    })?;
    assert!(logged_out.load(Ordering::Acquire));
    assert!(sessions.load([&*token])?.is_empty(), "the token is dead");
    assert!(store.all()?.is_empty(), "nothing was revived under any token");
    Ok(())
}

fn renewal_in_the_middle_of_many_requests_is_undone_by_nothing(
    store: &Arc<dyn Store>,
) -> TestResult {
    let (sessions, old) = logged_in(store)?;
    let requests = AtomicUsize::new(0);
    let renewed = std::sync::Mutex::new(None);
    many_requests(&sessions, &old, |session, i, n| {
        if session.contains("user_id") {
            if requests.fetch_add(1, Ordering::Relaxed) == THREADS * REQUESTS / 2 {
                session.renew()?;
                let token = session.token().map(str::to_owned);
                *renewed.lock().expect("nobody panics with it") = token;
            }
            session.insert(&format!("thread {i} request {n}"), n)?;
            session.update("count", |count: Option<usize>| count.unwrap_or(0) + 1)?;
        }
        Ok(())
    })?;
    let new = renewed.into_inner().expect("nobody panics with it").expect("it was renewed");
    assert!(sessions.load([&*old])?.is_empty(), "the old token is dead");
    assert_eq!(store.all()?.len(), 1, "there is one session");
    let session = sessions.load([&*new])?;
    assert_eq!(session.get("user_id")?, Some(7));
    let count: usize = session.get("count")?.expect("requests came before");
    // Each request that was written inserted a key and counted one; the others did neither, and
    // heard of it.
    assert_eq!(session.keys().count(), count + 2);
    Ok(())
}

fn logouts_and_renewals_at_the_same_moment_leave_nobody_logged_in(
    store: &Arc<dyn Store>,
) -> TestResult {
    for _ in 0..60 {
        let (sessions, old) = logged_in(store)?;
        let start = Barrier::new(3);
        thread::scope(|scope| {
            let request = |act: fn(&mut Session<'_>) -> TestResult| {
                let (sessions, old, start) = (&sessions, &old, &start);
                scope.spawn(move || -> TestResult {
                    let mut session = sessions.load([&**old])?;
                    start.wait();
                    act(&mut session)?;
                    match session.finish() {
                        Ok(_) | Err(Error::Superseded) => Ok(()),
                        Err(error) => Err(error),
                    }
                })
            };
            let renew = |session: &mut Session<'_>| session.renew();
            let log_out = |session: &mut Session<'_>| session.destroy();
            let threads = [request(renew), request(log_out), request(renew)];
            threads.into_iter().try_for_each(|thread| thread.join().expect("no assertion fails"))
        })?;
        assert!(store.all()?.is_empty(), "somebody stayed logged in");
    }
    Ok(())
}

fn sixteen_requests_at_once_are_never_too_many(store: &Arc<dyn Store>) -> TestResult {
    const AT_ONCE: usize = 16;
    const EACH: usize = 60;
    let (sessions, token) = logged_in(store)?;
    thread::scope(|scope| {
        let count = || -> TestResult {
            for _ in 0..EACH {
                let mut session = sessions.load([&*token])?;
                session.update("count", |count: Option<usize>| count.unwrap_or(0) + 1)?;
                session.finish()?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(count)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no assertion fails"))
    })?;
    assert_eq!(sessions.load([&*token])?.get("count")?, Some(AT_ONCE * EACH));
    Ok(())
}

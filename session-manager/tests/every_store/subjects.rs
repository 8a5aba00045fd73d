//! The sessions of a user.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use session_manager::Error;
use store_core::Store;
use store_sqlite::SqliteStore;

use crate::counting_store;
use crate::counting_store::token;
use crate::{Manager, TestResult, manager};

on_every_store! {
    sessions_of_a_user_are_listed_with_their_values
    subject_survives_writing_and_renewal
    logout_everywhere_ends_every_session_of_the_user_and_no_other
    logout_everywhere_else_keeps_this_session_also_when_it_is_renewed
    logout_everywhere_during_running_requests_is_final
    subject_can_be_changed_and_cleared
    login_of_a_session_that_was_lost_is_not_listed
    login_with_the_cookie_that_another_login_renewed_gets_its_own_session
    second_of_two_overlapping_logins_gets_an_error
    session_that_logs_in_and_is_merged_with_itself_is_logged_in
}

fn log_in(sessions: &Manager, user: &str, device: &str) -> Result<String, Error> {
    let mut session = sessions.load([])?;
    session.set_subject(user)?;
    session.insert("device", device)?;
    Ok(token(&session.finish()?).expect("it is new"))
}

/// The token of a session in which nobody is logged in.
fn anonymous(sessions: &Manager) -> Result<String, Error> {
    let mut session = sessions.load([])?;
    session.insert("device", "phone")?;
    Ok(token(&session.finish()?).expect("it is new"))
}

/// The devices that a user is logged in on, sorted.
fn devices(sessions: &Manager, user: &str) -> Result<Vec<String>, Error> {
    let mut devices = Vec::new();
    for session in sessions.sessions_of(user)? {
        assert_eq!(session.subject().as_deref(), Some(user));
        devices.push(session.get("device")?.expect("each has one"));
    }
    devices.sort();
    Ok(devices)
}

fn sessions_of_a_user_are_listed_with_their_values(store: &Arc<dyn Store>) -> TestResult {
    let sessions = manager(Arc::clone(store));
    let phone = log_in(&sessions, "ada", "phone")?;
    log_in(&sessions, "ada", "laptop")?;
    log_in(&sessions, "grace", "desktop")?;
    assert_eq!(devices(&sessions, "ada")?, ["laptop", "phone"]);
    assert_eq!(devices(&sessions, "grace")?, ["desktop"]);
    assert!(devices(&sessions, "nobody")?.is_empty());

    let session = sessions.load([&*phone])?;
    assert_eq!(session.subject().as_deref(), Some("ada"));
    let this = session.key().expect("it is stored");
    let mine = sessions.sessions_of("ada")?;
    assert_eq!(mine.iter().filter(|stored| stored.key() == this).count(), 1);
    let other = mine.iter().find(|stored| stored.key() != this).expect("there are two");
    sessions.destroy(other.key())?;
    assert_eq!(devices(&sessions, "ada")?, ["phone"]);
    Ok(())
}

fn subject_survives_writing_and_renewal(store: &Arc<dyn Store>) -> TestResult {
    let sessions = manager(Arc::clone(store));
    // As at a login: an anonymous session gets a new token and a subject in one request.
    let anonymous = anonymous(&sessions)?;
    let mut session = sessions.load([&*anonymous])?;
    session.renew()?;
    session.set_subject("ada")?;
    let logged_in = token(&session.finish()?).expect("it changes");
    assert_eq!(devices(&sessions, "ada")?, ["phone"]);

    let mut session = sessions.load([&*logged_in])?;
    session.insert("device", "telephone")?;
    session.finish()?;
    let mut session = sessions.load([&*logged_in])?;
    session.renew()?;
    let renewed = token(&session.finish()?).expect("it changes");
    assert_eq!(devices(&sessions, "ada")?, ["telephone"]);

    let mut session = sessions.load([&*renewed])?;
    session.clear();
    assert_eq!(session.subject().as_deref(), Some("ada"), "it is the session's own");
    session.destroy()?;
    session.finish()?;
    assert!(devices(&sessions, "ada")?.is_empty());
    Ok(())
}

fn logout_everywhere_ends_every_session_of_the_user_and_no_other(
    store: &Arc<dyn Store>,
) -> TestResult {
    let sessions = manager(Arc::clone(store));
    let tokens = [log_in(&sessions, "ada", "phone")?, log_in(&sessions, "ada", "laptop")?];
    let other = log_in(&sessions, "grace", "desktop")?;
    assert_eq!(sessions.destroy_all_of("ada")?, 2);
    assert_eq!(sessions.destroy_all_of("ada")?, 0);
    for token in &tokens {
        assert!(sessions.load([&**token])?.is_empty());
    }
    assert!(sessions.load([&*other])?.contains("device"));
    Ok(())
}

fn logout_everywhere_else_keeps_this_session_also_when_it_is_renewed(
    store: &Arc<dyn Store>,
) -> TestResult {
    let sessions = manager(Arc::clone(store));
    for renews in [false, true] {
        let mine = log_in(&sessions, "ada", "phone")?;
        log_in(&sessions, "ada", "laptop")?;
        log_in(&sessions, "ada", "desktop")?;
        let mut session = sessions.load([&*mine])?;
        session.destroy_others()?;
        if renews {
            session.renew()?;
        }
        assert_eq!(devices(&sessions, "ada")?.len(), 3, "nothing happens before the end");
        session.finish()?;
        assert_eq!(devices(&sessions, "ada")?, ["phone"]);
        sessions.destroy_all_of("ada")?;
    }
    let mut anonymous = sessions.load([])?;
    assert!(matches!(anonymous.destroy_others(), Err(Error::SubjectMissing)));

    // In the very request that logs in.
    log_in(&sessions, "ada", "laptop")?;
    let mut session = sessions.load([])?;
    session.set_subject("ada")?;
    session.insert("device", "phone")?;
    session.destroy_others()?;
    session.finish()?;
    assert_eq!(devices(&sessions, "ada")?, ["phone"]);
    Ok(())
}

fn logout_everywhere_during_running_requests_is_final(store: &Arc<dyn Store>) -> TestResult {
    const THREADS: usize = 6;
    let sessions = manager(Arc::clone(store));
    let tokens: Vec<_> =
        (0..THREADS).map(|n| log_in(&sessions, "ada", &n.to_string())).collect::<Result<_, _>>()?;
    let start = Barrier::new(THREADS + 1);
    thread::scope(|scope| -> TestResult {
        let threads: Vec<_> = tokens
            .iter()
            .map(|token| {
                let (sessions, start) = (&sessions, &start);
                scope.spawn(move || -> TestResult {
                    start.wait();
                    let mut token = token.clone();
                    for n in 0..20 {
                        let mut session = sessions.load([&*token])?;
                        if session.subject().is_none() {
                            return Ok(());
                        }
                        session.insert("n", n)?;
                        if n % 3 == 0 {
                            session.renew()?;
                        }
                        match session.finish() {
                            Ok(headers) => {
                                token = counting_store::token(&headers).unwrap_or(token);
                            }
                            // It was logged out in the meantime.
                            Err(Error::Superseded) => {}
                            Err(error) => return Err(error),
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        start.wait();
        sessions.destroy_all_of("ada")?;
        threads.into_iter().try_for_each(|thread| thread.join().expect("no assertion fails"))
    })?;
    assert!(sessions.sessions_of("ada")?.is_empty());
    let mut left = 0;
    sessions.for_each(|_| {
        left += 1;
        std::ops::ControlFlow::Continue(())
    })?;
    assert_eq!(left, 0, "no renewal slipped through");
    Ok(())
}

fn subject_can_be_changed_and_cleared(store: &Arc<dyn Store>) -> TestResult {
    let sessions = manager(Arc::clone(store));
    let token = log_in(&sessions, "ada", "phone")?;
    let mut session = sessions.load([&*token])?;
    session.set_subject("ada")?;
    assert_eq!(counting_store::token(&session.finish()?), None, "it is the same user");
    let mut session = sessions.load([&*token])?;
    session.set_subject("grace")?;
    assert!(!session.contains("device"), "values don't pass from one user to another");
    session.insert("device", "phone")?;
    let old = token;
    let token = counting_store::token(&session.finish()?).expect("another user, another token");
    assert!(sessions.load([&*old])?.is_empty());
    assert!(devices(&sessions, "ada")?.is_empty());
    assert_eq!(devices(&sessions, "grace")?, ["phone"]);
    let mut session = sessions.load([&*token])?;
    session.clear_subject()?;
    session.clear_subject()?;
    let old = token;
    let token = counting_store::token(&session.finish()?).expect("no user, another token");
    assert!(devices(&sessions, "grace")?.is_empty());
    assert!(sessions.load([&*old])?.is_empty());
    let mut session = sessions.load([&*token])?;
    assert!(session.is_empty() && session.subject().is_none());

    for invalid in ["", &"x".repeat(256)] {
        let refused = session.set_subject(invalid);
        assert!(matches!(refused, Err(Error::Store(_))), "{refused:?}");
    }
    assert_eq!(session.subject(), None);
    Ok(())
}

fn login_of_a_session_that_was_lost_is_not_listed(store: &Arc<dyn Store>) -> TestResult {
    let sessions = manager(Arc::clone(store));
    let anonymous = anonymous(&sessions)?;
    let mut slow = sessions.load([&*anonymous])?;
    slow.set_subject("ada")?;
    let mut quick = sessions.load([&*anonymous])?;
    quick.destroy()?;
    quick.finish()?;
    assert!(matches!(slow.finish(), Err(Error::Superseded)));
    assert!(devices(&sessions, "ada")?.is_empty());
    Ok(())
}

/// The browser drops the response to the first request, and with it the cookie.
fn login_with_the_cookie_that_another_login_renewed_gets_its_own_session(
    store: &Arc<dyn Store>,
) -> TestResult {
    let sessions = manager(Arc::clone(store));
    let old = anonymous(&sessions)?;
    let log_in = || {
        let mut session = sessions.load([&*old])?;
        session.insert("device", "phone")?;
        session.set_subject("ada")?;
        Ok::<_, Error>(token(&session.finish()?).expect("it changes"))
    };
    let (first, second) = (log_in()?, log_in()?);
    assert!(first != second && second != old);
    for token in [&first, &second] {
        assert_eq!(sessions.load([&**token])?.subject().as_deref(), Some("ada"));
    }
    // One that logs in and then thinks better of it ends what it had come with.
    let mut session = sessions.load([&*old])?;
    session.set_subject("ada")?;
    session.destroy()?;
    assert_eq!(token(&session.finish()?).as_deref(), Some(""));
    assert!(sessions.load([&*first])?.is_empty());
    assert_eq!(sessions.load([&*second])?.subject().as_deref(), Some("ada"));
    assert!(sessions.load([&*old])?.is_empty());
    Ok(())
}

/// A double click whose second request was loaded before the first login was written.
fn second_of_two_overlapping_logins_gets_an_error(store: &Arc<dyn Store>) -> TestResult {
    let sessions = manager(Arc::clone(store));
    let old = anonymous(&sessions)?;
    let (mut first, mut second) = (sessions.load([&*old])?, sessions.load([&*old])?);
    first.set_subject("ada")?;
    second.set_subject("ada")?;
    let token = token(&first.finish()?).expect("it changes");
    assert!(matches!(second.finish(), Err(Error::Superseded)));
    assert_eq!(sessions.load([&*token])?.subject().as_deref(), Some("ada"));
    assert_eq!(devices(&sessions, "ada")?.len(), 1);
    Ok(())
}

fn session_that_logs_in_and_is_merged_with_itself_is_logged_in(
    store: &Arc<dyn Store>,
) -> TestResult {
    let sessions = manager(Arc::clone(store));
    let old = anonymous(&sessions)?;
    // As where the token comes back from another site, and the cookie with it.
    let mut session = sessions.load([&*old])?;
    session.set_subject("ada")?;
    assert!(session.merge(&old)?);
    let new = token(&session.finish()?).expect("it changes");
    assert_eq!(sessions.load([&*new])?.subject().as_deref(), Some("ada"));
    assert_eq!(devices(&sessions, "ada")?, ["phone"]);
    Ok(())
}

#[test]
fn store_without_an_index_says_which_table_is_missing() -> TestResult {
    let pool = r2d2(1);
    let connection = pool.get().expect("a database in memory");
    connection
        .execute_batch(&format!(
            "{} CREATE VIEW sessions_subjects AS SELECT 1; CREATE VIEW sessions_rotations AS SELECT 1;",
            SqliteStore::CREATE_TABLE
        ))
        .expect("the DDL is right");
    drop(connection);
    let sessions = manager(SqliteStore::with_cleanup_interval(pool, Duration::ZERO)?);

    // Sessions work, and so does a renewal.
    let old = anonymous(&sessions)?;
    let mut session = sessions.load([&*old])?;
    session.renew()?;
    let new = token(&session.finish()?).expect("it changes");
    assert!(sessions.load([&*old])?.is_empty());
    assert!(sessions.load([&*new])?.contains("device"));

    let missing = |outcome: Result<(), Error>| match outcome {
        Err(Error::Store(store_core::Error::TableMissing { table })) => table,
        other => panic!("{other:?}"),
    };
    for token in [&*new, ""] {
        let mut session = sessions.load([token])?;
        session.set_subject("ada")?;
        assert_eq!(missing(session.finish().map(drop)), "sessions_subjects");
    }
    assert_eq!(missing(sessions.sessions_of("ada").map(drop)), "sessions_subjects");
    assert_eq!(missing(sessions.destroy_all_of("ada").map(drop)), "sessions_subjects");
    assert!(sessions.load([&*new])?.contains("device"), "nothing was written");
    Ok(())
}

fn r2d2(size: u32) -> store_sqlite::r2d2::Pool<SqliteConnectionManager> {
    let manager = SqliteConnectionManager::memory();
    store_sqlite::r2d2::Pool::builder().max_size(size).build(manager).expect("it is in memory")
}

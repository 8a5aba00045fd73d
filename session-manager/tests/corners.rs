//! Corners where two promises meet: sessions that end while another takes them over, and cookies that browsers
//! would drop without a word.

use std::sync::Arc;

use chrono::TimeDelta;
use session_manager::{CookiePolicy, Error, Header, SessionManager};
use store_core::{ManualClock, MemoryStore};

type TestResult = Result<(), Error>;

fn manager() -> Result<SessionManager, Error> {
    Ok(SessionManager::with_subjects(MemoryStore::new()?))
}

fn token(headers: &[Header]) -> Option<String> {
    let (_, cookie) = headers.iter().find(|(name, _)| *name == "Set-Cookie")?;
    cookie.split(['=', ';']).nth(1).map(str::to_owned)
}

/// Stores sessions of one user, and gives their tokens.
fn stored(sessions: &SessionManager, count: usize) -> Result<Vec<String>, Error> {
    let one = |_| {
        let mut session = sessions.load([])?;
        session.insert("user", 7)?;
        session.set_subject("7")?;
        Ok(token(&session.finish()?).expect("it is new"))
    };
    (0..count).map(one).collect()
}

#[test]
fn log_out_everywhere_else_and_then_here_ends_all_sessions() -> TestResult {
    let sessions = manager()?;
    let tokens = stored(&sessions, 3)?;
    let mut session = sessions.load([&*tokens[0]])?;
    session.destroy_others()?;
    session.destroy();
    session.finish()?;
    assert_eq!(sessions.sessions_of("7")?.len(), 0);
    Ok(())
}

#[test]
fn log_out_everywhere_else_holds_though_the_subject_is_cleared_after_it() -> TestResult {
    let sessions = manager()?;
    let tokens = stored(&sessions, 3)?;
    let mut session = sessions.load([&*tokens[0]])?;
    session.destroy_others()?;
    session.clear_subject()?;
    session.finish()?;
    assert_eq!(sessions.sessions_of("7")?.len(), 0);
    assert_eq!(sessions.load([&*tokens[0]])?.get("user")?, Some(7), "this one goes on");
    Ok(())
}

/// A log out in another process, by the old token, can't find the session any more.
#[test]
fn log_out_everywhere_ends_a_session_that_another_process_renews_at_the_same_moment() -> TestResult
{
    let store = Arc::new(MemoryStore::new()?);
    let sessions = SessionManager::with_subjects(Arc::clone(&store));
    let elsewhere = SessionManager::with_subjects(store);
    let old = stored(&sessions, 1)?.remove(0);
    let mut renewing = sessions.load([&*old])?;
    let mut leaving = elsewhere.load([&*old])?;
    renewing.renew()?;
    let new = token(&renewing.finish()?).expect("it is renewed");
    leaving.destroy();
    leaving.finish()?;
    assert_eq!(sessions.destroy_all("7")?, 1);
    assert!(sessions.load([&*new])?.is_empty());
    Ok(())
}

#[test]
fn merging_brings_nothing_back_of_a_session_that_is_destroyed_meanwhile() -> TestResult {
    let sessions = manager()?;
    let other = stored(&sessions, 1)?.remove(0);
    let mut session = sessions.load([])?;
    assert!(session.merge(&other)?);

    let mut leaving = sessions.load([&*other])?;
    leaving.destroy();
    leaving.finish()?;

    if let Some(token) = token(&session.finish()?) {
        assert_eq!(sessions.load([&*token])?.get::<u32>("user")?, None, "the log out is final");
    }
    Ok(())
}

#[test]
fn merging_of_two_requests_gives_the_values_to_one() -> TestResult {
    let sessions = manager()?;
    let other = stored(&sessions, 1)?.remove(0);
    let mut first = sessions.load([])?;
    let mut second = sessions.load([])?;
    assert!(first.merge(&other)? && second.merge(&other)?);
    let mut owners = 0;
    for session in [first, second] {
        if let Some(token) = token(&session.finish()?) {
            owners += usize::from(sessions.load([&*token])?.contains("user"));
        }
    }
    assert_eq!(owners, 1);
    Ok(())
}

#[test]
fn merged_session_ends_though_the_merging_one_is_destroyed() -> TestResult {
    let sessions = manager()?;
    let other = stored(&sessions, 1)?.remove(0);
    let mut session = sessions.load([])?;
    assert!(session.merge(&other)?);
    session.destroy();
    session.finish()?;
    assert!(sessions.load([&*other])?.is_empty());
    Ok(())
}

#[test]
fn session_whose_deadline_has_passed_is_not_merged() -> TestResult {
    let clock = Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse().expect("noon")));
    // The store's clock stands, so it still has the session.
    let store = store_core::MemoryOptions::new()
        .with_clock(Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse().expect("noon"))))
        .build()?;
    let sessions = SessionManager::with_subjects(store).with_clock(clock.clone());
    let other = stored(&sessions, 1)?.remove(0);
    clock.advance(TimeDelta::hours(25));
    let mut session = sessions.load([])?;
    assert!(!session.merge(&other)?);
    assert!(session.is_empty());
    Ok(())
}

#[test]
fn cookie_policies_that_browsers_would_drop_are_refused() -> TestResult {
    let new = CookiePolicy::new;
    let name = |name: &str| new().with_name(name);
    // RFC 6265bis: name and value of 4096 octets, attribute values of 1024. The value has 43.
    let fits = [
        name(&"n".repeat(4_096 - 43)),
        name("n").with_path(format!("/{}", "p".repeat(1_023))),
        name("__Http-n"),
        name("__Host-Http-n"),
        name("__Http-n").with_domain("example.org"),
    ];
    for policy in fits {
        manager()?.with_cookie(policy)?;
    }
    let too_much = [
        name(&"n".repeat(4_097 - 43)),
        name("n").with_path(format!("/{}", "p".repeat(1_024))),
        name("n").with_domain("d".repeat(1_025)),
        // The prefixes that demand HttpOnly, in any case.
        name("__Http-n").readable_by_scripts(),
        name("__http-n").readable_by_scripts(),
        name("__Host-Http-n").readable_by_scripts(),
        name("n").with_name("__Http-n").insecure_for_local_development().with_name("__Http-n"),
    ];
    for policy in too_much {
        let name = policy.name().len();
        let refused = manager()?.with_cookie(policy);
        assert!(matches!(refused, Err(Error::InvalidOption { .. })), "name of {name} characters");
    }
    Ok(())
}

#[test]
fn development_cookie_has_no_prefix_that_demands_secure() -> TestResult {
    for name in ["__Host-n", "__host-n", "__HOST-n", "__Secure-n", "__Http-n", "__Host-Http-n"] {
        let policy = CookiePolicy::new().with_name(name).insecure_for_local_development();
        let sessions = manager()?.with_cookie(policy)?;
        assert_eq!(sessions.cookie_name(), "n", "{name}");
    }
    Ok(())
}

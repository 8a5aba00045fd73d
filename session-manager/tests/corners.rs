//! Corners where two promises meet: sessions that end while another takes them over, and cookies that
//! browsers would drop without a word.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use session_manager::{CookiePolicy, Error, Header, SessionManager};
use store_core::{Clock, ManualClock, MemoryOptions, MemoryStore, Store};

type TestResult = Result<(), Error>;

fn manager() -> Result<SessionManager, Error> {
    Ok(SessionManager::new(MemoryStore::new()?))
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
    session.destroy()?;
    session.finish()?;
    assert_eq!(sessions.sessions_of("7")?.len(), 0);
    Ok(())
}

#[test]
fn log_out_everywhere_else_holds_though_another_request_renews_the_session_meanwhile() -> TestResult
{
    let sessions = manager()?;
    let tokens = stored(&sessions, 3)?;
    let mut slow = sessions.load([&*tokens[0]])?;
    slow.destroy_others()?;
    let mut renewing = sessions.load([&*tokens[0]])?;
    renewing.renew()?;
    let new = token(&renewing.finish()?).expect("it is renewed");
    slow.finish()?;
    assert_eq!(sessions.sessions_of("7")?.len(), 1, "the others have ended");
    assert_eq!(sessions.load([&*new])?.get("user")?, Some(7), "and this one goes on");
    Ok(())
}

#[test]
fn log_out_everywhere_else_holds_though_the_subject_is_cleared_after_it() -> TestResult {
    let sessions = manager()?;
    let tokens = stored(&sessions, 3)?;
    let mut session = sessions.load([&*tokens[0]])?;
    session.destroy_others()?;
    session.clear_subject()?;
    session.insert("seen", true)?;
    let new = token(&session.finish()?).expect("it changes with the rights");
    assert_eq!(sessions.sessions_of("7")?.len(), 0);
    let session = sessions.load([&*new])?;
    assert_eq!(session.get("seen")?, Some(true), "this one goes on");
    assert_eq!(session.get::<u32>("user")?, None, "without what belongs to the user");
    Ok(())
}

#[test]
fn log_out_ends_a_session_that_another_process_renews_at_the_same_moment() -> TestResult {
    let store = Arc::new(MemoryStore::new()?);
    let sessions = SessionManager::new(Arc::clone(&store));
    let elsewhere = SessionManager::new(store);
    for is_loaded_before in [true, false] {
        let old = stored(&sessions, 1)?.remove(0);
        let early = if is_loaded_before { Some(elsewhere.load([&*old])?) } else { None };
        let mut renewing = sessions.load([&*old])?;
        renewing.renew()?;
        let new = token(&renewing.finish()?).expect("it is renewed");
        let mut leaving = match early {
            Some(session) => session,
            None => elsewhere.load([&*old])?,
        };
        leaving.destroy()?;
        leaving.finish()?;
        assert_eq!(sessions.destroy_all_of("7")?, 0, "nobody is logged in");
        assert!(sessions.load([&*new])?.is_empty());
    }
    Ok(())
}

#[test]
fn merging_brings_nothing_back_of_a_session_that_is_destroyed_meanwhile() -> TestResult {
    let sessions = manager()?;
    for is_stored in [true, false] {
        let other = stored(&sessions, 1)?.remove(0);
        let own = if is_stored { stored(&sessions, 1)?.pop() } else { None };
        let mut session = sessions.load(own.as_deref())?;
        session.insert("seen", true)?;
        assert!(session.merge(&other)?);

        let mut leaving = sessions.load([&*other])?;
        leaving.destroy()?;
        leaving.finish()?;

        assert!(matches!(session.finish(), Err(Error::Superseded)), "nothing is written");
        assert!(sessions.load([&*other])?.is_empty());
        if let Some(own) = own {
            assert!(!sessions.load([&*own])?.contains("seen"));
        }
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
    let new = token(&first.finish()?).expect("it is new");
    assert!(matches!(second.finish(), Err(Error::Superseded)), "it hears that it has nothing");
    assert_eq!(sessions.load([&*new])?.get("user")?, Some(7));
    assert!(sessions.load([&*other])?.is_empty());
    Ok(())
}

#[test]
fn merging_each_other_gives_all_values_to_one() -> TestResult {
    let sessions = manager()?;
    let tokens = stored(&sessions, 2)?;
    let mut both = [sessions.load([&*tokens[0]])?, sessions.load([&*tokens[1]])?];
    for (n, session) in both.iter_mut().enumerate() {
        session.insert(&format!("from {n}"), n)?;
        assert!(session.merge(&tokens[1 - n])?);
    }
    let [first, second] = both;
    first.finish()?;
    assert!(matches!(second.finish(), Err(Error::Superseded) | Ok(_)));
    let session = sessions.load([&*tokens[0]])?;
    assert_eq!(session.get("from 0")?, Some(0));
    assert_eq!(session.get("user")?, Some(7));
    assert!(sessions.load([&*tokens[1]])?.is_empty());
    Ok(())
}

#[test]
fn what_other_requests_do_to_a_merged_session_is_taken_over() -> TestResult {
    let sessions = manager()?;
    let tokens = stored(&sessions, 2)?;
    let mut early = sessions.load([&*tokens[1]])?;
    early.insert("old", 1)?;
    early.finish()?;
    let mut session = sessions.load([&*tokens[0]])?;
    assert!(session.merge(&tokens[1])?);
    let mut other = sessions.load([&*tokens[1]])?;
    other.insert("cart", 3)?;
    other.remove("old");
    other.finish()?;
    session.finish()?;
    let session = sessions.load([&*tokens[0]])?;
    assert_eq!(session.get("cart")?, Some(3), "an insert that was answered isn't lost");
    assert!(!session.contains("old"), "nor does a removed value come back");
    assert!(sessions.load([&*tokens[1]])?.is_empty());
    Ok(())
}

#[test]
fn merged_session_ends_though_the_merging_one_is_destroyed() -> TestResult {
    let sessions = manager()?;
    let other = stored(&sessions, 1)?.remove(0);
    let mut session = sessions.load([])?;
    assert!(session.merge(&other)?);
    session.destroy()?;
    session.finish()?;
    assert!(sessions.load([&*other])?.is_empty());
    Ok(())
}

#[test]
fn session_whose_deadline_has_passed_is_not_merged() -> TestResult {
    let clock = Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse().expect("noon")));
    // The store's clock stands, so it still has the session.
    let store = MemoryOptions::new()
        .with_clock(Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse().expect("noon"))))
        .build()?;
    let sessions = SessionManager::new(store).with_clock(clock.clone());
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

/// Logs a user in who keeps a value of their own.
fn logged_in(sessions: &SessionManager, user: &str) -> Result<String, Error> {
    let mut session = sessions.load([])?;
    session.set_subject(user)?;
    session.insert("secret of", user)?;
    session.insert("language", user)?;
    Ok(token(&session.finish()?).expect("it is new"))
}

#[test]
fn merging_and_logging_out_everywhere_else_goes_together() -> TestResult {
    for is_logged_in in [false, true] {
        let sessions = manager()?;
        let tokens = stored(&sessions, 3)?;
        let mut session = sessions.load(is_logged_in.then_some(&*tokens[0]))?;
        assert!(session.merge(&tokens[1])?);
        session.set_subject("7")?;
        session.destroy_others()?;
        session.insert("seen", true)?;
        let own = token(&session.finish()?).unwrap_or_else(|| tokens[0].clone());
        assert_eq!(sessions.sessions_of("7")?.len(), 1, "logged in: {is_logged_in}");
        assert_eq!(sessions.load([&*own])?.get("seen")?, Some(true));
    }
    Ok(())
}

#[test]
fn values_of_a_user_never_become_anothers_by_merging() -> TestResult {
    let secret = |sessions: &SessionManager, token: &str| -> Result<_, Error> {
        sessions.load([token])?.get::<String>("secret of")
    };
    for (user, seen) in [("alice", Some("alice".to_owned())), ("bob", None)] {
        let sessions = manager()?.with_kept_values(["language"]);
        // Back from another site, without the cookie.
        let mut session = sessions.load([])?;
        assert!(session.merge(&logged_in(&sessions, "alice")?)?);
        assert_eq!(session.subject(), None, "a token of somebody's logs nobody in");
        session.set_subject(user)?;
        let merged = token(&session.finish()?).expect("it is new");
        assert_eq!(secret(&sessions, &merged)?, seen, "in one request");

        let mut session = sessions.load([])?;
        assert!(session.merge(&logged_in(&sessions, "alice")?)?);
        let between = token(&session.finish()?).expect("it is new");
        let mut session = sessions.load([&*between])?;
        session.set_subject(user)?;
        let merged = token(&session.finish()?).expect("rights change");
        assert_eq!(secret(&sessions, &merged)?, seen, "in two requests");
        assert_eq!(sessions.load([&*merged])?.get("language")?, Some("alice".to_owned()));
    }

    let sessions = manager()?.with_kept_values(["language"]);
    let bob = logged_in(&sessions, "bob")?;
    let mut session = sessions.load([&*bob])?;
    assert!(session.merge(&logged_in(&sessions, "alice")?)?);
    session.finish()?;
    assert_eq!(secret(&sessions, &bob)?, Some("bob".to_owned()), "nor over values of one's own");
    assert_eq!(sessions.load([&*bob])?.get("language")?, Some("alice".to_owned()));
    Ok(())
}

#[test]
fn what_needs_the_session_is_refused_with_a_token_that_was_just_renewed() -> TestResult {
    let sessions = manager()?;
    let old = logged_in(&sessions, "alice")?;
    let mut renewing = sessions.load([&*old])?;
    renewing.renew()?;
    let new = token(&renewing.finish()?).expect("it is renewed");
    let mut late = sessions.load([&*old])?;
    assert!(matches!(late.clear_subject(), Err(Error::Superseded)));
    assert!(matches!(late.destroy_others(), Err(Error::Superseded)));
    assert_eq!(late.finish()?, [("Vary", "Cookie".to_owned())]);
    assert_eq!(sessions.load([&*new])?.subject().as_deref(), Some("alice"));
    Ok(())
}

#[test]
fn token_that_is_told_is_the_one_that_the_browser_gets() -> TestResult {
    let clock = Arc::new(ManualClock::new(Utc::now()));
    let options = MemoryOptions::new().with_clock(clock.clone());
    let sessions = SessionManager::new(options.build()?)
        .with_clock(clock.clone())
        .with_rotation(Duration::from_secs(900))?;
    let old = logged_in(&sessions, "alice")?;
    clock.advance(TimeDelta::minutes(16));
    let mut session = sessions.load([&*old])?;
    let told = session.token().map(str::to_owned);
    assert_ne!(told.as_deref(), Some(&*old), "a new one is due");
    session.renew()?;
    assert_eq!(session.token(), told.as_deref(), "told once, it stays");
    let key = session.key().cloned();
    assert_eq!(token(&session.finish()?), told);
    assert_eq!(sessions.load(told.as_deref())?.key(), key.as_ref());

    clock.advance(TimeDelta::minutes(16));
    let session = sessions.load(told.as_deref())?;
    let told_again = session.token().map(str::to_owned);
    assert_ne!(told_again, told);
    assert_eq!(token(&session.finish()?), told_again);
    Ok(())
}

#[test]
fn deadline_that_another_request_has_moved_holds_though_the_expiry_is_moved_after_it() -> TestResult
{
    let clock = Arc::new(ManualClock::new(Utc::now()));
    let options = MemoryOptions::new().with_clock(clock.clone());
    let sessions = SessionManager::new(options.build()?)
        .with_clock(clock.clone())
        .with_idle_timeout(Duration::from_secs(3600))?;
    let cookie = logged_in(&sessions, "alice")?;
    clock.advance(TimeDelta::minutes(30));
    let reading = sessions.load([&*cookie])?;
    let mut ending = sessions.load([&*cookie])?;
    ending.set_deadline(clock.now() + TimeDelta::minutes(10));
    ending.finish()?;
    reading.finish()?;
    clock.advance(TimeDelta::minutes(11));
    assert_eq!(sessions.sessions_of("alice")?.len(), 0);
    assert!(sessions.load([&*cookie])?.is_empty());
    Ok(())
}

#[test]
fn clocks_of_two_processes_need_not_agree_to_the_second() -> TestResult {
    let clock = Arc::new(ManualClock::new(Utc::now()));
    let ahead = Arc::new(ManualClock::new(clock.now() + TimeDelta::seconds(2)));
    let store = Arc::new(MemoryOptions::new().with_clock(clock.clone()).build()?);
    let every = Duration::from_secs(900);
    let sessions =
        SessionManager::new(Arc::clone(&store)).with_clock(clock).with_rotation(every)?;
    let elsewhere = SessionManager::new(store).with_clock(ahead.clone()).with_rotation(every)?;
    let cookie = logged_in(&elsewhere, "alice")?;
    assert_eq!(token(&sessions.load([&*cookie])?.finish()?), None, "it has just got its token");
    ahead.advance(TimeDelta::hours(1));
    let cookie = logged_in(&elsewhere, "alice")?;
    assert!(token(&sessions.load([&*cookie])?.finish()?).is_some(), "nobody knows how old it is");
    Ok(())
}

#[test]
fn managers_without_hashes_of_their_own_leave_each_others_sessions_alone() -> TestResult {
    let plain = SessionManager::with_plain_tokens_in_store;
    for mode in [plain, SessionManager::with_scs_hashed_tokens_in_store] {
        let store = Arc::new(MemoryStore::new()?);
        let manager = |name| {
            let sessions = mode(SessionManager::new(Arc::clone(&store)));
            sessions.with_cookie(CookiePolicy::new().with_name(name))
        };
        let (shop, office) = (manager("shop")?, manager("office")?);
        let (customer, clerk) = (logged_in(&shop, "7")?, logged_in(&office, "7")?);
        let mut session = office.load([&*clerk, &*customer])?;
        session.destroy()?;
        session.finish()?;
        assert_eq!(shop.load([&*customer])?.subject().as_deref(), Some("7"), "a later cookie");
        assert_eq!(office.load([&*clerk])?.subject(), None);

        // A Go program empties the session, and Rust logs the customer in again.
        let (key, _) = store.all()?.into_iter().next().expect("the customer's");
        let cleared = br#"{"v":1,"deadline":"2090-01-01T00:00:00Z","values":{}}"#;
        store.commit(&key, cleared, Utc::now() + TimeDelta::hours(1))?;
        let mut session = shop.load([&*customer])?;
        session.set_subject("7")?;
        let new = token(&session.finish()?).expect("rights change");
        assert_eq!(shop.load([&*new])?.subject().as_deref(), Some("7"));
        assert_eq!(office.load([&*new])?.subject(), None, "it has got its token from the shop");
    }
    Ok(())
}

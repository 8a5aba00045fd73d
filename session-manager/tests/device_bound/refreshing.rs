//! A new device cookie.

use chrono::TimeDelta;
use serde_json::json;
use session_manager::testing::SetCookies as _;
use session_manager::{DeviceBinding, Error, EventKind};
use store_core::Clock as _;

use crate::TestResult;
use crate::browser::{Browser, ends};
use crate::fixture::{COOKIE_END, COOKIE_LIFETIME, Fixture};

#[test]
fn first_refresh_gets_a_challenge_and_the_next_needs_no_other() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    assert_eq!(browser.challenge, None);
    let asked = browser.post(Some(&browser.id), None);
    assert_eq!(asked.status, 403);
    browser.receive_instructions(&asked);
    for _ in 0..3 {
        fixture.clock.advance(COOKIE_LIFETIME);
        let challenge = browser.challenge.clone().expect("it has one");
        let response = browser.post(Some(&browser.id), Some(&browser.proof(&challenge)));
        assert_eq!(response.status, 200);
        browser.receive_instructions(&response);
        let proved = fixture.clock.now();
        assert_eq!(browser.session()?.device_binding(), DeviceBinding::Bound { proved });
    }
    Ok(())
}

/// The browser may have a binding that the session had before.
#[test]
fn refresh_of_another_binding_ends_that_and_leaves_this_one() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.refreshed();
    let challenge = browser.challenge.clone().expect("it has one");
    let proof = browser.proof(&challenge);
    let response = browser.post(Some("another"), Some(&proof));
    assert!(ends(&response), "{response:?}");
    assert!(response.headers.set_cookies().is_empty());
    assert_eq!(browser.post(Some(&browser.id), Some(&proof)).status, 200, "it is unused");
    Ok(())
}

#[test]
fn each_refresh_brings_another_cookie_and_the_one_before_is_good_until_its_end() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    let is_bound = |browser: &Browser<'_>| -> Result<bool, Error> {
        Ok(matches!(browser.session()?.device_binding(), DeviceBinding::Bound { .. }))
    };
    fixture.clock.advance(TimeDelta::minutes(8));
    let first = browser.clone();
    browser.refreshed();
    let second = browser.clone();
    assert_ne!(first.device_cookie, second.device_cookie);
    assert!(is_bound(&first)? && is_bound(&second)?);

    fixture.clock.advance(TimeDelta::minutes(3));
    assert!(is_bound(&first)?, "a request that was under way");
    fixture.clock.advance(TimeDelta::seconds(1));
    assert!(!is_bound(&first)? && is_bound(&second)?);

    browser.refreshed();
    browser.refreshed();
    assert!(!is_bound(&second)?, "it is no more the one before");
    assert!(is_bound(&browser)?);
    fixture.clock.advance(COOKIE_END + TimeDelta::seconds(1));
    assert!(!is_bound(&browser)?, "its end is the server's business, too");
    Ok(())
}

#[test]
fn challenge_is_used_once() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.refreshed();
    let used = browser.proof(&browser.challenge.clone().expect("it has one"));
    let response = browser.post(Some(&browser.id), Some(&used));
    assert_eq!(response.status, 200);
    browser.receive_instructions(&response);
    fixture.events();
    for _ in 0..3 {
        assert_eq!(browser.thief().post(Some(&browser.id), Some(&used)).status, 403);
    }
    assert_eq!(fixture.events(), [], "an old challenge is nothing to be alarmed about");
    browser.refreshed();
    Ok(())
}

#[test]
fn challenge_outlives_the_cookie_and_its_predecessor_is_taken() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.refreshed();
    let first = browser.challenge.clone().expect("it has one");
    fixture.clock.advance(COOKIE_LIFETIME + TimeDelta::seconds(1));
    // Another request asks, and gets the next, while the browser signs the first.
    let asked = browser.clone().post(Some(&browser.id), None);
    let mut other = browser.clone();
    other.receive_instructions(&asked);
    assert_ne!(other.challenge.as_ref(), Some(&first));
    assert_eq!(browser.post(Some(&browser.id), Some(&browser.proof(&first))).status, 200);
    // The one of the other request is still unused.
    assert_eq!(
        other
            .post(Some(&other.id), Some(&other.proof(&other.challenge.clone().unwrap_or_default())))
            .status,
        200
    );
    Ok(())
}

#[test]
fn challenge_that_was_signed_long_ago_is_refused() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.refreshed();
    let stored_up = browser.proof(&browser.challenge.clone().expect("it has one"));
    fixture.clock.advance(COOKIE_LIFETIME * 2 + TimeDelta::seconds(1));
    assert_eq!(browser.post(Some(&browser.id), Some(&stored_up)).status, 403);
    browser.refreshed();
    Ok(())
}

#[test]
fn who_asks_again_and_again_takes_no_challenge_away_and_writes_nothing() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.refreshed();
    let thief = browser.thief();
    fixture.store.calls().take();
    for _ in 0..10 {
        assert_eq!(thief.post(Some(&browser.id), None).status, 403);
    }
    assert_eq!(fixture.store.calls().take(), (10, 0, 0));
    let challenge = browser.challenge.clone().expect("it has one");
    assert_eq!(browser.post(Some(&browser.id), Some(&browser.proof(&challenge))).status, 200);
    Ok(())
}

#[test]
fn forged_proofs_are_refused_and_reported() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.refreshed();
    let challenge = browser.challenge.clone().expect("it has one");
    let thief = browser.thief();
    let with_key = |browser: &Browser<'_>| {
        let header = json!({ "alg": "ES256", "typ": "dbsc+jwt", "jwk": browser.jwk() });
        browser.signed(&header, &challenge)
    };
    let unsigned = thief.signed(&json!({ "alg": "none", "typ": "dbsc+jwt" }), &challenge);
    let unsigned = format!("{}.", unsigned.rsplit_once('.').expect("it has parts").0);
    fixture.events();
    for proof in [
        thief.proof(&challenge),
        // A key in the header is refused at a refresh, whoever it is.
        with_key(&thief),
        with_key(&browser),
        unsigned,
        "nonsense".to_owned(),
    ] {
        assert_eq!(thief.post(Some(&browser.id), Some(&proof)).status, 403);
        assert_eq!(fixture.events(), [EventKind::DeviceUnproven], "{proof}");
    }
    assert_eq!(browser.post(Some(&browser.id), Some(&browser.proof(&challenge))).status, 200);
    Ok(())
}

#[test]
fn answer_that_is_lost_costs_nothing() -> TestResult {
    let fixture = Fixture::requiring_proof();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.refreshed();
    fixture.clock.advance(TimeDelta::minutes(8));
    for _ in 0..3 {
        // The server has made the change, and the browser has heard nothing of it.
        browser.clone().refreshed();
        assert_eq!(browser.session()?.subject().as_deref(), Some("7"));
    }
    fixture.clock.advance(TimeDelta::minutes(3));
    assert_eq!(browser.session()?.subject().as_deref(), Some("7"));
    browser.device_cookie.clear();
    browser.refreshed();
    assert_eq!(browser.session()?.subject().as_deref(), Some("7"));
    Ok(())
}

#[test]
fn refresh_is_no_use_of_the_session_and_sets_its_cookie_never() -> TestResult {
    let fixture = Fixture::new()
        .with(|sessions| sessions.with_idle_timeout(std::time::Duration::from_secs(30 * 60)));
    let mut browser = Browser::bound(&fixture.sessions)?;
    for _ in 0..3 {
        fixture.clock.advance(TimeDelta::minutes(9));
        let response = browser.refresh();
        assert!(response.set_cookies()[0].starts_with("__Host-session-device="));
        assert_eq!(response.set_cookies().len(), 1);
    }
    fixture.clock.advance(TimeDelta::minutes(4));
    assert!(browser.session()?.is_empty(), "nobody has used it for half an hour");
    Ok(())
}

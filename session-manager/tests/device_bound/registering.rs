//! The registration of a device.

use chrono::TimeDelta;
use serde_json::{Value, json};
use session_manager::testing::SetCookies as _;
use session_manager::{DeviceBinding, Error, EventKind, SessionManager};
use store_core::{Clock as _, MemoryStore};

use crate::TestResult;
use crate::browser::Browser;
use crate::fixture::{COOKIE_LIFETIME, Fixture};

#[test]
fn browser_without_it_goes_on_as_before() -> TestResult {
    for fixture in [Fixture::new(), Fixture::requiring_proof()] {
        let browser = Browser::logged_in(&fixture.sessions)?;
        assert!(browser.offered.is_some());
        for _ in 0..5 {
            fixture.clock.advance(TimeDelta::hours(1));
            let session = browser.session()?;
            assert_eq!(session.device_binding(), DeviceBinding::Unbound);
            session.check_device_binding()?;
            assert_eq!(session.subject().as_deref(), Some("7"));
            assert!(session.finish()?.headers.iter().all(|(name, _)| *name == "Vary"));
        }
    }
    Ok(())
}

#[test]
fn registration_binds_the_session() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::logged_in(&fixture.sessions)?;
    fixture.events();
    let response = browser.register();
    assert_eq!(response.status, 200);
    assert_eq!(fixture.events(), [EventKind::DeviceBound]);
    let proved = fixture.clock.now();
    assert_eq!(browser.session()?.device_binding(), DeviceBinding::Bound { proved });
    assert_eq!(browser.session()?.get("name")?, Some("Ada".to_owned()));

    // The attributes in the instructions are those of the cookie, or the browser would refresh it
    // at every request.
    let instructions: Value = serde_json::from_str(&response.body).expect("it is JSON");
    let attributes = "HttpOnly; SameSite=Lax; Secure; Path=/";
    let expected = json!({
        "session_identifier": browser.id,
        "refresh_url": "/device-session",
        "scope": { "include_site": false },
        "credentials": [{
            "type": "cookie",
            "name": "__Host-session-device",
            "attributes": attributes,
        }],
    });
    assert_eq!(instructions, expected);
    let value = &browser.device_cookie;
    let set_cookie = format!("__Host-session-device={value}; {attributes}; Max-Age=600");
    assert_eq!(response.set_cookies(), [set_cookie]);
    Ok(())
}

#[test]
fn other_algorithms_register_nothing_and_leave_the_challenge() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::logged_in(&fixture.sessions)?;
    let challenge = browser.offered.clone().expect("it was asked to register");
    for algorithm in ["none", "HS256", "RS256"] {
        let header = json!({ "alg": algorithm, "typ": "dbsc+jwt", "jwk": browser.jwk() });
        let proof = browser.signed(&header, &challenge);
        assert_eq!(browser.post(None, Some(&proof)).status, 403, "{algorithm}");
    }
    assert_eq!(browser.session()?.device_binding(), DeviceBinding::Unbound);
    assert_eq!(browser.register().status, 200);
    Ok(())
}

#[test]
fn registration_without_a_good_proof_of_its_own_key_is_refused() -> TestResult {
    let fixture = Fixture::new();
    let browser = Browser::logged_in(&fixture.sessions)?;
    let challenge = browser.offered.clone().expect("it was asked to register");
    let foreign_key = json!({ "alg": "ES256", "typ": "dbsc+jwt", "jwk": browser.thief().jwk() });
    for proof in [
        None,
        Some(String::new()),
        Some(browser.proof(&challenge)),
        Some(browser.signed(&foreign_key, &challenge)),
        Some(browser.registration().replace('.', "..")),
    ] {
        assert_eq!(browser.post(None, proof.as_deref()).status, 403, "{proof:?}");
    }
    assert_eq!(browser.session()?.device_binding(), DeviceBinding::Unbound);
    Ok(())
}

#[test]
fn challenge_of_a_registration_is_used_once() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::logged_in(&fixture.sessions)?;
    let thief = browser.thief();
    assert_eq!(browser.register().status, 200);
    for other in [&thief, &browser] {
        assert_eq!(other.post(None, Some(&other.registration())).status, 403);
    }
    // The device goes on.
    browser.refreshed();
    Ok(())
}

/// Whoever has the session cookie can ask for the challenge of a refresh.
#[test]
fn challenge_of_a_refresh_registers_no_other_key() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    let mut thief = browser.thief();
    let asked = thief.post(Some(&browser.id), None);
    thief.receive_instructions(&asked);
    thief.offered.clone_from(&thief.challenge);
    assert_eq!(thief.post(None, Some(&thief.registration())).status, 403);
    browser.refreshed();
    Ok(())
}

#[test]
fn challenge_of_a_registration_is_bound_to_its_session_and_ends() -> TestResult {
    let fixture = Fixture::new();
    let (one, other) =
        (Browser::logged_in(&fixture.sessions)?, Browser::logged_in(&fixture.sessions)?);
    assert_eq!(one.post(None, Some(&other.registration())).status, 403);
    assert_eq!(Browser::new(&fixture.sessions).post(None, Some(&one.registration())).status, 403);
    fixture.clock.advance(COOKIE_LIFETIME * 2 + TimeDelta::seconds(1));
    assert_eq!(one.post(None, Some(&one.registration())).status, 403);
    Ok(())
}

#[test]
fn manager_without_a_policy_says_so() -> TestResult {
    let sessions = SessionManager::new(MemoryStore::new()?);
    let mut session = sessions.load([])?;
    assert!(matches!(session.bind_to_device(), Err(Error::InvalidOption { .. })));
    assert_eq!(Browser::new(&sessions).post(Some("id"), None).status, 503);
    Ok(())
}

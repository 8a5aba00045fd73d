//! What ends a binding, and what doesn't.

use session_manager::{DeviceBinding, Session};

use crate::TestResult;
use crate::browser::{Browser, ends};
use crate::counting_store::Failing;
use crate::fixture::Fixture;

#[test]
fn logout_ends_it() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.refreshed();
    let before = browser.clone();
    browser.visit(Session::destroy)?;
    assert_eq!(browser.session_cookie, "");
    for mut browser in [browser, before] {
        assert!(ends(&browser.refresh()));
        browser.challenge = None;
        assert!(ends(&browser.refresh()), "also without a proof");
    }
    Ok(())
}

#[test]
fn another_user_another_binding() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.visit(|session| session.set_subject("8"))?;
    assert_eq!(browser.session()?.device_binding(), DeviceBinding::Unbound);
    assert!(ends(&browser.refresh()));

    browser.visit(|session| {
        session.renew()?;
        session.bind_to_device()
    })?;
    let old = browser.id.clone();
    assert_eq!(browser.register().status, 200);
    // The browser still has the old one, too.
    assert!(ends(&browser.post(Some(&old), None)));
    browser.refreshed();
    Ok(())
}

#[test]
fn renewal_keeps_it_and_a_refresh_under_way_succeeds() -> TestResult {
    let fixture = Fixture::requiring_proof();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.refreshed();
    let mut under_way = browser.clone();
    browser.visit(Session::renew)?;
    assert_ne!(browser.session_cookie, under_way.session_cookie);
    assert!(matches!(browser.session()?.device_binding(), DeviceBinding::Bound { .. }));
    // It came with the old token, and its answer has nothing of the new one.
    under_way.refreshed();
    assert!(under_way.session()?.is_empty());
    browser.device_cookie = under_way.device_cookie;
    assert_eq!(browser.session()?.subject().as_deref(), Some("7"));
    browser.refreshed();
    Ok(())
}

#[test]
fn store_that_is_down_ends_nothing() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::logged_in(&fixture.sessions)?;
    for failing in [Failing::Find, Failing::Update] {
        fixture.store.fail(failing);
        assert_eq!(browser.post(None, Some(&browser.registration())).status, 503);
    }
    fixture.store.fail(Failing::Nothing);
    assert_eq!(browser.register().status, 200);
    for failing in [Failing::Find, Failing::Update] {
        fixture.store.fail(failing);
        assert_eq!(browser.post(Some(&browser.id), None).status, 503);
        fixture.store.fail(Failing::Nothing);
    }
    browser.refreshed();
    let challenge = browser.challenge.clone().expect("it has one");
    for failing in [Failing::Find, Failing::Update, Failing::UpdateNeverMatches] {
        fixture.store.fail(failing);
        let proof = browser.proof(&challenge);
        assert_eq!(browser.post(Some(&browser.id), Some(&proof)).status, 503, "{failing:?}");
    }
    // Done, and the answer lost: the browser tries again.
    fixture.store.fail_once(Failing::UpdateUnheard);
    assert_eq!(browser.post(Some(&browser.id), Some(&browser.proof(&challenge))).status, 503);
    browser.refreshed();
    Ok(())
}

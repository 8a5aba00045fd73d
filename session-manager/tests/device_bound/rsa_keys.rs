//! Devices that have RSA keys alone.

use chrono::TimeDelta;
use session_manager::{BindingPolicy, DeviceBinding};

use crate::TestResult;
use crate::browser::Browser;
use crate::fixture::{COOKIE_END, Fixture, PATH};

#[test]
fn device_with_an_rsa_key_is_bound_where_that_is_accepted() -> TestResult {
    let fixture = Fixture::with_policy(BindingPolicy::new(PATH).with_rsa_keys().requiring_proof());
    let mut browser = Browser::logged_in(&fixture.sessions)?.with_rsa_key();
    assert_eq!(browser.algorithms, "(ES256 RS256)");
    assert_eq!(browser.register().status, 200);
    assert!(matches!(browser.session()?.device_binding(), DeviceBinding::Bound { .. }));
    for _ in 0..3 {
        fixture.clock.advance(COOKIE_END + TimeDelta::seconds(1));
        assert!(matches!(browser.session()?.device_binding(), DeviceBinding::Unproven { .. }));
        browser.refreshed();
        assert_eq!(browser.session()?.get("name")?, Some("Ada".to_owned()));
    }
    let mut thief = browser.thief();
    assert_eq!(thief.post(Some(&browser.id), Some(&thief.proof("any"))).status, 403);
    fixture.clock.advance(COOKIE_END + TimeDelta::seconds(1));
    assert_eq!(thief.session()?.get::<String>("name")?, None);
    // The other kind is accepted, too.
    thief = Browser::bound(&fixture.sessions)?;
    thief.refreshed();
    Ok(())
}

#[test]
fn device_with_an_rsa_key_is_refused_elsewhere() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::logged_in(&fixture.sessions)?.with_rsa_key();
    assert_eq!(browser.algorithms, "(ES256)");
    assert_eq!(browser.register().status, 403);
    assert_eq!(browser.session()?.device_binding(), DeviceBinding::Unbound);
    Ok(())
}

/// One is restarted without the option, or without the feature.
#[test]
fn session_with_an_rsa_key_is_unproven_where_that_is_not_accepted() -> TestResult {
    let fixture = Fixture::with_policy(BindingPolicy::new(PATH).with_rsa_keys());
    let mut browser = Browser::logged_in(&fixture.sessions)?.with_rsa_key();
    assert_eq!(browser.register().status, 200);
    let elsewhere = fixture.other_process()?;
    let there = browser.at(&elsewhere);
    assert!(matches!(there.session()?.device_binding(), DeviceBinding::Bound { .. }));
    fixture.clock.advance(COOKIE_END + TimeDelta::seconds(1));
    let refused = there.post(Some(&there.id), Some(&there.proof("any")));
    assert_eq!(refused.status, 403);
    assert!(matches!(there.session()?.device_binding(), DeviceBinding::Unproven { .. }));
    browser.refreshed();
    Ok(())
}

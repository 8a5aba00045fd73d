//! Requests that come from the device, and others.

use std::time::Duration;

use chrono::TimeDelta;
use session_manager::{DeviceBinding, Error, EventKind, Session, Status};
use store_core::Clock as _;

use crate::TestResult;
use crate::browser::{Browser, ends};
use crate::fixture::{COOKIE_END, Fixture};

#[test]
fn copied_session_cookie_is_without_proof() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    let proved = fixture.clock.now();
    let mut thief = browser.thief();
    thief.device_cookie.clear();
    // Requests that were under way at the registration have no device cookie.
    fixture.clock.advance(TimeDelta::seconds(30));
    assert_eq!(thief.session()?.device_binding(), DeviceBinding::Bound { proved });
    fixture.clock.advance(TimeDelta::seconds(1));
    assert_eq!(thief.session()?.device_binding(), DeviceBinding::Unproven { proved });
    fixture.events();
    let checked = thief.session()?.check_device_binding();
    assert!(matches!(checked, Err(Error::DeviceUnproven)));
    assert_eq!(fixture.events(), [EventKind::DeviceUnproven]);
    // Otherwise the session can be used, because the application hasn't asked for more.
    assert_eq!(thief.session()?.subject().as_deref(), Some("7"));

    browser.session()?.check_device_binding()?;
    for foreign in ["", "nonsense", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        foreign.clone_into(&mut thief.device_cookie);
        assert!(thief.session()?.check_device_binding().is_err(), "{foreign:?}");
    }
    // All its cookies are good until the device cookie's end.
    thief.device_cookie.clone_from(&browser.device_cookie);
    thief.session()?.check_device_binding()?;
    fixture.clock.advance(COOKIE_END);
    assert!(thief.session()?.check_device_binding().is_err());
    browser.refreshed();
    browser.session()?.check_device_binding()?;
    assert!(thief.session()?.check_device_binding().is_err());
    Ok(())
}

#[test]
fn first_refresh_ends_the_grace_of_the_registration() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    let mut under_way = browser.clone();
    under_way.device_cookie.clear();
    under_way.session()?.check_device_binding()?;
    browser.refreshed();
    assert!(under_way.session()?.check_device_binding().is_err());
    Ok(())
}

#[test]
fn device_cookie_of_another_session_proves_nothing() -> TestResult {
    let fixture = Fixture::new();
    let (mut one, other) = (Browser::bound(&fixture.sessions)?, Browser::bound(&fixture.sessions)?);
    fixture.clock.advance(TimeDelta::minutes(1));
    one.device_cookie = other.device_cookie;
    assert!(one.session()?.check_device_binding().is_err());
    Ok(())
}

#[test]
fn where_proof_is_required_a_session_without_it_reads_as_none_and_is_not_lost() -> TestResult {
    let fixture = Fixture::requiring_proof();
    let mut browser = Browser::bound(&fixture.sessions)?;
    let proved = fixture.clock.now();
    fixture.clock.advance(COOKIE_END + TimeDelta::seconds(1));
    fixture.events();
    let mut visit = browser.clone();
    visit.visit(|session| {
        assert!(session.is_empty());
        assert_eq!(session.subject(), None);
        assert_eq!(session.status(), Status::Unmodified);
        assert_eq!(session.device_binding(), DeviceBinding::Unproven { proved });
        assert!(matches!(session.check_device_binding(), Err(Error::DeviceUnproven)));
        assert!(matches!(session.bind_to_device(), Err(Error::DeviceUnproven)));
        Ok(())
    })?;
    assert_eq!(visit.session_cookie, browser.session_cookie, "the cookie is left alone");
    assert_eq!(fixture.events(), [EventKind::DeviceUnproven]);
    let written = visit.visit(|session| session.insert("visits", 1));
    assert!(matches!(written, Err(Error::DeviceUnproven)));
    assert!(matches!(visit.session()?.mark_authenticated(), Err(Error::DeviceUnproven)));

    browser.refreshed();
    assert_eq!(browser.session()?.get("name")?, Some("Ada".to_owned()));
    assert_eq!(browser.session()?.get::<u32>("visits")?, None);
    Ok(())
}

#[test]
fn where_proof_is_required_one_can_log_in_and_out_without_it() -> TestResult {
    let fixture = Fixture::requiring_proof();
    let browser = Browser::bound(&fixture.sessions)?;
    fixture.clock.advance(COOKIE_END + TimeDelta::seconds(1));

    let mut again = browser.clone();
    again.visit(|session| {
        session.set_subject("7")?;
        session.bind_to_device()
    })?;
    assert_ne!(again.session_cookie, browser.session_cookie);
    assert_eq!(again.session()?.subject().as_deref(), Some("7"));
    assert_eq!(again.session()?.device_binding(), DeviceBinding::Unbound);
    assert_eq!(again.register().status, 200);
    assert!(matches!(again.session()?.device_binding(), DeviceBinding::Bound { .. }));
    assert_eq!(again.session()?.get::<String>("name")?, None, "nothing passes over");

    let mut out = browser.clone();
    out.visit(Session::destroy)?;
    assert_eq!(out.session_cookie, "");
    // It is final for the device as well.
    let mut browser = browser;
    assert!(ends(&browser.refresh()));
    assert!(browser.session()?.is_empty());
    Ok(())
}

/// A browser that can't refresh, because its quota is used up or the server wasn't there, says so
/// by `Secure-Session-Skipped`. Anybody can say that.
#[test]
fn browser_that_skipped_a_refresh_is_without_proof_until_the_next() -> TestResult {
    let fixture = Fixture::requiring_proof();
    let mut browser = Browser::bound(&fixture.sessions)?;
    fixture.clock.advance(TimeDelta::hours(3));
    browser.device_cookie.clear();
    let cookies = browser.cookies();
    let request = http::Request::get("/")
        .header("Cookie", cookies)
        .header("Secure-Session-Skipped", "quota_exceeded;session_identifier=\"id\"");
    let mut request = request.body(()).expect("it is one");
    let response: http::Response<String> = fixture.sessions.http(&mut request, |_, session| {
        session.check_device_binding()?;
        Ok(http::Response::new(String::new()))
    });
    assert_eq!(response.status(), 403);
    browser.refreshed();
    assert_eq!(browser.session()?.subject().as_deref(), Some("7"));
    Ok(())
}

#[test]
fn request_without_proof_rotates_no_token() -> TestResult {
    let fixture =
        Fixture::new().with(|sessions| sessions.with_rotation(Duration::from_secs(15 * 60)));
    let mut browser = Browser::bound(&fixture.sessions)?;
    fixture.clock.advance(TimeDelta::minutes(16));
    let mut thief = browser.thief();
    thief.visit(|session| session.insert("seen", true))?;
    assert_eq!(thief.session_cookie, browser.session_cookie);
    browser.refreshed();
    browser.visit(|_| Ok(()))?;
    assert_ne!(thief.session_cookie, browser.session_cookie, "it was due");
    assert_eq!(browser.session()?.get("seen")?, Some(true));
    Ok(())
}

#[test]
fn bound_session_can_be_merged_only_with_its_proof() -> TestResult {
    let fixture = Fixture::requiring_proof();
    let browser = Browser::bound(&fixture.sessions)?;
    fixture.clock.advance(TimeDelta::minutes(1));
    let mut other = Browser::new(&fixture.sessions).session()?;
    assert!(!other.merge(&browser.session_cookie)?);
    assert!(other.is_empty());

    let mut device = browser.clone();
    device.session_cookie.clear();
    let mut other = device.session()?;
    assert!(other.merge(&browser.session_cookie)?);
    assert!(other.contains("name"));
    Ok(())
}

#[test]
fn values_that_are_cleared_leave_the_binding() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.visit(|session| {
        session.clear();
        assert!(matches!(session.insert("__binding", 1), Err(Error::ReservedKey { .. })));
        Ok(())
    })?;
    assert!(matches!(browser.session()?.device_binding(), DeviceBinding::Bound { .. }));
    assert_eq!(browser.session()?.keys().count(), 0);
    Ok(())
}

//! What a login does to a binding.

use chrono::TimeDelta;
use session_manager::{BindingPolicy, CookiePolicy, DeviceBinding, Error, Session, SessionManager};
use store_core::MemoryStore;

use crate::TestResult;
use crate::browser::Browser;
use crate::fixture::{COOKIE_END, Fixture};

#[test]
fn bound_session_is_not_bound_again() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.offered = None;
    let again = |browser: &mut Browser<'_>| {
        browser.visit(|session| {
            session.mark_authenticated()?;
            session.bind_to_device()
        })
    };
    again(&mut browser)?;
    assert_eq!(browser.offered, None, "the device has just proved that it is there");

    fixture.clock.advance(COOKIE_END + TimeDelta::seconds(1));
    let mut thief = browser.thief();
    thief.visit(Session::bind_to_device)?;
    assert_eq!(thief.offered, None, "nobody has logged in");
    let proved = browser.session()?.device_binding();
    assert!(matches!(proved, DeviceBinding::Unproven { .. }));

    // The password was right, and the browser has lost its key.
    again(&mut browser)?;
    assert!(browser.offered.is_some());
    assert_eq!(browser.session()?.device_binding(), DeviceBinding::Unbound);
    assert_eq!(browser.register().status, 200);
    browser.session()?.check_device_binding()
}

#[test]
fn second_offer_takes_the_place_of_the_first() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::logged_in(&fixture.sessions)?;
    let first = browser.clone();
    browser.visit(Session::bind_to_device)?;
    assert_ne!(browser.offered, first.offered);
    assert_eq!(first.post(None, Some(&first.registration())).status, 403);
    assert_eq!(browser.register().status, 200);
    Ok(())
}

#[test]
fn offer_is_no_secret_of_a_cache() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::logged_in(&fixture.sessions)?;
    let finished = browser.visit(Session::bind_to_device)?;
    let count = |name| finished.headers.iter().filter(|(own, _)| *own == name).count();
    assert_eq!((count("Set-Cookie"), count("Secure-Session-Registration")), (0, 1));
    assert_eq!((count("Cache-Control"), count("Vary")), (1, 1));
    // A session that isn't stored is offered nothing.
    let mut session = fixture.sessions.load([])?;
    session.set_subject("7")?;
    session.bind_to_device()?;
    session.set_deadline(chrono::DateTime::UNIX_EPOCH);
    let headers = session.finish()?.headers;
    assert!(headers.iter().all(|(name, _)| *name != "Secure-Session-Registration"));
    Ok(())
}

#[test]
fn cookies_that_cannot_be_bound_are_refused_whatever_comes_first() -> TestResult {
    let policy = || BindingPolicy::new("/device-session");
    for cookie in [
        CookiePolicy::new().with_name("session").with_domain("example.org"),
        CookiePolicy::new().partitioned(),
    ] {
        let sessions = SessionManager::new(MemoryStore::new()?).with_cookie(cookie.clone())?;
        let refused = sessions.with_device_binding(policy());
        assert!(matches!(refused, Err(Error::InvalidOption { .. })));
        let sessions = SessionManager::new(MemoryStore::new()?).with_device_binding(policy())?;
        assert!(matches!(sessions.with_cookie(cookie), Err(Error::InvalidOption { .. })));
    }
    Ok(())
}

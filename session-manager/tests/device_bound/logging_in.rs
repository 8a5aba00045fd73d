//! What a login does to a binding.

use chrono::TimeDelta;
use session_manager::{
    BindingPolicy, CookiePolicy, DeviceBinding, Error, Session, SessionManager, Status,
};
use store_core::MemoryStore;

use crate::TestResult;
use crate::browser::Browser;
use crate::fixture::{COOKIE_END, COOKIE_LIFETIME, Fixture};

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
    thief.visit(|session| {
        session.bind_to_device()?;
        assert_eq!(session.status(), Status::Unmodified);
        Ok(())
    })?;
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

/// A browser that comes from another site, as at the end of a login by OAuth, sends its
/// registration without the session cookie.
#[test]
fn offer_is_repeated_until_the_browser_can_register_and_writes_nothing() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::logged_in(&fixture.sessions)?;
    let first = browser.offered.take();
    let mut without_cookie = browser.clone();
    without_cookie.session_cookie.clear();
    without_cookie.offered.clone_from(&first);
    assert_eq!(without_cookie.register().status, 403);

    fixture.store.calls().take();
    browser.visit(Session::bind_to_device)?;
    assert_eq!(browser.offered, first);
    assert_eq!(fixture.store.calls().take(), (1, 0, 0));
    fixture.clock.advance(COOKIE_LIFETIME + TimeDelta::seconds(1));
    browser.visit(Session::bind_to_device)?;
    assert_ne!(browser.offered, first, "the browser has time to answer");
    assert_eq!(browser.register().status, 200);
    Ok(())
}

#[test]
fn login_offers_another_challenge_than_before() -> TestResult {
    let fixture = Fixture::new();
    let mut before = Browser::new(&fixture.sessions);
    before.visit(|session| {
        session.insert("cart", ["tea"])?;
        session.bind_to_device()
    })?;
    let mut browser = before.clone();
    browser.visit(|session| {
        session.set_subject("7")?;
        session.bind_to_device()
    })?;
    assert_ne!(browser.offered, before.offered);
    // Who knows the token from before, and even the new challenge, gets no key into the session.
    before.offered.clone_from(&browser.offered);
    assert_eq!(before.thief().register().status, 403);
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

//! tower-sessions 0.15 (Rust): the tests of its core, its service, and its routes.

use std::time::Duration;

use chrono::TimeDelta;
use cookie::SameSite;
use session_manager::{CookiePolicy, Session};
use store_core::Clock as _;

use crate::TestResult;
use crate::site::Site;

const HOUR: Duration = Duration::from_secs(60 * 60);

#[test]
fn visitor_of_a_page_without_session_gets_no_cookie() -> TestResult {
    let site = Site::new();
    let reply = site.browser().visit(|_| Ok("Hello, world!"))?;
    assert!(reply.cookie.is_none());
    let reply = site.browser().visit(|session| session.get::<usize>("foo"))?;
    assert_eq!(reply.page, None);
    assert!(reply.cookie.is_none(), "looking stores nothing");
    assert_eq!(site.rows(), []);
    assert_eq!(site.calls(), (0, 0, 0));
    Ok(())
}

#[test]
fn invented_and_malformed_cookies_are_never_taken_over() -> TestResult {
    for invented in ["AAAAAAAAAAAAAAAAAAAAAA", "malformed", "", &"A".repeat(43)] {
        let site = Site::new();
        let mut browser = site.browser();
        browser.token = Some(invented.to_owned());
        browser.visit(|_| Ok(()))?;
        assert_eq!(site.rows(), [], "nothing is stored for it");
        browser.token = Some(invented.to_owned());
        browser.visit(|session| session.insert("foo", "42"))?;
        assert_ne!(browser.token.as_deref(), Some(invented));
        assert_eq!(browser.value("foo")?.as_deref(), Some("42"));
    }
    Ok(())
}

#[test]
fn cookie_is_kept_for_the_idle_timeout_or_goes_with_the_browser() -> TestResult {
    let idle = Site::new().with(|sessions| {
        sessions.with_idle_timeout(HOUR)?.with_cookie(CookiePolicy::new().persistent())
    });
    let until_the_browser_closes = Site::new();
    for (site, max_age) in [(idle, Some(60 * 60)), (until_the_browser_closes, None)] {
        let reply = site.browser().visit(|session| session.insert("foo", "42"))?;
        assert_eq!(reply.max_age(), max_age);
        let cookie = reply.cookie.expect("it is new");
        assert_eq!(cookie.name(), "__Host-session");
        assert_eq!(cookie.http_only(), Some(true));
        assert_eq!(cookie.same_site(), Some(SameSite::Lax), "a link from elsewhere is logged in");
        assert_eq!(cookie.secure(), Some(true));
        assert_eq!(cookie.path(), Some("/"));
        assert_eq!(cookie.domain(), None);
    }
    Ok(())
}

#[test]
fn last_value_can_be_removed() -> TestResult {
    let site = Site::new();
    let mut browser = site.visited()?;
    assert!(browser.visit(|session| Ok(session.remove("foo")))?.page);
    assert_eq!(browser.value("foo")?, None);
    assert!(!browser.visit(|session| Ok(session.remove("foo")))?.page);
    Ok(())
}

#[test]
fn cycled_session_has_its_values_and_its_old_token_has_none() -> TestResult {
    let site = Site::new();
    let mut browser = site.visited()?;
    let mut old = browser.twin();
    let reply = browser.visit(|session| {
        session.renew()?;
        session.insert("more", "43")?;
        Ok(session.token().map(str::to_owned))
    })?;
    assert_ne!(browser.token, old.token);
    assert_eq!(reply.page, browser.token, "the handler knew what the browser gets");
    assert_eq!(browser.value("foo")?.as_deref(), Some("bar"));
    assert_eq!(browser.value("more")?.as_deref(), Some("43"));
    assert_eq!(old.value("foo")?, None);
    assert_eq!(site.rows().len(), 1);
    Ok(())
}

#[test]
fn removal_has_the_attributes_of_the_cookie() -> TestResult {
    let policy = CookiePolicy::new;
    for policy in [
        policy(),
        policy().readable_by_scripts(),
        policy().insecure_for_local_development(),
        policy().with_name("__Secure-id").with_domain("example.com").with_path("/foo/bar"),
        policy().with_same_site(session_manager::SameSite::Strict),
        policy().with_same_site(session_manager::SameSite::None).partitioned(),
    ] {
        let site = Site::new().with(|sessions| sessions.with_cookie(policy));
        let mut browser = site.browser();
        let set = browser.visit(|session| session.insert("foo", "42"))?.cookie;
        let removed = browser.visit(Session::destroy)?.cookie;
        assert_eq!(browser.token, None);
        let (set, mut removed) = (set.expect("it is new"), removed.expect("it goes"));
        assert_eq!(removed.max_age(), Some(cookie::time::Duration::ZERO));
        assert!(removed.expires_datetime().is_some(), "for browsers without Max-Age");
        // Browsers remove only what has the same name, domain and path.
        removed.unset_expires();
        removed.set_max_age(set.max_age());
        removed.set_value(set.value().to_owned());
        assert_eq!(removed, set);
    }
    Ok(())
}

/// Theirs are one setting: a date also makes the cookie persistent.
#[test]
fn when_the_session_ends_and_how_long_the_cookie_is_kept_are_two_questions() -> TestResult {
    let site = Site::new();
    let mut browser = site.visited()?;
    let tomorrow = site.clock.now() + TimeDelta::days(7);
    let reply = browser.visit(|session| {
        session.set_deadline(tomorrow);
        Ok(session.expiry())
    })?;
    assert_eq!(reply.page, tomorrow);
    assert!(reply.cookie.is_none(), "it still goes with the browser");

    let reply = browser.visit(|session| session.remember_me(true))?;
    assert_eq!(reply.max_age(), Some(7 * 24 * 60 * 60), "until the deadline");
    let reply = browser.visit(|session| {
        session.set_deadline(site.clock.now() + TimeDelta::days(1));
        Ok(())
    })?;
    assert_eq!(reply.max_age(), Some(24 * 60 * 60), "it is told of the change");
    let reply = browser.visit(|session| session.remember_me(false))?;
    assert_eq!((reply.cookie.is_some(), reply.max_age()), (true, None));
    assert_eq!(browser.value("foo")?.as_deref(), Some("bar"));
    Ok(())
}

/// Their `always_save`, without its write in each request.
#[test]
fn requests_that_only_read_keep_a_used_session_alive() -> TestResult {
    let site = Site::new().with(|sessions| {
        sessions.with_idle_timeout(2 * HOUR)?.with_cookie(CookiePolicy::new().persistent())
    });
    let mut browser = site.visited()?;
    let token = browser.token.clone();
    let mut last = site.rows();
    for _ in 0..5 {
        site.clock.advance(TimeDelta::hours(1));
        site.calls();
        let reply = browser.visit(|session| session.get::<String>("foo"))?;
        assert_eq!(reply.page.as_deref(), Some("bar"));
        assert_eq!(reply.max_age(), Some(2 * 60 * 60));
        assert_eq!(site.calls(), (1, 1, 0), "its expiry alone is written");
        let rows = site.rows();
        assert!(rows[0].1 > last[0].1);
        last = rows;
    }
    assert_eq!(browser.token, token);

    // A deadline is moved by nothing but the application.
    let site = Site::new();
    let mut browser = site.visited()?;
    let before = site.rows();
    site.clock.advance(TimeDelta::hours(1));
    browser.value("foo")?;
    assert_eq!(site.rows(), before);
    Ok(())
}

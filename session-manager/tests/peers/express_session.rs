//! express-session 1.19 (JavaScript): the tests of its middleware that don't depend on Node.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use session_manager::{CookiePolicy, Error, Session, SessionManager};
use store_core::{Clock as _, Store as _};

use crate::TestResult;
use crate::counting_store::Failing;
use crate::site::Site;

fn hit(session: &mut Session<'_>) -> Result<u32, Error> {
    session.update("count", |count: Option<u32>| count.unwrap_or(0) + 1)
}

fn log_out(session: &mut Session<'_>) -> Result<(), Error> {
    session.destroy()
}

#[test]
fn each_browser_has_its_own_session() -> TestResult {
    let site = Site::new();
    let (mut first, mut second) = (site.browser(), site.browser());
    for visits in 1..4 {
        assert_eq!(first.visit(hit)?.page, visits);
        assert_eq!(second.visit(hit)?.page, visits);
    }
    assert_ne!(first.token, second.token);
    assert_eq!(site.rows().len(), 2);
    Ok(())
}

#[test]
fn session_that_the_store_has_lost_begins_again_under_another_token() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    browser.visit(hit)?;
    let old = browser.token.clone();
    for (key, _) in site.rows() {
        site.store.delete(&key)?;
    }
    assert_eq!(browser.visit(hit)?.page, 1);
    assert!(browser.token.is_some() && browser.token != old);
    Ok(())
}

#[test]
fn expired_session_begins_again_under_another_token() -> TestResult {
    let site = Site::new().with(|sessions| sessions.with_lifetime(Duration::from_millis(5)));
    let mut browser = site.browser();
    browser.visit(hit)?;
    let old = browser.token.clone();
    site.clock.advance(TimeDelta::milliseconds(5));
    assert_eq!(site.rows(), [], "no walk shows it");
    assert_eq!(browser.visit(hit)?.page, 1);
    assert!(browser.token.is_some() && browser.token != old);
    Ok(())
}

#[test]
fn session_of_another_form_begins_again() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    browser.visit(hit)?;
    for (key, expiry) in site.rows() {
        site.store.commit(&key, br#"{"foo":"bar"}"#, expiry)?;
    }
    assert_eq!(browser.visit(hit)?.page, 1, "theirs is an error until the cookie goes");
    assert_eq!(browser.visit(hit)?.page, 2);
    Ok(())
}

/// `rolling` and `resave`, both false here.
#[test]
fn value_that_stays_as_it_was_is_not_written() -> TestResult {
    let site = Site::new();
    let mut browser = site.visited()?;
    let reply = browser.visit(|session| session.insert("foo", "bar"))?;
    assert!(reply.cookie.is_none());
    assert_eq!(site.calls(), (1, 0, 0));
    browser.visit(|session| session.insert("foo", "baz"))?;
    assert_eq!(site.calls(), (1, 0, 1));
    browser.visit(|session| session.get::<String>("foo"))?;
    assert_eq!(site.calls(), (1, 0, 0));
    Ok(())
}

#[test]
fn no_name_of_a_value_is_special_to_the_comparison() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    for key in ["cookie", "save", "id", "__proto__", "deadline", "values", "v"] {
        for n in 0..3 {
            site.calls();
            browser.visit(|session| session.insert(key, n))?;
            assert_eq!(site.calls().2, 1, "{key}");
        }
        assert_eq!(browser.visit(|session| session.get(key))?.page, Some(2), "{key}");
    }
    assert_eq!(browser.visit(|session| Ok(session.keys().count()))?.page, 7, "and nothing else");
    Ok(())
}

#[test]
fn failures_of_every_call_of_the_store_are_told() -> TestResult {
    type Act = fn(&mut Session<'_>) -> Result<(), Error>;
    let site =
        Site::new().with(|sessions| sessions.with_idle_timeout(Duration::from_secs(60 * 60)));
    let mut browser = site.visited()?;
    let is_told = |failing, cookie: Option<&str>, act: Act| -> Result<bool, Error> {
        site.store.fail(Failing::Nothing);
        site.clock.advance(TimeDelta::minutes(10));
        site.sessions.load(browser.token.as_deref())?.finish()?;
        site.clock.advance(TimeDelta::minutes(10));
        site.store.fail(failing);
        let outcome = site.sessions.load(cookie).and_then(|mut session| {
            act(&mut session)?;
            session.finish()
        });
        Ok(matches!(outcome, Err(Error::Store(_))))
    };
    let own = browser.token.as_deref();
    assert!(is_told(Failing::Find, own, |_| Ok(()))?);
    assert!(is_told(Failing::Touch, own, |_| Ok(()))?);
    assert!(is_told(Failing::Create, None, |session| session.insert("foo", "baz"))?);
    assert!(is_told(Failing::Update, own, |session| session.insert("foo", "baz"))?);
    assert!(is_told(Failing::Delete, own, log_out)?);
    assert!(!is_told(Failing::Find, None, |_| Ok(()))?, "nothing was asked of it");
    site.store.fail(Failing::Nothing);
    assert_eq!(browser.value("foo")?.as_deref(), Some("bar"), "it is as it was");
    Ok(())
}

#[test]
fn session_that_is_destroyed_in_its_first_request_leaves_nothing() -> TestResult {
    let site = Site::new();
    let reply = site.browser().visit(|session| {
        hit(session)?;
        session.destroy()
    })?;
    assert!(reply.cookie.is_none());
    assert_eq!((site.rows(), site.calls()), (Vec::new(), (0, 0, 0)));
    Ok(())
}

/// Their `regenerate`: another session in the same browser.
#[test]
fn session_can_be_replaced_by_an_empty_one() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    browser.visit(hit)?;
    let mut old = browser.twin();
    let reply = browser.visit(|session| {
        session.destroy()?;
        hit(session)
    })?;
    assert_eq!(reply.page, 1);
    assert!(browser.token.is_some() && browser.token != old.token);
    assert_eq!(site.rows().len(), 1);
    assert_eq!(old.visit(|session| session.get::<u32>("count"))?.page, None);
    Ok(())
}

/// Their `reload` is for a handler that waits for another request. Ours is made at the write.
#[test]
fn request_sees_its_own_state_and_is_written_over_the_newest() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    browser.visit(hit)?;
    let mut session = site.sessions.load(browser.token.as_deref())?;
    browser.visit(hit)?;
    assert_eq!(hit(&mut session)?, 2, "of the session that was loaded");
    session.finish()?;
    assert_eq!(browser.visit(hit)?.page, 4, "none is lost");
    Ok(())
}

#[test]
fn cookie_of_a_manager_is_no_cookie_of_another() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    browser.visit(hit)?;
    let other = SessionManager::new(Arc::clone(&site.store))
        .with_cookie(CookiePolicy::new().with_name("__Host-sessid"))?
        .with_clock(site.clock.clone());
    let mut session = other.load(browser.token.as_deref())?;
    assert_eq!(hit(&mut session)?, 1, "without a signature: the name is in the hash");
    Ok(())
}

#[test]
fn lifetime_can_be_changed_to_a_small_or_a_large_one() -> TestResult {
    let site = Site::new().with(|sessions| {
        sessions
            .with_lifetime(Duration::from_secs(20))?
            .with_cookie(CookiePolicy::new().persistent())
    });
    let mut browser = site.browser();
    assert_eq!(browser.visit(hit)?.max_age(), Some(20));
    for seconds in [50, 3_000_000, 5] {
        let reply = browser.visit(|session| {
            session.set_deadline(site.clock.now() + TimeDelta::seconds(seconds));
            hit(session)
        })?;
        assert_eq!(reply.max_age(), Some(seconds));
    }
    let reply = browser.visit(|session| {
        session.reset_lifetime();
        Ok(())
    })?;
    assert_eq!(reply.max_age(), Some(20), "what was set for all is still known");

    let reply = browser.visit(|session| {
        session.set_deadline(chrono::DateTime::UNIX_EPOCH);
        Ok(())
    })?;
    assert_eq!(reply.max_age(), Some(0));
    assert_eq!((browser.token, site.rows()), (None, Vec::new()));
    Ok(())
}

//! Django 5.2 (Python): its tests of sessions.

use chrono::TimeDelta;
use session_manager::{Error, Session, Status};
use store_core::{Clock as _, Store as _};

use crate::TestResult;
use crate::site::{Browser, Site};

#[test]
fn session_that_nobody_asked_for_leaves_no_trace() -> TestResult {
    type Question = fn(&mut Session<'_>) -> bool;
    let site = Site::new();
    let mut browser = site.visited()?;
    let reply = browser.visit(|session| {
        assert_eq!(session.status(), Status::Unmodified);
        Ok(())
    })?;
    assert_eq!(reply.headers, []);
    let reply = site.browser().visit(|_| Ok(()))?;
    assert_eq!(reply.headers, []);
    assert_eq!(site.calls(), (1, 0, 0));

    // Any question makes the page depend on the cookie.
    let questions: [Question; 6] = [
        |session| matches!(session.get::<String>("cat"), Ok(None)),
        |session| matches!(session.pop::<String>("some key"), Ok(None)),
        |session| session.contains("some key"),
        |session| session.keys().count() == 0,
        |session| session.is_empty(),
        |session| session.subject().is_none(),
    ];
    for question in questions {
        for mut browser in [browser.twin(), site.browser()] {
            let reply = browser.visit(|session| {
                question(session);
                assert_eq!(session.status(), Status::Unmodified);
                Ok(())
            })?;
            assert_eq!(reply.headers, [("Vary", "Cookie".to_owned())]);
        }
    }
    Ok(())
}

#[test]
fn value_is_put_where_there_is_none() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    for value in ["bar", "baz"] {
        let reply = browser.visit(|session| {
            session
                .update("foo", move |old: Option<String>| old.unwrap_or_else(|| value.to_owned()))
        })?;
        assert_eq!(reply.page, "bar");
    }
    Ok(())
}

#[test]
fn value_that_is_popped_is_gone_and_an_absent_one_is_no_error() -> TestResult {
    let site = Site::new();
    let mut browser = site.visited()?;
    browser.visit(|session| {
        assert_eq!(session.pop::<String>("some key")?, None);
        assert_eq!(session.status(), Status::Unmodified);
        assert_eq!(session.pop::<String>("foo")?.as_deref(), Some("bar"));
        assert_eq!(session.status(), Status::Modified);
        assert_eq!(session.get::<String>("foo")?, None);
        assert_eq!(session.pop::<String>("foo")?, None);
        Ok(())
    })?;
    assert_eq!(browser.value("foo")?, None);
    Ok(())
}

#[test]
fn keys_lead_to_all_values() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    browser.visit(|session| {
        for (key, value) in [("x", 1), ("y", 2)] {
            session.insert(key, value)?;
        }
        Ok(())
    })?;
    let reply = browser.visit(|session| {
        let items: Result<Vec<_>, Error> =
            session.keys().map(|key| Ok((key.to_owned(), session.get(key)?))).collect();
        assert_eq!(session.status(), Status::Unmodified);
        items
    })?;
    assert_eq!(reply.page, [("x".to_owned(), Some(1)), ("y".to_owned(), Some(2))]);
    Ok(())
}

#[test]
fn renewed_session_keeps_values_that_the_request_never_read() -> TestResult {
    let site = Site::new();
    let mut browser = site.visited()?;
    let mut old = browser.twin();
    browser.visit(Session::renew)?;
    assert_ne!(browser.token, old.token);
    assert_eq!(browser.value("foo")?.as_deref(), Some("bar"));
    assert_eq!(old.value("foo")?, None);
    assert_eq!(site.rows().len(), 1);
    Ok(())
}

#[test]
fn loading_stores_nothing() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    for unknown in ["someunknownkey", &"A".repeat(43)] {
        browser.token = Some(unknown.to_owned());
        let reply = browser.visit(|session| {
            session.keys().count();
            Ok(session.token().map(str::to_owned))
        })?;
        assert_eq!(reply.page, None, "it isn't the session's token");
        assert_eq!(site.rows(), []);
    }
    Ok(())
}

#[test]
fn session_that_was_logged_out_elsewhere_is_not_written() -> TestResult {
    let site = Site::new();
    let mut browser = site.visited()?;
    let mut session = site.sessions.load(browser.token.as_deref())?;
    browser.visit(Session::destroy)?;
    session.insert("foo", "value2")?;
    assert!(matches!(session.finish(), Err(Error::Superseded)));
    assert_eq!(site.rows(), []);
    Ok(())
}

/// Seconds until the session ends, and those for which its cookie is kept.
fn ages(site: &Site, browser: &mut Browser<'_>) -> Result<(i64, Option<i64>), Error> {
    let reply = browser.visit(|session| {
        session.renew()?;
        session.insert("foo", "bar")
    })?;
    let [(_, expiry)] = &site.rows()[..] else { panic!("there is one session") };
    Ok(((*expiry - site.clock.now()).num_seconds(), reply.max_age()))
}

#[test]
fn expiry_is_the_lifetime_unless_the_session_has_its_own() -> TestResult {
    const DAY: i64 = 24 * 60 * 60;
    let site = Site::new();
    let mut browser = site.browser();
    assert_eq!(ages(&site, &mut browser)?, (DAY, None), "gone when the browser is closed");
    browser.visit(|session| session.remember_me(true))?;
    assert_eq!(ages(&site, &mut browser)?, (DAY, Some(DAY)));
    // By a duration or by a date is the same.
    browser.visit(|session| {
        session.set_deadline(site.clock.now() + TimeDelta::seconds(10));
        Ok(())
    })?;
    assert_eq!(ages(&site, &mut browser)?, (10, Some(10)));
    browser.visit(|session| {
        session.reset_lifetime();
        Ok(())
    })?;
    assert_eq!(ages(&site, &mut browser)?, (DAY, Some(DAY)));
    browser.visit(|session| session.remember_me(false))?;
    assert_eq!(ages(&site, &mut browser)?, (DAY, None));
    Ok(())
}

#[test]
fn deadline_in_the_past_ends_the_session() -> TestResult {
    let site = Site::new();
    for is_new in [true, false] {
        let mut browser = if is_new { site.browser() } else { site.visited()? };
        browser.visit(|session| {
            session.insert("foo", "bar")?;
            session.set_deadline(site.clock.now() - TimeDelta::seconds(10));
            Ok(())
        })?;
        assert_eq!((browser.value("foo")?, browser.token), (None, None));
        assert_eq!(site.rows(), []);
    }
    Ok(())
}

#[test]
fn stored_session_is_read_and_changed_from_elsewhere() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    browser.visit(|session| {
        session.set_subject("ada")?;
        session.insert("foo", "bar")
    })?;
    let stored = &site.sessions.sessions_of("ada")?[0];
    assert_eq!(stored.get::<String>("foo")?.as_deref(), Some("bar"));
    assert_eq!(stored.keys().collect::<Vec<_>>(), ["foo"]);
    assert!(site.sessions.update(stored, |session| session.insert("foo", "baz"))?);
    assert_eq!(browser.value("foo")?.as_deref(), Some("baz"));
    Ok(())
}

#[test]
fn sweep_removes_the_expired_session_and_no_other() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    for hours in [1, 3] {
        browser = site.browser();
        browser.visit(|session| {
            session.insert("foo", "bar")?;
            session.set_deadline(site.clock.now() + TimeDelta::hours(hours));
            Ok(())
        })?;
    }
    site.clock.advance(TimeDelta::hours(2));
    assert_eq!(site.store.delete_expired()?, 1);
    assert_eq!(site.store.delete_expired()?, 0);
    assert_eq!(browser.value("foo")?.as_deref(), Some("bar"));
    Ok(())
}

#[test]
fn flush_takes_a_cookie_away_only_where_there_is_a_session() -> TestResult {
    let site = Site::new();
    let reply = site.browser().visit(Session::destroy)?;
    assert_eq!(reply.headers, [("Vary", "Cookie".to_owned())]);

    let mut browser = site.visited()?;
    let mut other = browser.twin();
    let reply = browser.visit(|session| {
        session.destroy()?;
        Ok((session.token().is_none(), session.is_empty()))
    })?;
    assert_eq!(reply.page, (true, true));
    assert_eq!(reply.header("Vary"), Some("Cookie"));
    assert_eq!(browser.token, None);
    assert_eq!(other.value("foo")?, None);
    assert_eq!(site.rows(), []);
    Ok(())
}

#[test]
fn emptied_session_has_nothing_and_can_be_used_again() -> TestResult {
    let site = Site::new();
    let mut browser = site.visited()?;
    let reply = browser.visit(|session| Ok(session.remove("foo")))?;
    assert_eq!((reply.page, reply.header("Vary")), (true, Some("Cookie")));
    assert_eq!(browser.value("foo")?, None);
    browser.visit(|session| session.insert("foo", "again"))?;
    assert_eq!(browser.value("foo")?.as_deref(), Some("again"));
    assert_eq!(site.rows().len(), 1);
    Ok(())
}

/// Their `set_test_cookie`.
#[test]
fn whether_a_browser_keeps_cookies_is_seen_by_a_flash_value() -> TestResult {
    let site = Site::new();
    for keeps_cookies in [true, false] {
        let mut browser = site.browser();
        browser.visit(|session| session.flash("test cookie", "worked"))?;
        if !keeps_cookies {
            browser.token = None;
        }
        let mut test = || browser.visit(|session| session.take_flash::<String>("test cookie"));
        assert_eq!(test()?.page.is_some(), keeps_cookies);
        assert_eq!(test()?.page, None);
    }
    Ok(())
}

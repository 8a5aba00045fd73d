//! SCS 2.9 (Go): its tests of the manager and of the data.

use std::ops::ControlFlow;
use std::time::Duration;

use chrono::TimeDelta;
use session_manager::{Error, Session, Status};
use store_core::Clock as _;

use crate::TestResult;
use crate::counting_store::Failing;
use crate::site::Site;

#[test]
fn value_comes_back_and_its_cookie_is_set_once() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    let reply = browser.visit(|session| session.insert("foo", "bar"))?;
    assert!(reply.cookie.is_some());
    let token = browser.token.clone();

    let reply = browser.visit(|session| session.get::<String>("foo"))?;
    assert_eq!(reply.page.as_deref(), Some("bar"));
    assert!(reply.cookie.is_none());

    // SCS sends the cookie again when a value was put in. The browser has it.
    let reply = browser.visit(|session| session.insert("foo", "baz"))?;
    assert!(reply.cookie.is_none());
    assert_eq!(browser.token, token);
    assert_eq!(browser.value("foo")?.as_deref(), Some("baz"));
    Ok(())
}

#[test]
fn remembering_lasts_until_it_is_taken_back() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    let reply = browser.visit(|session| session.insert("foo", "bar"))?;
    assert_eq!(reply.max_age(), None);
    let reply = browser.visit(|session| {
        session.remember_me(true)?;
        session.insert("foo", "bar")
    })?;
    assert_eq!(reply.max_age(), Some(24 * 60 * 60));
    let reply = browser.visit(|session| {
        session.remember_me(false)?;
        session.insert("foo", "bar")
    })?;
    assert!(reply.cookie.is_some(), "the browser has to know");
    assert_eq!(reply.max_age(), None);
    Ok(())
}

#[test]
fn walk_shows_what_each_browser_has_put_and_stops_when_told() -> TestResult {
    let site = Site::new();
    for n in 0..3 {
        site.browser().visit(|session| session.insert("foo", n.to_string()))?;
    }
    let mut found = Vec::new();
    let mut failure = None;
    site.sessions.for_each(|session| match session.get::<String>("foo") {
        Ok(value) => {
            found.extend(value);
            ControlFlow::Continue(())
        }
        Err(error) => {
            failure = Some(error);
            ControlFlow::Break(())
        }
    })?;
    assert!(failure.is_none(), "{failure:?}");
    found.sort();
    assert_eq!(found, ["0", "1", "2"]);

    let mut seen = 0;
    site.sessions.for_each(|_| {
        seen += 1;
        ControlFlow::Break(())
    })?;
    assert_eq!(seen, 1);
    Ok(())
}

/// There is no context that could be without a session: the second one is another request's.
#[test]
fn session_that_is_loaded_twice_is_two_requests() -> TestResult {
    let site = Site::new();
    let mut browser = site.visited()?;
    let token = browser.token.clone();
    let mut first = site.sessions.load(token.as_deref())?;
    let mut second = site.sessions.load(token.as_deref())?;
    first.insert("first", "1")?;
    assert!(!second.contains("first"));
    second.insert("second", "2")?;
    first.finish()?;
    second.finish()?;
    for (key, value) in [("foo", "bar"), ("first", "1"), ("second", "2")] {
        assert_eq!(browser.value(key)?.as_deref(), Some(value));
    }
    Ok(())
}

#[test]
fn session_under_the_hash_of_its_token_opens_and_ends() -> TestResult {
    let site = Site::new().with(|sessions| Ok(sessions.with_scs_hashed_tokens_in_store()));
    let mut browser = site.browser();
    browser.visit(|session| {
        session.set_deadline(site.clock.now() + TimeDelta::hours(1));
        session.insert("blah", "blah")
    })?;
    let [(key, expiry)] = &site.rows()[..] else { panic!("there is one session") };
    assert_ne!(Some(key), browser.token.as_ref());
    assert_eq!(*expiry, site.clock.now() + TimeDelta::hours(1));

    let token = browser.token.clone();
    let reply = browser.visit(|session| Ok(session.token().map(str::to_owned)))?;
    assert_eq!(reply.page, token, "the browser's token, not the store's");
    browser.visit(Session::destroy)?;
    assert_eq!(site.rows(), []);
    Ok(())
}

#[test]
fn expiry_is_the_earlier_of_deadline_and_idle_timeout() -> TestResult {
    let day = Duration::from_secs(24 * 60 * 60);
    for (idle, deadline, expected) in [
        (day, TimeDelta::hours(1), TimeDelta::hours(1)),
        (Duration::from_millis(1), TimeDelta::hours(24), TimeDelta::milliseconds(1)),
    ] {
        let site = Site::new().with(|sessions| sessions.with_idle_timeout(idle));
        site.browser().visit(|session| {
            session.set_deadline(site.clock.now() + deadline);
            session.insert("blah", "blah")
        })?;
        let expiries: Vec<_> = site.rows().into_iter().map(|(_, expiry)| expiry).collect();
        assert_eq!(expiries, [site.clock.now() + expected]);
    }
    Ok(())
}

#[test]
fn failure_of_the_store_is_returned_and_nothing_with_it() -> TestResult {
    let site = Site::new();
    let mut browser = site.visited()?;
    site.store.fail(Failing::Update);
    let refused = browser.visit(|session| session.insert("foo", "baz"));
    assert!(matches!(refused, Err(Error::Store(_))), "no token, no headers");
    site.store.fail(Failing::Find);
    let refused = browser.visit(|session| session.insert("foo", "baz"));
    assert!(matches!(refused, Err(Error::Store(_))));
    site.store.fail(Failing::Nothing);
    assert_eq!(browser.value("foo")?.as_deref(), Some("bar"));
    Ok(())
}

#[test]
fn status_tells_what_the_request_has_done() -> TestResult {
    type Act = fn(&mut Session<'_>) -> Result<(), Error>;
    let site = Site::new();
    let modifies: [Act; 4] = [
        |session| session.insert("foo", "baz"),
        |session| session.pop::<String>("foo").map(drop),
        |session| {
            session.remove("foo");
            Ok(())
        },
        |session| {
            session.clear();
            Ok(())
        },
    ];
    for act in modifies {
        let mut session = site.sessions.load(site.visited()?.token.as_deref())?;
        assert_eq!(session.status(), Status::Unmodified);
        act(&mut session)?;
        assert_eq!(session.status(), Status::Modified);
        session.destroy()?;
        assert_eq!(session.status(), Status::Destroyed);
    }

    let mut session = site.sessions.load(site.visited()?.token.as_deref())?;
    assert_eq!(session.get::<String>("foo")?.as_deref(), Some("bar"));
    assert!(session.contains("foo") && !session.contains("baz"));
    assert_eq!(session.pop::<String>("baz")?, None);
    assert!(!session.remove("baz"));
    assert_eq!(session.status(), Status::Unmodified, "nothing was there to be taken");
    Ok(())
}

/// SCS returns the zero of the type, which can't be told from a zero that was put in.
#[test]
fn absent_values_of_every_type_are_none() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    browser.visit(|session| {
        session.insert("string", "bar")?;
        session.insert("bool", true)?;
        session.insert("int", 123)?;
        session.insert("float", 123.456)?;
        session.insert("bytes", b"bar")?;
        session.insert("time", site.clock.now().to_rfc3339())?;
        session.insert("zero", 0)
    })?;
    for is_popped in [false, true] {
        browser.visit(|session| {
            assert_eq!(taken(session, is_popped, "string")?, Some("bar".to_owned()));
            assert_eq!(taken(session, is_popped, "bool")?, Some(true));
            assert_eq!(taken(session, is_popped, "int")?, Some(123));
            assert_eq!(taken(session, is_popped, "float")?, Some(123.456));
            assert_eq!(taken(session, is_popped, "bytes")?, Some(*b"bar"));
            let time: Option<String> = taken(session, is_popped, "time")?;
            assert_eq!(time.and_then(|time| time.parse().ok()), Some(site.clock.now()));
            assert_eq!(taken(session, is_popped, "zero")?, Some(0));
            Ok(())
        })?;
    }
    browser.visit(|session| {
        for key in ["string", "bool", "int", "float", "bytes", "time", "zero"] {
            assert!(!session.contains(key), "{key}");
        }
        assert_eq!(session.get::<String>("string")?, None);
        assert_eq!(session.get::<bool>("bool")?, None);
        assert_eq!(session.pop::<i64>("int")?, None);
        assert_eq!(session.pop::<f64>("float")?, None);
        Ok(())
    })?;
    Ok(())
}

/// A value, which stays unless it is popped.
fn taken<T: serde::de::DeserializeOwned>(
    session: &mut Session<'_>,
    is_popped: bool,
    key: &str,
) -> Result<Option<T>, Error> {
    if is_popped { session.pop(key) } else { session.get(key) }
}

#[test]
fn keys_come_in_the_order_in_which_they_were_put() -> TestResult {
    let site = Site::new();
    let mut browser = site.browser();
    browser.visit(|session| {
        session.insert("woo", "waa")?;
        session.insert("foo", "bar")
    })?;
    let reply = browser.visit(|session| {
        session.insert("woo", "again")?;
        Ok(session.keys().map(str::to_owned).collect::<Vec<_>>())
    })?;
    assert_eq!(reply.page, ["woo", "foo"], "SCS sorts them");
    Ok(())
}

//! One request after the other: values, lifetimes, tokens and cookies.

mod counting_store;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use counting_store::{CountingStore, Failing, counting_store, token};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use session_manager::{
    Codec, CodecError, CookiePolicy, Decoded, Error, EventKind, Header, Json, SessionManager,
    Status,
};
use store_core::{Clock, ManualClock, Store};

type TestResult = Result<(), Error>;

/// A manager, its store, and the clock of both, which stands at noon.
struct Scene {
    sessions: SessionManager,
    store: Arc<CountingStore>,
    clock: Arc<ManualClock>,
    events: Arc<Mutex<Vec<EventKind>>>,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse().expect("noon")));
        let store = counting_store(clock.clone());
        let events = Arc::<Mutex<Vec<_>>>::default();
        let sessions =
            SessionManager::new(Arc::clone(&store)).with_clock(clock.clone()).with_event_hook({
                let events = Arc::clone(&events);
                move |event| events.lock().expect("nobody panics with it").push(event.kind)
            });
        Self { sessions, store, clock, events }
    }

    fn with(
        mut self,
        change: impl FnOnce(SessionManager) -> Result<SessionManager, Error>,
    ) -> Self {
        self.sessions = change(self.sessions).expect("the options are right");
        self
    }

    /// Stores a session with one value, and gives its token.
    fn stored(&self) -> Result<String, Error> {
        let mut session = self.sessions.load([])?;
        session.insert("name", "Ada")?;
        let token = token(&session.finish()?).expect("it is new");
        self.store.calls().take();
        self.events();
        Ok(token)
    }

    /// What the manager reported since the last call.
    fn events(&self) -> Vec<EventKind> {
        std::mem::take(&mut *self.events.lock().expect("nobody panics with it"))
    }

    /// The one row of the store, with its key.
    fn row(&self) -> (String, Vec<u8>, DateTime<Utc>) {
        let mut rows = Vec::new();
        let walk = self.store.for_each(&mut |record| {
            rows.push((record.token.to_owned(), record.data.to_owned(), record.expiry));
            ControlFlow::Continue(())
        });
        walk.expect("a walk in memory succeeds");
        assert_eq!(rows.len(), 1);
        rows.remove(0)
    }

    fn rows(&self) -> usize {
        self.store.all().expect("a walk in memory succeeds").len()
    }
}

fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
}

#[test]
fn values_of_any_type_come_back_in_the_next_request() -> TestResult {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Plan {
        Free,
        Paid { seats: u8 },
    }
    let scene = Scene::new();
    let mut session = scene.sessions.load([])?;
    assert!(session.is_empty());
    let map = BTreeMap::from([("a".to_owned(), vec![1, 2]), ("b".to_owned(), vec![])]);
    session.insert("u64", u64::MAX)?;
    session.insert("i64", i64::MIN)?;
    session.insert("f64", 0.1)?;
    session.insert("text", "quote \" backslash \\ newline \n NUL \0 ünïcödé 💥")?;
    session.insert("key with \"quotes\" and ü", true)?;
    session.insert("", "empty key")?;
    session.insert("none", None::<u8>)?;
    session.insert("map", &map)?;
    session.insert("plan", Plan::Paid { seats: 5 })?;
    session.insert("time", "2026-11-21T15:30:00Z")?;
    let token = token(&session.finish()?).expect("it is new");

    let session = scene.sessions.load([&*token])?;
    assert_eq!(session.get("u64")?, Some(u64::MAX));
    assert_eq!(session.get("i64")?, Some(i64::MIN));
    assert_eq!(session.get("f64")?, Some(0.1));
    let text: Option<String> = session.get("text")?;
    assert_eq!(text.as_deref(), Some("quote \" backslash \\ newline \n NUL \0 ünïcödé 💥"));
    assert_eq!(session.get("key with \"quotes\" and ü")?, Some(true));
    assert_eq!(session.get::<String>("")?.as_deref(), Some("empty key"));
    assert_eq!(session.get("none")?, Some(None::<u8>));
    assert_eq!(session.get("map")?, Some(map));
    assert_eq!(session.get("plan")?, Some(Plan::Paid { seats: 5 }));
    assert_ne!(session.get("plan")?, Some(Plan::Free));
    assert_eq!(session.get::<u8>("missing")?, None);
    assert_eq!(session.keys().count(), 10);
    Ok(())
}

#[test]
fn values_can_be_removed_popped_and_cleared() -> TestResult {
    let scene = Scene::new();
    let mut session = scene.sessions.load([])?;
    for key in ["a", "b", "c"] {
        session.insert(key, key)?;
    }
    let token = token(&session.finish()?).expect("it is new");

    let mut session = scene.sessions.load([&*token])?;
    assert!(session.contains("a") && !session.contains("d"));
    assert!(session.remove("a"));
    assert!(!session.remove("a"));
    assert_eq!(session.pop::<String>("b")?.as_deref(), Some("b"));
    assert_eq!(session.pop::<String>("b")?, None);
    assert_eq!(session.keys().collect::<Vec<_>>(), ["c"]);
    session.insert("d", 4)?;
    session.insert("c", "again")?;
    assert_eq!(session.keys().collect::<Vec<_>>(), ["c", "d"]);
    session.finish()?;

    let mut session = scene.sessions.load([&*token])?;
    assert_eq!(session.keys().collect::<Vec<_>>(), ["c", "d"]);
    assert_eq!(session.get::<String>("c")?.as_deref(), Some("again"));
    session.remember_me(true)?;
    session.flash("notice", "Saved.")?;
    session.clear();
    assert!(session.is_empty());
    assert_eq!(session.take_flash::<String>("notice")?, None);
    session.finish()?;
    let session = scene.sessions.load([&*token])?;
    assert!(session.is_empty());
    assert_eq!(session.token(), Some(&*token), "clearing keeps the session");
    Ok(())
}

#[test]
fn values_of_another_type_are_named_and_stay() -> TestResult {
    let scene = Scene::new();
    let token = scene.stored()?;
    let mut session = scene.sessions.load([&*token])?;
    for error in [
        session.get::<u32>("name").map(drop).expect_err("it is a string"),
        session.pop::<u32>("name").map(drop).expect_err("it is a string"),
        session.update("name", |old: Option<u32>| old.unwrap_or(0)).map(drop).expect_err("it is"),
    ] {
        assert!(matches!(&error, Error::WrongType { key, .. } if key == "name"), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("Ada"), "{error:?}");
    }
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    assert_eq!(session.status(), Status::Unmodified);
    Ok(())
}

#[test]
fn keys_of_the_session_itself_are_refused_and_hidden() -> TestResult {
    let scene = Scene::new();
    let mut session = scene.sessions.load([])?;
    for key in ["__rememberMe", "__subject", "__flash.notice"] {
        let refused = session.insert(key, 1);
        assert!(matches!(refused, Err(Error::ReservedKey { .. })), "{key}: {refused:?}");
        let refused = session.update(key, |old: Option<u32>| old.unwrap_or(0));
        assert!(matches!(refused, Err(Error::ReservedKey { .. })), "{key}: {refused:?}");
    }
    session.remember_me(true)?;
    session.set_subject("7")?;
    session.flash("notice", "Hello")?;
    assert!(session.is_empty());
    for key in ["__rememberMe", "__subject", "__flash.notice"] {
        assert!(!session.remove(key), "{key}");
    }
    assert_eq!(session.subject().as_deref(), Some("7"));
    Ok(())
}

#[test]
fn reading_costs_one_find_and_writes_nothing() -> TestResult {
    let scene = Scene::new();
    let token = scene.stored()?;
    let untouched = scene.sessions.load([&*token])?;
    assert_eq!(untouched.finish()?, [], "nothing depends on the cookie");
    assert_eq!(scene.store.calls().take(), (1, 0, 0));

    let session = scene.sessions.load([&*token])?;
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    assert_eq!(session.status(), Status::Unmodified);
    assert_eq!(session.finish()?, [("Vary", "Cookie".to_owned())]);
    assert_eq!(scene.store.calls().take(), (1, 0, 0));

    // A fresh session that is only looked at isn't stored.
    let session = scene.sessions.load([])?;
    assert_eq!(session.get::<String>("name")?, None);
    assert_eq!(session.finish()?, [("Vary", "Cookie".to_owned())]);
    assert_eq!(scene.store.calls().take(), (0, 0, 0));
    assert_eq!(scene.rows(), 1);
    assert_eq!(scene.events(), []);
    Ok(())
}

#[test]
fn writing_costs_one_write_and_what_comes_to_nothing_none() -> TestResult {
    let scene = Scene::new();
    let token = scene.stored()?;
    let mut session = scene.sessions.load([&*token])?;
    session.insert("name", "Grace")?;
    session.insert("visits", 1)?;
    assert_eq!(session.status(), Status::Modified);
    session.finish()?;
    assert_eq!(scene.store.calls().take(), (1, 0, 1));

    let mut session = scene.sessions.load([&*token])?;
    session.insert("name", "Grace")?;
    session.flash("notice", "Never shown.")?;
    session.take_flash::<String>("notice")?;
    session.finish()?;
    assert_eq!(scene.store.calls().take(), (1, 0, 0), "the data is what it was");

    let mut session = scene.sessions.load([])?;
    session.insert("name", "nobody")?;
    session.remove("name");
    assert_eq!(counting_store::token(&session.finish()?), None);
    assert_eq!(scene.store.calls().take(), (0, 0, 0), "there is nothing to store");
    Ok(())
}

#[test]
fn session_ends_at_its_deadline_however_much_it_is_used() -> TestResult {
    let scene = Scene::new().with(|sessions| sessions.with_lifetime(Duration::from_secs(3_600)));
    let token = scene.stored()?;
    let deadline = scene.clock.now() + TimeDelta::hours(1);
    for minutes in [20, 20, 19] {
        scene.clock.advance(TimeDelta::minutes(minutes));
        let mut session = scene.sessions.load([&*token])?;
        assert_eq!(session.deadline(), deadline);
        session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
        session.finish()?;
        assert_eq!(scene.row().2, deadline);
    }
    scene.clock.advance(TimeDelta::minutes(1));
    let session = scene.sessions.load([&*token])?;
    assert!(session.is_empty());
    assert_eq!(session.token(), None);
    assert!(scene.events().contains(&EventKind::UnknownToken));
    Ok(())
}

#[test]
fn idle_timeout_is_moved_once_a_tenth_of_it_has_passed() -> TestResult {
    let scene = Scene::new().with(|sessions| sessions.with_idle_timeout(Duration::from_secs(600)));
    let token = scene.stored()?;
    let start = scene.clock.now();
    let request = || scene.sessions.load([&*token])?.finish();

    scene.clock.advance(TimeDelta::seconds(59));
    assert_eq!(request()?, []);
    assert_eq!(scene.store.calls().take(), (1, 0, 0), "not yet a tenth");
    scene.clock.advance(TimeDelta::seconds(1));
    assert_eq!(request()?, [], "the browser has nothing to know");
    assert_eq!(scene.store.calls().take(), (1, 1, 0));
    assert_eq!(scene.row().2, start + TimeDelta::seconds(660));
    request()?;
    assert_eq!(scene.store.calls().take(), (1, 0, 0), "it was just moved");

    scene.clock.advance(TimeDelta::seconds(599));
    request()?;
    assert_eq!(scene.row().2, start + TimeDelta::seconds(660 + 599));
    scene.clock.advance(TimeDelta::seconds(600));
    assert!(scene.sessions.load([&*token])?.is_empty(), "it was not used for ten minutes");
    Ok(())
}

#[test]
fn idle_timeout_never_outlives_the_deadline() -> TestResult {
    let scene = Scene::new().with(|sessions| {
        sessions
            .with_lifetime(Duration::from_secs(900))?
            .with_idle_timeout(Duration::from_secs(600))
    });
    let token = scene.stored()?;
    let deadline = scene.clock.now() + TimeDelta::seconds(900);
    scene.clock.advance(TimeDelta::seconds(500));
    scene.sessions.load([&*token])?.finish()?;
    assert_eq!(scene.row().2, deadline);
    scene.store.calls().take();
    scene.clock.advance(TimeDelta::seconds(300));
    scene.sessions.load([&*token])?.finish()?;
    assert_eq!(scene.store.calls().take(), (1, 0, 0), "there is nothing left to move");
    scene.clock.advance(TimeDelta::seconds(100));
    assert!(scene.sessions.load([&*token])?.is_empty());
    Ok(())
}

#[test]
fn clock_going_backwards_ends_nothing_and_extends_nothing() -> TestResult {
    let scene = Scene::new().with(|sessions| {
        sessions
            .with_lifetime(Duration::from_secs(7_200))?
            .with_idle_timeout(Duration::from_secs(600))
    });
    let token = scene.stored()?;
    let (_, _, expiry) = scene.row();
    scene.clock.advance(TimeDelta::hours(-3));
    let session = scene.sessions.load([&*token])?;
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    session.finish()?;
    assert_eq!(scene.store.calls().take(), (1, 0, 0), "no touch");
    assert_eq!(scene.row().2, expiry);

    let mut session = scene.sessions.load([&*token])?;
    session.insert("name", "Grace")?;
    session.finish()?;
    assert!(scene.row().2 <= expiry, "a write counts from the present");
    scene.clock.advance(TimeDelta::hours(3));
    assert!(scene.sessions.load([&*token])?.is_empty(), "the present was three hours ago");
    Ok(())
}

#[test]
fn deadline_can_be_moved_either_way() -> TestResult {
    let scene = Scene::new();
    let token = scene.stored()?;
    let later = scene.clock.now() + TimeDelta::days(30);
    let mut session = scene.sessions.load([&*token])?;
    session.set_deadline(later);
    session.finish()?;
    assert_eq!(scene.row().2, later);
    assert_eq!(scene.sessions.load([&*token])?.deadline(), later);

    let mut session = scene.sessions.load([&*token])?;
    session.set_deadline(scene.clock.now() - TimeDelta::seconds(1));
    assert_eq!(counting_store::token(&session.finish()?).as_deref(), Some(""), "it has ended");
    assert_eq!(scene.rows(), 0);
    Ok(())
}

#[test]
fn deadline_has_a_form_in_every_codec() -> TestResult {
    let scene = Scene::new();
    let token = scene.stored()?;
    let mut session = scene.sessions.load([&*token])?;
    session.set_deadline(DateTime::<Utc>::MAX_UTC);
    session.finish()?;
    let session = scene.sessions.load([&*token])?;
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    assert_eq!(session.deadline().to_rfc3339(), "9999-12-31T23:59:59+00:00");

    let mut session = scene.sessions.load([&*token])?;
    session.set_deadline(DateTime::<Utc>::MIN_UTC);
    assert_eq!(session.deadline().to_rfc3339(), "2000-01-01T00:00:00+00:00");
    assert_eq!(counting_store::token(&session.finish()?).as_deref(), Some(""));
    assert_eq!(scene.rows(), 0);
    Ok(())
}

#[test]
fn renewal_changes_the_token_and_nothing_else() -> TestResult {
    let scene = Scene::new();
    let old = scene.stored()?;
    let (old_key, data, expiry) = scene.row();
    scene.clock.advance(TimeDelta::hours(1));
    let mut session = scene.sessions.load([&*old])?;
    session.renew()?;
    assert_eq!(session.status(), Status::Modified);
    let announced = session.token().expect("it is stored").to_owned();
    let new = token(&session.finish()?).expect("the browser must know");
    assert_eq!(new, announced);
    assert_ne!(new, old);
    let (new_key, new_data, new_expiry) = scene.row();
    assert_ne!(new_key, old_key);
    assert_eq!((new_data, new_expiry), (data, expiry), "values and deadline stay");
    assert_eq!(scene.store.calls().take(), (1, 0, 1), "one atomic step");
    assert_eq!(scene.events(), [EventKind::Renewed]);

    assert!(scene.sessions.load([&*old])?.is_empty());
    assert_eq!(scene.events(), [EventKind::Lost]);
    assert_eq!(scene.sessions.load([&*new])?.get::<String>("name")?.as_deref(), Some("Ada"));

    // What was never stored has no token that anybody could know.
    let mut fresh = scene.sessions.load([])?;
    fresh.renew()?;
    assert_eq!((fresh.token(), fresh.status()), (None, Status::Unmodified));
    Ok(())
}

#[test]
fn renewal_that_fails_leaves_the_old_token_good() -> TestResult {
    let scene = Scene::new();
    let old = scene.stored()?;
    let mut session = scene.sessions.load([&*old])?;
    session.renew()?;
    session.insert("user_id", 7)?;
    scene.store.fail(Failing::UpdateNeverMatches);
    assert!(matches!(session.finish(), Err(Error::Conflict { .. })));
    scene.store.fail(Failing::Nothing);
    let session = scene.sessions.load([&*old])?;
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    assert_eq!(session.get::<u32>("user_id")?, None, "nothing of the failed request is kept");
    Ok(())
}

#[test]
fn destroyed_session_is_gone_from_store_and_browser() -> TestResult {
    let scene = Scene::new();
    let old = scene.stored()?;
    let mut session = scene.sessions.load([&*old])?;
    session.destroy()?;
    assert_eq!(session.status(), Status::Destroyed);
    assert!(session.is_empty());
    assert_eq!(session.token(), None);
    let headers = session.finish()?;
    assert_eq!(token(&headers).as_deref(), Some(""));
    let set_cookie = header(&headers, "Set-Cookie").expect("it takes the cookie away");
    assert!(set_cookie.contains("Max-Age=0") && set_cookie.contains("Expires=Thu, 01 Jan 1970"));
    assert_eq!(header(&headers, "Cache-Control"), Some("no-store"));
    assert_eq!(scene.rows(), 0);
    assert_eq!(scene.events(), [EventKind::Destroyed]);
    assert!(scene.sessions.load([&*old])?.is_empty());

    let mut fresh = scene.sessions.load([])?;
    fresh.destroy()?;
    assert_eq!(token(&fresh.finish()?), None, "there was no cookie to take away");
    Ok(())
}

#[test]
fn what_follows_a_destruction_goes_into_a_fresh_session() -> TestResult {
    let scene = Scene::new();
    let old = scene.stored()?;
    let mut session = scene.sessions.load([&*old])?;
    session.insert("last", "words")?;
    session.destroy()?;
    session.flash("notice", "You are logged out.")?;
    assert_eq!(session.status(), Status::Modified);
    let new = token(&session.finish()?).expect("it is new");
    assert!(!new.is_empty() && new != old);
    assert_eq!(scene.rows(), 1);
    assert_eq!(scene.events(), [EventKind::Destroyed, EventKind::Created]);

    let mut session = scene.sessions.load([&*new])?;
    assert!(!session.contains("name") && !session.contains("last"));
    let notice: Option<String> = session.take_flash("notice")?;
    assert_eq!(notice.as_deref(), Some("You are logged out."));
    session.finish()?;
    let mut session = scene.sessions.load([&*new])?;
    assert_eq!(session.take_flash::<String>("notice")?, None, "it was shown once");
    Ok(())
}

#[test]
fn flash_values_are_taken_once_and_keep_apart_from_others() -> TestResult {
    let scene = Scene::new();
    let token = scene.stored()?;
    let mut session = scene.sessions.load([&*token])?;
    session.flash("name", 7)?;
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    let wrong = session.take_flash::<String>("name");
    assert!(matches!(wrong, Err(Error::WrongType { .. })), "{wrong:?}");
    assert_eq!(session.take_flash("name")?, Some(7));
    assert_eq!(session.take_flash::<u8>("name")?, None);
    Ok(())
}

#[test]
fn unknown_token_is_never_adopted_and_is_reported() -> TestResult {
    let scene = Scene::new();
    let invented = "A".repeat(43);
    let mut session = scene.sessions.load([&*invented])?;
    assert_eq!(scene.events(), [EventKind::UnknownToken]);
    session.insert("name", "Mallory")?;
    let given = token(&session.finish()?).expect("it is new");
    assert_ne!(given, invented);
    assert!(scene.sessions.load([&*invented])?.is_empty());
    Ok(())
}

#[test]
fn what_is_no_token_never_reaches_the_store() -> TestResult {
    let scene = Scene::new();
    scene.stored()?;
    let (key, ..) = scene.row();
    for value in ["", "x", "' OR 1=1 --", &"A".repeat(42), &"A".repeat(8_192), &format!("{key}=")] {
        assert!(scene.sessions.load([value])?.is_empty());
        assert_eq!(scene.store.calls().take(), (0, 0, 0), "{} bytes", value.len());
    }
    // The key of the store is of the right form, and worth nothing.
    assert!(scene.sessions.load([&*key])?.is_empty());
    Ok(())
}

#[test]
fn duplicate_cookies_are_each_tried_four_at_the_most() -> TestResult {
    let scene = Scene::new();
    let token = scene.stored()?;
    let other = "A".repeat(43);
    let session = scene.sessions.load([&*other, "junk", "junk", &*other, "junk", &*token])?;
    assert!(session.contains("name"), "what isn't a token doesn't count");
    assert_eq!(scene.store.calls().take(), (3, 0, 0));
    let session = scene.sessions.load([&*other, &*other, &*other, &*other, &*token])?;
    assert!(!session.contains("name"));
    assert_eq!(scene.store.calls().take(), (4, 0, 0));
    Ok(())
}

#[test]
fn store_has_the_hash_of_the_token_alone() -> TestResult {
    let scene = Scene::new();
    let token = scene.stored()?;
    let (key, data, _) = scene.row();
    assert_eq!(key.len(), 43);
    assert_ne!(key, token);
    assert!(!String::from_utf8_lossy(&data).contains(&token));

    let scene = Scene::new().with(|sessions| Ok(sessions.with_plain_tokens_in_store()));
    let token = scene.stored()?;
    assert_eq!(scene.row().0, token, "as a Go program without hashing has it");
    assert!(scene.sessions.load([&*token])?.contains("name"));
    Ok(())
}

#[test]
fn undecodable_data_starts_a_fresh_session_and_is_left_alone() -> TestResult {
    for bytes in [
        &b""[..],
        b"\xff\xfe\0",
        b"{}",
        br#"{"v":1,"deadline":"2026-06-02T12:00:00Z","values":{"name":"#,
        br#"{"v":2,"deadline":"2026-06-02T12:00:00Z","values":{"name":"Ada"}}"#,
    ] {
        let scene = Scene::new();
        let old = scene.stored()?;
        let (key, _, expiry) = scene.row();
        scene.store.commit(&key, bytes, expiry)?;

        let mut session = scene.sessions.load([&*old])?;
        assert!(session.is_empty());
        assert_eq!(session.token(), None);
        assert_eq!(scene.events(), [EventKind::Undecodable]);
        session.insert("name", "Grace")?;
        session.renew()?;
        let new = token(&session.finish()?).expect("it is new");
        assert_ne!(new, old);
        assert!(scene.sessions.load([&*new])?.contains("name"));
        assert_eq!(scene.store.find(&key)?.as_deref(), Some(bytes), "a newer version may read it");
        assert_eq!(scene.rows(), 2);
    }
    Ok(())
}

#[test]
fn session_whose_deadline_has_passed_is_over_though_the_store_has_it() -> TestResult {
    let scene = Scene::new();
    let old = scene.stored()?;
    let (key, data, expiry) = scene.row();
    scene.store.commit(&key, &data, expiry + TimeDelta::days(1))?;
    let row = scene.row();
    scene.clock.advance(TimeDelta::hours(24));
    let session = scene.sessions.load([&*old])?;
    assert!(session.is_empty());
    assert_eq!(scene.events(), [EventKind::Expired]);
    session.finish()?;
    scene.sessions.for_each(|_| panic!("it is in no walk"))?;
    assert_eq!(scene.row(), row, "the store's own cleanup removes it");
    Ok(())
}

#[test]
fn cookie_goes_with_the_browser_unless_it_is_to_remember() -> TestResult {
    let scene = Scene::new();
    let mut session = scene.sessions.load([])?;
    session.insert("name", "Ada")?;
    let headers = session.finish()?;
    let cookie = header(&headers, "Set-Cookie").expect("it is new");
    assert!(cookie.starts_with("__Host-session="), "{cookie}");
    for attribute in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Max-Age") && !cookie.contains("Domain"), "{cookie}");
    assert_eq!(header(&headers, "Cache-Control"), Some("no-store"));

    let token = token(&headers).expect("it is new");
    let mut session = scene.sessions.load([&*token])?;
    session.remember_me(true)?;
    let headers = session.finish()?;
    let cookie = header(&headers, "Set-Cookie").expect("it changes");
    assert!(cookie.contains(&token) && cookie.contains("Max-Age=86400"), "{cookie}");
    let mut session = scene.sessions.load([&*token])?;
    session.insert("visits", 2)?;
    assert_eq!(counting_store::token(&session.finish()?), None, "the browser knows already");
    let mut session = scene.sessions.load([&*token])?;
    session.remember_me(false)?;
    let headers = session.finish()?;
    let cookie = header(&headers, "Set-Cookie").expect("it changes");
    assert!(cookie.contains(&token) && !cookie.contains("Max-Age"), "{cookie}");
    Ok(())
}

#[test]
fn persistent_cookie_moves_with_the_idle_timeout() -> TestResult {
    let scene = Scene::new().with(|sessions| {
        sessions
            .with_cookie(CookiePolicy::new().persistent())?
            .with_idle_timeout(Duration::from_secs(600))
    });
    let token = scene.stored()?;
    scene.clock.advance(TimeDelta::seconds(30));
    assert_eq!(counting_store::token(&scene.sessions.load([&*token])?.finish()?), None);
    scene.clock.advance(TimeDelta::seconds(60));
    let headers = scene.sessions.load([&*token])?.finish()?;
    let cookie = header(&headers, "Set-Cookie").expect("the cookie would expire first");
    assert!(cookie.contains(&token) && cookie.contains("Max-Age=600"), "{cookie}");

    // So does that of a session which is to be remembered, though the others go with the browser.
    let scene = Scene::new().with(|sessions| sessions.with_idle_timeout(Duration::from_secs(600)));
    let mut session = scene.sessions.load([])?;
    session.remember_me(true)?;
    let token = counting_store::token(&session.finish()?).expect("it is new");
    scene.clock.advance(TimeDelta::seconds(90));
    let headers = scene.sessions.load([&*token])?.finish()?;
    let cookie = header(&headers, "Set-Cookie").expect("the cookie would expire first");
    assert!(cookie.contains(&token) && cookie.contains("Max-Age=600"), "{cookie}");
    Ok(())
}

#[test]
fn persistent_cookie_moves_with_the_deadline() -> TestResult {
    let scene =
        Scene::new().with(|sessions| sessions.with_cookie(CookiePolicy::new().persistent()));
    let token = scene.stored()?;
    // As where an identity provider says how long it vouches for the visitor.
    let mut session = scene.sessions.load([&*token])?;
    session.set_deadline(scene.clock.now() + TimeDelta::minutes(10));
    let headers = session.finish()?;
    let cookie = header(&headers, "Set-Cookie").expect("it ends earlier");
    assert!(cookie.contains(&token) && cookie.contains("Max-Age=600"), "{cookie}");

    let mut session = scene.sessions.load([&*token])?;
    session.reset_lifetime();
    assert_eq!(session.expiry(), scene.clock.now() + TimeDelta::hours(24));
    let headers = session.finish()?;
    let cookie = header(&headers, "Set-Cookie").expect("it ends later");
    assert!(cookie.contains(&token) && cookie.contains("Max-Age=86400"), "{cookie}");
    Ok(())
}

/// A codec of an application's own: JSON, under a cipher that would not withstand anybody.
#[derive(Debug)]
struct Secretly(u8);

impl Secretly {
    fn cipher(&self, data: &[u8]) -> Vec<u8> {
        data.iter().map(|byte| byte ^ self.0).collect()
    }
}

impl Codec for Secretly {
    fn decode(&self, data: &[u8]) -> Result<Decoded, CodecError> {
        Json.decode(&self.cipher(data))
    }

    fn encode(
        &self,
        deadline: DateTime<Utc>,
        values: &mut dyn Iterator<Item = (&str, &[u8])>,
    ) -> Result<Vec<u8>, CodecError> {
        // A value is enciphered wherever it is: in its place among the stored bytes, and when it is new.
        let values: Vec<_> = values.map(|(key, value)| (key, self.cipher(value))).collect();
        let mut plain = values.iter().map(|(key, value)| (*key, &**value));
        Ok(self.cipher(&Json.encode(deadline, &mut plain)?))
    }

    fn decode_value<T: DeserializeOwned>(&self, value: &[u8]) -> Result<T, CodecError> {
        Json.decode_value(&self.cipher(value))
    }

    fn encode_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        Ok(self.cipher(&Json.encode_value(value)?))
    }
}

#[test]
fn codec_of_an_application_can_encipher_what_the_store_has() -> TestResult {
    let scene = Scene::new();
    let sessions = |key| {
        SessionManager::new(Arc::clone(&scene.store))
            .with_clock(scene.clock.clone())
            .with_codec(Secretly(key))
    };
    let first = sessions(0x5a);
    let mut session = first.load([])?;
    session.insert("name", "Ada Lovelace")?;
    let token = token(&session.finish()?).expect("it is new");
    let (_, data, _) = scene.row();
    for plain in [&b"Ada Lovelace"[..], b"name", b"deadline"] {
        assert!(!data.windows(plain.len()).any(|window| window == plain));
    }

    let (mut one, mut other) = (first.load([&*token])?, first.load([&*token])?);
    one.insert("a", 1)?;
    other.insert("b", 2)?;
    one.finish()?;
    other.finish()?;
    let session = first.load([&*token])?;
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada Lovelace"));
    assert_eq!((session.get("a")?, session.get("b")?), (Some(1), Some(2)));
    assert!(sessions(0x33).load([&*token])?.is_empty(), "another key opens nothing");
    Ok(())
}

#[test]
fn merging_takes_over_values_and_ends_the_other() -> TestResult {
    let scene = Scene::new();
    let other = scene.stored()?;
    let mut session = scene.sessions.load([])?;
    session.insert("name", "before")?;
    session.insert("cart", 3)?;
    let own = token(&session.finish()?).expect("it is new");
    scene.clock.advance(TimeDelta::minutes(1));

    let mut session = scene.sessions.load([&*own])?;
    assert!(!session.merge("no token")?);
    assert!(!session.merge(&"A".repeat(43))?);
    assert!(session.merge(&own)?, "itself");
    assert!(session.merge(&other)?);
    assert!(session.merge(&other)?, "once is enough");
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    assert_eq!(scene.rows(), 2, "nothing is written before the end");
    session.finish()?;
    assert_eq!(scene.rows(), 1);
    let session = scene.sessions.load([&*own])?;
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    assert_eq!(session.get("cart")?, Some(3));
    assert!(scene.sessions.load([&*other])?.is_empty());
    Ok(())
}

#[test]
fn merged_session_is_given_back_where_its_values_cannot_be_written() -> TestResult {
    let scene = Scene::new();
    let other = scene.stored()?;
    let own = scene.stored()?;
    let mut session = scene.sessions.load([&*other])?;
    session.insert("theme", "dark")?;
    session.finish()?;
    let mut session = scene.sessions.load([&*own])?;
    session.insert("cart", 3)?;
    assert!(session.merge(&other)?);
    scene.store.fail(Failing::Update);
    assert!(session.finish().is_err());
    scene.store.fail(Failing::Nothing);
    assert!(scene.sessions.load([&*other])?.contains("name"));
    assert!(!scene.sessions.load([&*own])?.contains("cart"));

    let mut session = scene.sessions.load([&*own])?;
    assert!(session.merge(&other)?);
    let mut log_out = scene.sessions.load([&*own])?;
    log_out.destroy()?;
    log_out.finish()?;
    assert!(matches!(session.finish(), Err(Error::Superseded)));
    assert!(scene.sessions.load([&*other])?.contains("name"), "its values were not taken over");
    assert_eq!(scene.rows(), 1);
    Ok(())
}

#[test]
fn walk_shows_all_sessions_and_can_end_them() -> TestResult {
    let scene = Scene::new();
    let mut tokens = Vec::new();
    for n in 0..5 {
        let mut session = scene.sessions.load([])?;
        session.insert("n", n)?;
        tokens.push(token(&session.finish()?).expect("it is new"));
    }
    scene.store.commit("undecodable", b"?", scene.clock.now() + TimeDelta::hours(1))?;
    scene.events();
    let mut seen = Vec::new();
    let mut failure = None;
    scene.sessions.for_each(|session| {
        let mut look = || {
            let n: u32 = session.get("n")?.unwrap_or(99);
            assert_eq!(session.keys().collect::<Vec<_>>(), ["n"]);
            assert_eq!(session.deadline(), session.expiry());
            if n.is_multiple_of(2) {
                scene.sessions.destroy(session.key())?;
            }
            seen.push(n);
            Ok(())
        };
        failure = failure.take().or(look().err());
        ControlFlow::Continue(())
    })?;
    failure.map_or(Ok(()), |failure: Error| Err(failure))?;
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    assert_eq!(scene.events().iter().filter(|&&kind| kind == EventKind::Undecodable).count(), 1);
    for (n, token) in tokens.iter().enumerate() {
        assert_eq!(scene.sessions.load([&**token])?.is_empty(), n % 2 == 0, "session {n}");
    }
    Ok(())
}

#[test]
fn dropped_session_changes_nothing() -> TestResult {
    let scene = Scene::new();
    let token = scene.stored()?;
    let before = scene.row();
    let mut session = scene.sessions.load([&*token])?;
    session.insert("name", "Grace")?;
    session.renew()?;
    drop(session);
    assert_eq!(scene.row(), before);

    // A logout is carried out whatever becomes of the request.
    let mut session = scene.sessions.load([&*token])?;
    session.destroy()?;
    session.insert("name", "Grace")?;
    drop(session);
    assert_eq!(scene.rows(), 0);
    Ok(())
}

#[test]
fn faults_of_the_store_are_typed() -> TestResult {
    let scene = Scene::new();
    let token = scene.stored()?;
    scene.store.fail(Failing::Find);
    match scene.sessions.load([&*token]) {
        Err(error @ Error::Store(store_core::Error::Unreachable { .. })) => {
            assert!(error.is_retryable());
        }
        other => panic!("{other:?}"),
    }
    scene.store.fail(Failing::Create);
    let mut session = scene.sessions.load([])?;
    session.set_subject("7")?;
    assert!(matches!(session.finish(), Err(Error::Store(_))));
    assert_eq!(scene.rows(), 1, "a session that can't be tied isn't left behind");
    Ok(())
}

#[test]
fn lifetimes_out_of_range_are_refused() {
    for time in [Duration::ZERO, Duration::MAX, Duration::from_secs(101 * 366 * 86_400)] {
        let refused = Scene::new().sessions.with_lifetime(time);
        assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{time:?}");
        let refused = Scene::new().sessions.with_idle_timeout(time);
        assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{time:?}");
    }
}

#[cfg(feature = "messagepack")]
#[test]
fn sessions_can_be_messagepack() -> TestResult {
    let scene = Scene::new();
    let sessions = SessionManager::new(Arc::clone(&scene.store))
        .with_codec(session_manager::MessagePack)
        .with_clock(scene.clock.clone());
    let mut session = sessions.load([])?;
    session.insert("bytes", vec![0_u8, 255])?;
    session.insert("nan", f32::NAN)?;
    let token = token(&session.finish()?).expect("it is new");
    let (mut first, mut second) = (sessions.load([&*token])?, sessions.load([&*token])?);
    first.update("n", |n: Option<u8>| n.unwrap_or(0) + 1)?;
    second.update("n", |n: Option<u8>| n.unwrap_or(0) + 1)?;
    first.finish()?;
    second.finish()?;
    let session = sessions.load([&*token])?;
    assert_eq!(session.get("n")?, Some(2));
    assert_eq!(session.get("bytes")?, Some(vec![0_u8, 255]));
    assert!(session.get::<f32>("nan")?.is_some_and(f32::is_nan));
    Ok(())
}

/// Renews a session, and returns its new token.
fn renewed(sessions: &SessionManager, old: &str) -> Result<String, Error> {
    let mut session = sessions.load([old])?;
    session.renew()?;
    Ok(token(&session.finish()?).expect("it changes"))
}

#[test]
fn token_from_before_a_renewal_begins_anew_after_the_grace() -> TestResult {
    let scene = Scene::new();
    let old = scene.stored()?;
    let new = renewed(&scene.sessions, &old)?;
    scene.clock.advance(TimeDelta::seconds(29));
    let mut late = scene.sessions.load([&*old])?;
    late.insert("visits", 1)?;
    assert!(matches!(late.finish(), Err(Error::Superseded)));

    // Whoever still has the old token later has missed something.
    scene.clock.advance(TimeDelta::seconds(1));
    let mut later = scene.sessions.load([&*old])?;
    later.insert("visits", 1)?;
    assert!(token(&later.finish()?).is_some_and(|fresh| fresh != old && fresh != new));
    assert_eq!(scene.rows(), 2);
    Ok(())
}

#[test]
fn clock_that_goes_back_does_not_lengthen_the_grace() -> TestResult {
    let scene = Scene::new().with(|sessions| sessions.with_rotation(Duration::from_secs(60)));
    let old = scene.stored()?;
    scene.clock.advance(TimeDelta::seconds(60));
    let session = scene.sessions.load([&*old])?;
    assert!(token(&session.finish()?).is_some());
    assert!(scene.sessions.load([&*old])?.contains("name"), "it opens for the grace");
    scene.clock.advance(TimeDelta::hours(-1));
    assert!(scene.sessions.load([&*old])?.is_empty());
    Ok(())
}

#[test]
fn login_with_a_token_that_was_logged_out_a_moment_ago_is_one() -> TestResult {
    let scene = Scene::new();
    let old = scene.stored()?;
    let mut log_out = scene.sessions.load([&*old])?;
    log_out.destroy()?;
    log_out.finish()?;
    let mut session = scene.sessions.load([&*old])?;
    session.renew()?;
    session.insert("user_id", 7)?;
    assert_eq!(session.status(), Status::Modified);
    let new = token(&session.finish()?).expect("a session of its own");
    assert_eq!(scene.sessions.load([&*new])?.get("user_id")?, Some(7));
    Ok(())
}

#[test]
fn first_cookie_that_nobody_can_use_hides_no_good_second_one() -> TestResult {
    let scene = Scene::new();
    let bad = scene.stored()?;
    let (key, data, expiry) = scene.row();
    let newer = br#"{"v":2,"deadline":"2026-06-02T00:00:00Z","values":{}}"#;
    let mut overdue = data.clone();
    let year = overdue.windows(4).position(|bytes| bytes == b"2026").expect("the deadline");
    overdue[year..year + 4].copy_from_slice(b"2025");
    for unusable in [b"?".as_slice(), newer, &overdue] {
        scene.store.commit(&key, unusable, expiry)?;
        let good = scene.stored()?;
        for n in 1..4 {
            let mut session = scene.sessions.load([&*bad, &*good])?;
            let count = session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1)?;
            assert_eq!((count, session.get::<String>("name")?.as_deref()), (n, Some("Ada")));
            session.finish()?;
        }
        let mut session = scene.sessions.load([&*bad, &*good])?;
        session.destroy()?;
        session.finish()?;
        assert_eq!(scene.rows(), 0, "no row was added, and a logout ends what the browser named");
    }
    Ok(())
}

#[test]
fn another_user_begins_with_an_empty_session() -> TestResult {
    let scene = Scene::new().with(|sessions| Ok(sessions.with_kept_values(["language"])));
    let mut session = scene.sessions.load([])?;
    session.insert("cart", 3)?;
    let anonymous = token(&session.finish()?).expect("it is new");
    let mut session = scene.sessions.load([&*anonymous])?;
    session.set_subject("ada")?;
    session.insert("language", "fr")?;
    session.remember_me(true)?;
    let ada = token(&session.finish()?).expect("it changes");
    assert_eq!(scene.sessions.load([&*ada])?.get("cart")?, Some(3), "nobody's becomes somebody's");

    scene.clock.advance(TimeDelta::hours(20));
    let (mut session, mut clearing) =
        (scene.sessions.load([&*ada])?, scene.sessions.load([&*ada])?);
    session.flash("notice", "Welcome.")?;
    session.set_subject("grace")?;
    assert_eq!(session.keys().collect::<Vec<_>>(), ["language"]);
    session.insert("cart", 1)?;
    let headers = session.finish()?;
    let grace = token(&headers).expect("it changes");
    assert!(!header(&headers, "Set-Cookie").expect("it is new").contains("Max-Age"));
    let mut session = scene.sessions.load([&*grace])?;
    assert_eq!(session.keys().collect::<Vec<_>>(), ["language", "cart"]);
    assert_eq!(session.take_flash::<String>("notice")?.as_deref(), Some("Welcome."));
    assert_eq!(session.deadline(), scene.clock.now() + TimeDelta::hours(24));
    assert!(scene.sessions.sessions_of("ada")?.is_empty());

    // The request that came too late hears of it.
    clearing.clear_subject()?;
    assert!(matches!(clearing.finish(), Err(Error::Superseded)));
    let mut session = scene.sessions.load([&*grace])?;
    session.clear_subject()?;
    let nobody = token(&session.finish()?).expect("it changes");
    let session = scene.sessions.load([&*nobody])?;
    assert_eq!((session.keys().collect::<Vec<_>>(), session.subject()), (vec!["language"], None));
    assert!(scene.sessions.load([&*grace])?.is_empty());
    assert_eq!(scene.rows(), 1);
    Ok(())
}

#[test]
fn managers_with_different_cookies_share_a_store_and_nothing_else() -> TestResult {
    type Mode = fn(SessionManager) -> SessionManager;
    let modes: [Mode; 3] = [
        |sessions| sessions,
        SessionManager::with_plain_tokens_in_store,
        SessionManager::with_scs_hashed_tokens_in_store,
    ];
    for mode in modes {
        let store: Arc<dyn Store> = Arc::new(store_core::MemoryStore::new()?);
        let manager = |name: &str| {
            let cookie = CookiePolicy::new().with_name(name);
            mode(SessionManager::new(Arc::clone(&store))).with_cookie(cookie)
        };
        let (shop, office) = (manager("__Host-shop")?, manager("__Host-office")?);
        let log_in = |sessions: &SessionManager| {
            let mut session = sessions.load([])?;
            session.set_subject("7")?;
            Ok::<_, Error>(token(&session.finish()?).expect("it is new"))
        };
        let (customer, clerk) = (log_in(&shop)?, log_in(&office)?);

        // A customer's token in the other cookie opens nothing, and ends nothing.
        let mut session = office.load([&*customer])?;
        assert_eq!(session.subject(), None);
        assert!(!session.merge(&customer)?);
        session.destroy()?;
        session.finish()?;
        assert_eq!(shop.load([&*customer])?.subject().as_deref(), Some("7"));

        for sessions in [&shop, &office] {
            assert_eq!(sessions.sessions_of("7")?.len(), 1);
            let mut seen = 0;
            sessions.for_each(|_| {
                seen += 1;
                ControlFlow::Continue(())
            })?;
            assert_eq!(seen, 1);
        }
        assert_eq!(shop.destroy_all_of("7")?, 1);
        assert_eq!(office.load([&*clerk])?.subject().as_deref(), Some("7"));
    }
    Ok(())
}

#[test]
fn key_of_a_stored_session_is_no_cookie() -> TestResult {
    let store: Arc<dyn Store> = Arc::new(store_core::MemoryStore::new()?);
    let manager = || SessionManager::new(Arc::clone(&store));
    let managers = [
        manager(),
        manager().with_scs_hashed_tokens_in_store(),
        manager().with_plain_tokens_in_store(),
    ];
    for hashed in &managers[..2] {
        let mut session = hashed.load([])?;
        session.insert("name", "Ada")?;
        session.finish()?;
    }
    for (key, _) in store.all()? {
        for sessions in &managers {
            assert!(sessions.load([&*key])?.is_empty());
        }
    }
    Ok(())
}

#[test]
fn token_is_rotated_by_itself_and_requests_under_way_go_on() -> TestResult {
    let every = Duration::from_secs(15 * 60);
    let scene = Scene::new().with(|sessions| sessions.with_rotation(every));
    let old = scene.stored()?;
    scene.clock.advance(TimeDelta::minutes(15) - TimeDelta::seconds(1));
    assert_eq!(token(&scene.sessions.load([&*old])?.finish()?), None, "not yet");
    assert_eq!(scene.store.calls().take(), (1, 0, 0));

    // Reading is enough, and it is one write.
    scene.clock.advance(TimeDelta::seconds(1));
    let (mut first, mut second) = (scene.sessions.load([&*old])?, scene.sessions.load([&*old])?);
    let deadline = first.deadline();
    first.insert("a", 1)?;
    scene.store.calls().take();
    let new = token(&first.finish()?).expect("it is rotated");
    assert_eq!(scene.store.calls().take(), (0, 0, 1));
    assert_eq!(scene.events(), [EventKind::Renewed]);

    // One that had loaded it before, and one that comes with the old token, write under the new one.
    second.insert("b", 2)?;
    assert_eq!(
        second.finish()?,
        [("Vary", "Cookie".to_owned())],
        "the cookie is another response's"
    );
    let mut late = scene.sessions.load([&*old])?;
    assert_eq!((late.get("a")?, late.get("b")?), (Some(1), Some(2)));
    assert_eq!(late.token(), None, "which only the other response knows");
    late.insert("c", 3)?;
    assert_eq!(token(&late.finish()?), None);
    let session = scene.sessions.load([&*new])?;
    assert_eq!(session.keys().collect::<Vec<_>>(), ["name", "a", "b", "c"]);
    assert_eq!(session.deadline(), deadline);
    assert_eq!(scene.rows(), 1);

    // A change of rights has to come with the new token.
    let mut login = scene.sessions.load([&*old])?;
    login.set_subject("ada")?;
    assert!(matches!(login.finish(), Err(Error::Superseded)));
    let mut login = scene.sessions.load([&*new])?;
    login.set_subject("ada")?;
    let logged_in = token(&login.finish()?).expect("it changes");
    for closed in [&old, &new] {
        assert!(
            scene.sessions.load([&**closed])?.is_empty(),
            "what a login closes, it closes for all"
        );
    }

    // A logout may come with any.
    let mut log_out = scene.sessions.load([&*old])?;
    log_out.destroy()?;
    assert_eq!(token(&log_out.finish()?).as_deref(), Some(""));
    assert!(scene.sessions.load([&*logged_in])?.is_empty());
    assert_eq!(scene.rows(), 0);
    Ok(())
}

#[test]
fn token_that_was_rotated_by_itself_is_worth_nothing_after_the_grace() -> TestResult {
    let scene = Scene::new().with(|sessions| sessions.with_rotation(Duration::from_secs(60)));
    let old = scene.stored()?;
    scene.clock.advance(TimeDelta::minutes(1));
    let new = token(&scene.sessions.load([&*old])?.finish()?).expect("it is rotated");
    scene.clock.advance(TimeDelta::seconds(29));
    assert!(scene.sessions.load([&*old])?.contains("name"));
    scene.clock.advance(TimeDelta::seconds(1));
    assert!(scene.sessions.load([&*old])?.is_empty());
    assert!(scene.sessions.load([&*new])?.contains("name"));
    Ok(())
}

#[test]
fn sessions_of_a_user_are_one_read_however_many_there_are() -> TestResult {
    let scene = Scene::new();
    for n in 0..50 {
        let mut session = scene.sessions.load([])?;
        session.set_subject("ada")?;
        session.insert("n", n)?;
        session.finish()?;
    }
    scene.store.calls().take();
    assert_eq!(scene.sessions.sessions_of("ada")?.len(), 50);
    assert_eq!(scene.store.calls().take(), (0, 0, 0), "but for the one that finds them");
    assert_eq!(scene.store.calls().take_searches(), 1);
    Ok(())
}

#[test]
fn renewals_in_a_loop_leave_one_session_that_a_logout_ends_in_one_step() -> TestResult {
    let scene = Scene::new();
    let first = scene.stored()?;
    let mut newest = first.clone();
    for n in 0..50 {
        if n % 2 == 0 {
            scene.store.fail(Failing::Update);
            let mut session = scene.sessions.load([&*newest])?;
            session.renew()?;
            assert!(session.finish().is_err());
            scene.store.fail(Failing::Nothing);
        }
        newest = renewed(&scene.sessions, &newest)?;
    }
    assert_eq!(scene.rows(), 1);
    scene.store.calls().take();
    let mut log_out = scene.sessions.load([&*first])?;
    log_out.destroy()?;
    log_out.finish()?;
    assert_eq!(scene.store.calls().take(), (1, 0, 1));
    assert!(scene.sessions.load([&*newest])?.is_empty());
    Ok(())
}

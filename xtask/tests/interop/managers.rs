//! One visitor with one cookie, served by a Rust application and by a Go application in turn.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde_json::{Value, json};
use session_manager::{Header, Session, SessionManager};

use crate::places::Place;
use crate::sides::{Pair, Side, bytes};

test_everywhere! {
    go_reads_a_session_of_ours_and_leaves_its_values_alone,
    ours_reads_a_session_of_go_and_leaves_its_values_alone,
    both_set_the_same_cookie,
    counter_and_flash_values_go_back_and_forth,
    logout_on_one_side_is_logout_on_the_other,
    logout_in_go_is_not_undone_by_a_slower_request_to_ours,
    renewal_on_one_side_holds_on_the_other,
    ours_goes_over_to_hashes_from_the_plain_tokens_of_go,
}

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// A Rust and a Go application that share sessions, and the visitor's browser.
struct Site {
    sessions: SessionManager,
    pair: Pair,
    is_hashed: bool,
    /// The Cookie header.
    cookie: String,
    /// The last Set-Cookie header.
    set_cookie: String,
}

impl Site {
    fn new(place: Place, is_hashed: bool) -> Self {
        let pair = Pair::new(place);
        let sessions = SessionManager::new(Arc::clone(&pair.rust.0));
        let sessions = if is_hashed {
            sessions.with_scs_hashed_tokens_in_store()
        } else {
            sessions.with_plain_tokens_in_store()
        };
        Self { sessions, pair, is_hashed, cookie: String::new(), set_cookie: String::new() }
    }

    /// A request to the Rust application.
    fn rust<T>(
        &mut self,
        handler: impl FnOnce(&mut Session<'_>) -> Result<T, session_manager::Error>,
    ) -> Result<T, session_manager::Error> {
        let mut session = self.sessions.load_from_headers([self.cookie.as_bytes()])?;
        let answer = handler(&mut session)?;
        let headers = session.finish()?.headers;
        self.keep(&set_cookie(&headers));
        Ok(answer)
    }

    /// A request to the Go application; returns the session as its handler found it.
    fn go(&mut self, handler: &str) -> Value {
        let reply = self.pair.go.ask(json!({
            "Op": "serve", "Hashed": self.is_hashed, "Cookie": self.cookie, "Handler": handler,
        }));
        self.keep(reply["SetCookie"].as_str().unwrap_or_default());
        reply
    }

    fn keep(&mut self, set_cookie: &str) {
        if let Some((cookie, _)) = set_cookie.split_once(';') {
            cookie.clone_into(&mut self.cookie);
            set_cookie.clone_into(&mut self.set_cookie);
        }
    }

    fn token(&self) -> &str {
        self.cookie.split_once('=').map_or("", |(_, token)| token)
    }
}

fn set_cookie(headers: &[Header]) -> String {
    let set_cookie = headers.iter().find(|(name, _)| *name == "Set-Cookie");
    set_cookie.map(|(_, value)| value.clone()).unwrap_or_default()
}

/// Values that JSON could get wrong on the way.
fn values() -> Value {
    json!({
        "u64": u64::MAX,
        "i64": i64::MIN,
        "beyond doubles": 9_007_199_254_740_993_u64,
        "fraction": 0.1,
        "whole fraction": 1.0,
        "tiny": 1e-300,
        "text": "Grüße \u{0}\u{7f}\u{2028}\u{1f980} <b>&amp;</b> \"'\\ \r\n",
        "empty": "",
        "truth": true,
        "nothing": null,
        "list": [1, [2, {"three": []}]],
        "map": {"z": 1, "a": {"<": ">"}, "": {}},
        "key with \"quotes\", <tags> and \u{2028}": 1,
    })
}

fn insert_values(session: &mut Session<'_>) -> Result<(), session_manager::Error> {
    for (key, value) in values().as_object().expect("a map") {
        session.insert(key, value)?;
    }
    Ok(())
}

fn read_values(session: &Session<'_>) -> Result<Value, session_manager::Error> {
    let mut read = BTreeMap::new();
    for key in session.keys().filter(|key| !key.starts_with("go ")) {
        read.insert(key.to_owned(), session.get::<Value>(key)?);
    }
    Ok(json!(read))
}

fn deadline(reply: &Value) -> DateTime<Utc> {
    reply["Deadline"].as_str().and_then(|text| text.parse().ok()).expect("an instant")
}

fn both_modes(place: Place, test: impl Fn(Site) -> TestResult) -> TestResult {
    test(Site::new(place, true))?;
    test(Site::new(place, false))
}

fn go_reads_a_session_of_ours_and_leaves_its_values_alone(place: Place) -> TestResult {
    both_modes(place, |mut site| {
        let end = site.rust(|session| {
            insert_values(session)?;
            session.set_subject("user 7")?;
            Ok(session.deadline())
        })?;
        assert_eq!(site.pair.rust.find(site.token()).is_some(), !site.is_hashed);

        let mut seen = site.go("put");
        assert_eq!(deadline(&seen), end.trunc_subsecs(6));
        let mut take = |key| seen["Values"].as_object_mut().and_then(|seen| seen.remove(key));
        assert_eq!(take("__subject"), Some("user 7".into()));
        let mark = if site.is_hashed { "scs:__Host-session" } else { "plain:__Host-session" };
        assert_eq!(take("__manager"), Some(mark.into()));
        for time in ["__created", "__authenticated"] {
            assert!(take(time).is_some_and(|time| time.is_i64()), "{time}: seconds");
        }
        assert_eq!(seen["Values"], values());
        assert!(site.set_cookie.contains("Max-Age="), "Go's RememberMe");

        site.rust(|session| {
            assert_eq!(read_values(session)?, values());
            assert_eq!(session.get("u64")?, Some(u64::MAX));
            assert_eq!(session.get("whole fraction")?, Some(1.0));
            assert_eq!(session.get::<Option<u8>>("nothing")?, Some(None));
            assert_eq!(session.get("go int")?, Some(42_u8));
            assert_eq!(session.get("go float")?, Some(2.5));
            assert_eq!(
                session.get::<String>("go text")?.as_deref(),
                Some("Grüße\0 <b>&\"\u{2028}")
            );
            assert_eq!(session.get("go bytes")?.map(|value| bytes(&value)), Some(vec![0, 255]));
            let time: Option<String> = session.get("go time")?;
            assert_eq!(time.as_deref(), Some("2026-11-21T15:30:00.123456Z"));
            assert_eq!(session.get("go list")?, Some(["a".to_owned(), "b".to_owned()]));
            assert_eq!(session.get::<Option<u8>>("go nothing")?, Some(None));
            assert_eq!(session.deadline(), end.trunc_subsecs(6));
            assert_eq!(session.subject().as_deref(), Some("user 7"));
            session.renew()
        })?;
        assert!(site.set_cookie.contains("Max-Age="), "ours goes on with Go's RememberMe");
        assert_eq!(site.sessions.sessions_of("user 7")?.len(), 1, "Go's commit keeps the subject");
        Ok(())
    })
}

fn ours_reads_a_session_of_go_and_leaves_its_values_alone(place: Place) -> TestResult {
    both_modes(place, |mut site| {
        let end = deadline(&site.go("put"));
        let before = site.go("look")["Values"].clone();
        assert_eq!(before["__rememberMe"], true);
        let our_end = site.rust(|session| {
            insert_values(session)?;
            session.remember_me(false)?;
            Ok(session.deadline())
        })?;
        assert_eq!(our_end, end.trunc_subsecs(6));
        assert!(!site.set_cookie.contains("Max-Age="), "{}", site.set_cookie);

        let after = site.go("look");
        assert_eq!(deadline(&after), our_end);
        assert_eq!(after["Values"]["__rememberMe"], false);
        for (key, value) in before.as_object().into_iter().flatten() {
            let is_changed = key == "__rememberMe";
            assert!(is_changed || after["Values"][key] == *value, "{key}");
        }
        for (key, value) in values().as_object().into_iter().flatten() {
            assert_eq!(after["Values"][key], *value, "{key}");
        }
        Ok(())
    })
}

fn both_set_the_same_cookie(place: Place) -> TestResult {
    both_modes(place, |mut site| {
        let attributes = |set_cookie: &str| {
            let mut parts: Vec<_> = set_cookie.split("; ").skip(1).map(str::to_owned).collect();
            parts.sort_unstable();
            parts
        };
        site.rust(|session| session.insert("key", "value"))?;
        let ours = attributes(&site.set_cookie);
        site.go("renew");
        assert_eq!(attributes(&site.set_cookie), ours);
        Ok(())
    })
}

fn counter_and_flash_values_go_back_and_forth(place: Place) -> TestResult {
    both_modes(place, |mut site| {
        site.rust(|session| {
            session.insert("visits", 0)?;
            session.flash("to Go", "Saved.")
        })?;
        site.go("flash");
        for _ in 0..10 {
            site.go("count");
            site.rust(|session| session.update("visits", |n: Option<u32>| n.unwrap_or(0) + 1))?;
        }
        site.rust(|session| {
            assert_eq!(session.get("visits")?, Some(20));
            assert_eq!(session.take_flash::<String>("to Go")?, None);
            assert_eq!(session.take_flash::<String>("to Rust")?.as_deref(), Some("Sent."));
            Ok(())
        })?;
        assert!(site.go("look")["Values"]["__flash.to Rust"].is_null());
        Ok(())
    })
}

fn logout_on_one_side_is_logout_on_the_other(place: Place) -> TestResult {
    both_modes(place, |mut site| {
        site.rust(|session| session.insert("user", 7))?;
        let cookie = site.cookie.clone();
        site.go("destroy");
        assert_eq!(site.token(), "", "Go takes the cookie away");
        site.cookie.clone_from(&cookie);
        site.rust(|session| {
            assert!(session.is_empty());
            Ok(())
        })?;

        site.cookie.clear();
        site.go("put");
        let cookie = site.cookie.clone();
        site.rust(|session| {
            session.destroy()?;
            Ok(())
        })?;
        assert_eq!(site.token(), "", "ours takes the cookie away");
        site.cookie.clone_from(&cookie);
        assert_eq!(site.go("look")["Values"], json!({}));
        assert_eq!(site.pair.go.rows(), 0);
        Ok(())
    })
}

fn logout_in_go_is_not_undone_by_a_slower_request_to_ours(place: Place) -> TestResult {
    both_modes(place, |mut site| {
        site.rust(|session| session.insert("user", 7))?;
        let cookie = site.cookie.clone();
        let (sessions, pair) = (&site.sessions, &site.pair);
        let mut slow = sessions.load_from_headers([cookie.as_bytes()])?;
        slow.insert("cart", "book")?;
        pair.go.ask(json!({
            "Op": "serve", "Hashed": site.is_hashed, "Cookie": cookie, "Handler": "destroy",
        }));
        assert!(matches!(slow.finish(), Err(session_manager::Error::Superseded)));
        assert_eq!(pair.go.rows(), 0);
        Ok(())
    })
}

fn renewal_on_one_side_holds_on_the_other(place: Place) -> TestResult {
    both_modes(place, |mut site| {
        let end = site.rust(|session| {
            session.insert("user", 7)?;
            session.set_deadline(Utc::now() + TimeDelta::hours(1));
            session.set_subject("user 7")?;
            Ok(session.deadline())
        })?;
        let old = site.cookie.clone();
        site.rust(|session| {
            session.renew()?;
            session.insert("rights", "admin")
        })?;
        let new = std::mem::replace(&mut site.cookie, old.clone());
        assert_eq!(site.go("look")["Values"], json!({}), "the old token is worth nothing");
        site.cookie = new;
        let seen = site.go("renew");
        assert_eq!(seen["Values"]["user"], 7);
        assert_eq!(deadline(&seen), end.trunc_subsecs(6), "ours keeps the deadline");

        let new_end = site.rust(|session| {
            assert_eq!(session.get("user")?, Some(7));
            Ok(session.deadline())
        })?;
        assert!(new_end > end + TimeDelta::hours(22), "Go's RenewToken begins the lifetime again");

        // What the guide session-manager/docs/from-scs.md says of the index of subjects.
        assert!(site.sessions.sessions_of("user 7")?.is_empty(), "Go knows nothing of the index");
        let mut found = 0;
        site.sessions.for_each(|session| {
            found += u32::from(session.subject().as_deref() == Some("user 7"));
            ControlFlow::Continue(())
        })?;
        assert_eq!(found, 1, "a walk finds it");
        site.rust(|session| {
            session.renew()?;
            Ok(())
        })?;
        assert_eq!(
            site.sessions.sessions_of("user 7")?.len(),
            1,
            "a renewal in Rust brings it back"
        );
        Ok(())
    })
}

/// A Go request that was under way writes its plain row again, as an upsert does; the guide has
/// applications stop the Go program before. The visitor doesn't notice, and logs out of both.
fn ours_goes_over_to_hashes_from_the_plain_tokens_of_go(place: Place) -> TestResult {
    for is_slow in [false, true] {
        let mut site = Site::new(place, false);
        site.go("put");
        let cookie = site.cookie.clone();
        let token = site.token().to_owned();
        let store = Arc::clone(&site.pair.rust.0);
        assert!(store.find(&token)?.is_some(), "Go keeps the token itself");

        site.sessions = SessionManager::new(store).with_hashed_tokens_and_plain_fallback();
        let (sessions, pair) = (&site.sessions, &site.pair);
        thread::scope(|scope| {
            let slow = is_slow.then(|| {
                let request = json!({"Op": "serve", "Cookie": cookie, "Handler": "slow"});
                let slow = scope.spawn(|| pair.go.ask(request));
                pair.go.ask(json!({"Op": "go on"}));
                slow
            });
            let mut session = sessions.load_from_headers([cookie.as_bytes()])?;
            assert_eq!(session.get("go int")?, Some(42));
            session.insert("user", 7)?;
            assert_eq!(set_cookie(&session.finish()?.headers), "", "the browser keeps its cookie");
            assert_eq!(pair.go.find(&token), None, "Go doesn't find it anymore");
            assert_eq!(pair.go.rows(), 1, "it was moved");
            if let Some(slow) = slow {
                pair.go.ask(json!({"Op": "go on"}));
                slow.join().expect("Go answers");
                assert_eq!(pair.go.rows(), 2);
            }
            Ok::<_, Box<dyn std::error::Error>>(())
        })?;
        if !is_slow {
            assert_eq!(site.go("look")["Values"], json!({}));
        }
        assert_eq!(site.cookie, cookie);
        site.rust(|session| {
            assert_eq!(session.get("go int")?, Some(42));
            assert_eq!(session.get("user")?, Some(7));
            assert!(!session.contains("slow"), "Go's late row isn't the session");
            session.destroy()
        })?;
        assert_eq!(site.token(), "");
        assert_eq!(site.pair.go.rows(), 0, "neither row is left");
        site.cookie.clone_from(&cookie);
        assert_eq!(site.go("look")["Values"], json!({}));
        site.rust(|session| {
            assert!(session.is_empty());
            Ok(())
        })?;
    }
    Ok(())
}

//! With oxhttp.

use serde_json::{Value, json};

use super::{Browser, Example, Reply, TestResult};

/// A script of the application's pages.
impl Browser<'_> {
    /// The status and the JSON of the response.
    fn call(&mut self, method: &str, path: &str, body: &Value) -> TestResult<(u16, Value)> {
        let reply = match body {
            Value::Null => self.send(method, path, &[], ())?,
            body => {
                let content_type = ("Content-Type", "application/json");
                self.send(method, path, &[content_type], body.to_string())?
            }
        };
        assert_eq!(reply.header("Cache-Control"), "no-store", "{reply:?}");
        Ok((reply.status, json_of(&reply)?))
    }

    fn log_in(&mut self, user: &str, password: &str) -> TestResult<(u16, Value)> {
        self.call("POST", "login", &json!({ "user": user, "password": password }))
    }

    fn me(&mut self) -> TestResult<(u16, Value)> {
        self.call("GET", "me", &Value::Null)
    }

    fn change_password(&mut self, passwords: &Value) -> TestResult<u16> {
        Ok(self.call("POST", "password", passwords)?.0)
    }
}

fn json_of(reply: &Reply) -> TestResult<Value> {
    if reply.body.is_empty() {
        return Ok(Value::Null);
    }
    assert_eq!(reply.header("Content-Type"), "application/json", "{reply:?}");
    Ok(serde_json::from_str(&reply.body)?)
}

fn refusal(status: u16, why: &str) -> (u16, Value) {
    (status, json!({ "error": why }))
}

fn ada(role: &str) -> (u16, Value) {
    (200, json!({ "user": "ada", "role": role }))
}

const DONE: (u16, Value) = (204, Value::Null);

#[test]
fn api_logs_in_and_out_and_refuses_in_json() -> TestResult {
    let example = Example::start("api", &[])?;
    let mut browser = Browser::new(&example, "laptop");
    for path in ["me", "sessions"] {
        let reply = browser.get(path)?;
        assert_eq!((reply.status, json_of(&reply)?), refusal(401, "log in first"), "{path}");
        assert_eq!(reply.header("WWW-Authenticate"), "Session", "{path}");
    }
    assert_eq!(browser.log_in("ada", "secret")?, refusal(401, "wrong name or password"));
    assert_eq!(browser.log_in("eve", "secret")?, refusal(401, "wrong name or password"));
    let not_expected = refusal(400, "the body isn't what is expected");
    assert_eq!(browser.call("POST", "login", &json!({ "user": "ada" }))?, not_expected);
    assert_eq!(browser.call("POST", "login", &Value::Null)?, not_expected);
    let right = json!({ "user": "ada", "password": "engine" }).to_string();
    let forged = browser.send("POST", "login", &[("Sec-Fetch-Site", "cross-site")], right)?;
    let other_site = refusal(403, "This request came from another site.");
    assert_eq!((forged.status, json_of(&forged)?), other_site);
    assert_eq!(browser.set_cookie, "", "none of these is a session");

    assert_eq!(browser.log_in("ada", "engine")?, ada("editor"));
    assert_eq!(browser.me()?, ada("editor"));
    let head = browser.send("HEAD", "me", &[], ())?;
    assert_eq!((head.status, &*head.body), (200, ""));
    let before = browser.cookie.clone();
    assert_eq!(browser.log_in("ada", "engine")?, ada("editor"));
    assert_ne!(browser.cookie, before, "each login is one");

    let mut kept = browser.clone();
    assert_eq!(browser.call("POST", "logout", &Value::Null)?, DONE);
    assert!(browser.set_cookie.contains("Max-Age=0"), "{}", browser.set_cookie);
    for browser in [&mut browser, &mut kept] {
        assert_eq!(browser.me()?, refusal(401, "log in first"));
    }

    example.expect_heads_without_bodies(&["me", "nowhere", "logout"])?;
    for (method, path, status, allow) in [
        ("GET", "nowhere", 404, ""),
        ("HEAD", "nowhere", 404, ""),
        ("GET", "logout", 405, "POST"),
        ("PUT", "me", 405, "GET, HEAD"),
        ("POST", "sessions", 405, "GET, HEAD, DELETE"),
        ("GET", "sessions/1", 405, "DELETE"),
        ("DELETE", "users/ada/role", 405, "PUT"),
    ] {
        let reply = browser.send(method, path, &[], ())?;
        assert_eq!((reply.status, reply.header("Allow")), (status, allow), "{method} /{path}");
        json_of(&reply)?;
    }
    Ok(())
}

#[test]
fn api_ends_one_device_or_all_others() -> TestResult {
    let example = Example::start("api", &[])?;
    let [mut laptop, mut phone, mut tablet] =
        ["laptop", "telephone", "tablet"].map(|name| Browser::new(&example, name));
    for browser in [&mut laptop, &mut phone, &mut tablet] {
        assert_eq!(browser.log_in("ada", "engine")?, ada("editor"));
    }
    let mut other = Browser::new(&example, "console");
    other.log_in("root", "secret")?;

    let (_, listed) = phone.call("GET", "sessions", &Value::Null)?;
    let listed = listed.as_array().cloned().unwrap_or_default();
    let id_of = |name: &str| {
        let found = listed.iter().find(|session| session["user_agent"] == name);
        let id = found.and_then(|session| session["id"].as_str());
        format!("sessions/{}", id.expect("it is listed"))
    };
    assert_eq!(listed.len(), 3);
    for session in &listed {
        assert_eq!(session["is_this"], session["user_agent"] == "telephone", "{session}");
        assert!(session["last_used"].is_string(), "{session}");
    }

    // Only its user ends it, by its id, and once.
    let lost = id_of("telephone");
    let no_such = refusal(404, "there is no such thing");
    assert_eq!(other.call("DELETE", &lost, &Value::Null)?, no_such);
    assert_eq!(laptop.call("DELETE", "sessions/telephone", &Value::Null)?, no_such);
    assert_eq!(phone.me()?, ada("editor"));
    assert_eq!(laptop.call("DELETE", &lost, &Value::Null)?, DONE);
    assert_eq!(phone.me()?, refusal(401, "log in first"));
    assert_eq!(laptop.call("DELETE", &lost, &Value::Null)?, no_such);

    assert_eq!(laptop.call("DELETE", "sessions", &Value::Null)?, DONE);
    assert_eq!(tablet.me()?, refusal(401, "log in first"));
    assert_eq!(laptop.me()?, ada("editor"));
    assert_eq!(other.me()?.0, 200, "it is another user's");

    // Her own is a logout.
    assert_eq!(laptop.call("DELETE", &id_of("laptop"), &Value::Null)?, DONE);
    assert!(laptop.set_cookie.contains("Max-Age=0"), "{}", laptop.set_cookie);
    Ok(())
}

#[test]
fn api_changes_a_role_in_all_sessions_at_once() -> TestResult {
    let example = Example::start("api", &[])?;
    let [mut laptop, mut phone, mut root] =
        ["laptop", "telephone", "console"].map(|name| Browser::new(&example, name));
    let role = "users/ada/role";
    assert_eq!(laptop.call("PUT", role, &json!("reader"))?, refusal(401, "log in first"));
    laptop.log_in("ada", "engine")?;
    phone.log_in("ada", "engine")?;
    root.log_in("root", "secret")?;

    let refused = refusal(403, "only administrators may do that");
    assert_eq!(laptop.call("PUT", role, &json!("administrator"))?, refused);
    assert_eq!(laptop.me()?, ada("editor"));
    assert_eq!(root.call("PUT", role, &json!("reader"))?, (200, json!({ "sessions": 2 })));
    assert_eq!(laptop.me()?, ada("reader"));
    assert_eq!(phone.me()?, ada("reader"));
    assert_eq!(Browser::new(&example, "tablet").log_in("ada", "engine")?, ada("reader"));

    assert_eq!(root.call("PUT", role, &json!("king"))?.0, 400);
    assert_eq!(root.call("PUT", "users/eve/role", &json!("reader"))?.0, 404);
    // Rights that are given hold at once, and rights that are taken, too.
    assert_eq!(root.call("PUT", role, &json!("administrator"))?.0, 200);
    assert_eq!(phone.call("PUT", "users/root/role", &json!("reader"))?.0, 200);
    assert_eq!(root.call("PUT", role, &json!("reader"))?, refused);
    Ok(())
}

#[test]
fn api_asks_who_is_there_before_it_changes_a_password() -> TestResult {
    // No login is proof enough.
    let example = Example::start("api", &["0"])?;
    let [mut laptop, mut phone] = ["laptop", "telephone"].map(|name| Browser::new(&example, name));
    let new = json!({ "new": "loom" });
    assert_eq!(laptop.change_password(&new)?, 401);
    laptop.log_in("ada", "engine")?;
    phone.log_in("ada", "engine")?;
    assert_eq!(laptop.change_password(&new)?, 403);
    assert_eq!(laptop.change_password(&json!({ "current": "secret", "new": "loom" }))?, 403);
    assert_eq!(phone.me()?, ada("editor"));
    let before = laptop.clone();
    assert_eq!(laptop.change_password(&json!({ "current": "engine", "new": "loom" }))?, 204);
    for mut out in [phone.clone(), before] {
        assert_eq!(out.me()?.0, 401);
    }
    assert_eq!(laptop.me()?, ada("editor"));
    assert_eq!(phone.log_in("ada", "engine")?.0, 401);
    assert_eq!(phone.log_in("ada", "loom")?, ada("editor"));

    // A login of the last ten minutes is.
    let example = Example::start("api", &[])?;
    let mut browser = Browser::new(&example, "laptop");
    browser.log_in("ada", "engine")?;
    assert_eq!(browser.change_password(&json!({ "current": "secret", "new": "loom" }))?, 403);
    assert_eq!(browser.change_password(&new)?, 204);
    assert_eq!(browser.me()?, ada("editor"));
    Ok(())
}

//! `device_bound`, as far as it can be seen without a browser that binds; `cargo xtask browser` has
//! one.

use crate::{Browser, Example, TestResult};

#[test]
fn login_asks_the_browser_to_bind_and_goes_on_without() -> TestResult {
    let example = Example::start("device_bound", &[])?;
    let mut browser = Browser::new(&example, "one");
    assert!(browser.get("")?.body.contains("<h1 id=\"state\">logged out</h1>"));
    let login = browser.send("POST", "login", &[], "")?;
    assert_eq!(login.status, 303);
    let registration = login.header("Secure-Session-Registration");
    assert!(registration.starts_with("(ES256);path=\"/device-session\";challenge=\""));
    assert!(browser.get("")?.body.contains("<h1 id=\"state\">not bound</h1>"));
    Ok(())
}

#[test]
fn device_endpoint_answers_as_browsers_need_it() -> TestResult {
    let example = Example::start("device_bound", &[])?;
    let mut browser = Browser::new(&example, "one");
    browser.send("POST", "login", &[], "")?;
    let refused = browser.send("POST", "device-session", &[], "")?;
    assert_eq!((refused.status, refused.header("Set-Cookie")), (403, ""));
    let unknown = [("Sec-Secure-Session-Id", "\"unknown\"")];
    let ended = browser.send("POST", "device-session", &unknown, "")?;
    assert_eq!((ended.status, ended.header("Content-Type")), (200, "application/json"));
    assert_eq!(ended.body, r#"{"continue":false,"session_identifier":"unknown"}"#);
    assert_eq!(browser.get("device-session")?.status, 405);
    assert_eq!(browser.send("POST", "logout", &[], "")?.status, 303);
    assert!(browser.get("")?.body.contains("logged out"));
    Ok(())
}

//! What an application's own tests are made with: one line for a request, one for its session.

use http::header::COOKIE;
use rouille::{Request, Response};
use session_manager::testing::Browser;
use session_manager::{BoxError, CookiePolicy, SessionManager};
use store_core::MemoryStore;

type TestResult = Result<(), BoxError>;

fn by_rouille(sessions: &SessionManager, request: &Request) -> Response {
    sessions.rouille(request, |session| {
        if request.url() == "/logout" {
            session.destroy()?;
        } else {
            session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
        }
        Ok(Response::text("").with_additional_header("Set-Cookie", "theme=dark"))
    })
}

fn by_http(sessions: &SessionManager, mut request: http::Request<()>) -> http::Response<String> {
    sessions.http(&mut request, |_, session| {
        session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
        session.renew()?;
        Ok(http::Response::new(String::new()))
    })
}

#[test]
fn request_and_session_take_a_line_each() -> TestResult {
    let sessions = SessionManager::new(MemoryStore::new()?)
        .with_cookie(CookiePolicy::new().with_name("__Host-shop").persistent())?;
    let mut browser = Browser::new(&sessions).with(|session| session.set_subject("ada"))?;

    let request = Request::fake_http("GET", "/", browser.headers(), vec![]);
    let session = browser.receive(&by_rouille(&sessions, &request)).session()?;
    assert_eq!((session.get("visits")?, session.subject().as_deref()), (Some(1), Some("ada")));

    let before = browser.cookie();
    let request = http::Request::get("/").header(COOKIE, browser.cookie()).body(())?;
    let session = browser.receive(&by_http(&sessions, request)).session()?;
    assert_eq!((session.get("visits")?, session.subject().as_deref()), (Some(2), Some("ada")));
    assert_ne!(browser.cookie(), before, "the new one");
    assert!(!format!("{browser:?}").contains(&browser.cookie()));
    Ok(())
}

#[test]
fn browser_without_a_cookie_begins_a_session() -> TestResult {
    let sessions = SessionManager::new(MemoryStore::new()?);
    let mut browser = Browser::new(&sessions);
    let request = http::Request::get("/").header(COOKIE, browser.cookie()).body(())?;
    assert_eq!(browser.receive(&by_http(&sessions, request)).session()?.get("visits")?, Some(1));

    let mut other = Browser::new(&sessions);
    let request = Request::fake_http("GET", "/", other.headers(), vec![]);
    assert_eq!(other.receive(&by_rouille(&sessions, &request)).session()?.get("visits")?, Some(1));
    assert_ne!(other.cookie(), browser.cookie());
    Ok(())
}

#[test]
fn browser_forgets_the_cookie_that_a_logout_takes_away() -> TestResult {
    let sessions = SessionManager::new(MemoryStore::new()?);
    let mut browser = Browser::new(&sessions).with(|session| session.set_subject("ada"))?;
    let before = browser.cookie();
    let request = Request::fake_http("GET", "/logout", browser.headers(), vec![]);
    assert_eq!(browser.receive(&by_rouille(&sessions, &request)).cookie(), "");
    assert!(!before.is_empty());
    assert!(browser.session()?.is_empty());

    // As in a browser, the last cookie of a name counts.
    let headers = |values: [&str; 2]| values.map(|value| ("Set-Cookie", value.to_owned()));
    browser.receive(&headers(["__Host-session=; Max-Age=0", &before])[..]);
    assert_eq!(browser.cookie(), before);
    browser.receive(&headers([&before, "__Host-session=; Max-Age=0"])[..]);
    assert_eq!(browser.cookie(), "");

    // What goes on with the session changes it as another request would.
    let browser = browser.with(|session| session.insert("visits", 7))?;
    assert_eq!(browser.session()?.get("visits")?, Some(7));
    let browser = browser.with(|session| session.insert("name", "Ada"))?;
    assert_eq!(browser.session()?.get("visits")?, Some(7));
    Ok(())
}

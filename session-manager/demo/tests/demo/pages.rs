//! The pages and forms, on SQLite: through a crash, and a thousand requests at once.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::TestResult;
use crate::browser::Browser;
use crate::process::Demo;

pub(crate) fn start(database: &Path) -> TestResult<Demo> {
    Demo::start("sqlite", database)
}

#[test]
fn sessions_go_on_after_kill_9_and_a_restart() -> TestResult {
    let directory = tempfile::tempdir()?;
    let database = directory.path().join("demo.db");
    let mut browser = Browser::new();

    let demo = start(&database)?;
    let first = browser.get(&demo, "/")?;
    assert_eq!((first.status, first.visits()), (200, 1));
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(first.set_cookie.contains(attribute), "{}", first.set_cookie);
    }
    assert!(!first.set_cookie.contains("Max-Age"), "it ends with the browser");
    assert_eq!(first.cache_control, "no-store");
    browser.post(&demo, "/note", &[("note", "<b>milk & \"eggs\"</b>")])?;
    browser.log_in(&demo, "Ada <i>")?;
    assert_eq!(browser.get(&demo, "/")?.visits(), 2);
    demo.kill()?;

    let demo = start(&database)?;
    let page = browser.get(&demo, "/")?;
    assert_eq!(page.visits(), 3);
    assert_eq!(page.user(), Some("Ada &lt;i&gt;"));
    assert_eq!(page.note(), Some("&lt;b&gt;milk &amp; &quot;eggs&quot;&lt;/b&gt;"));
    assert_eq!(Browser::new().get(&demo, "/")?.visits(), 1, "another browser, another session");
    Ok(())
}

#[test]
fn log_in_renews_and_log_out_is_final() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    browser.get(&demo, "/")?;
    let before = browser.clone();
    assert_eq!(browser.get(&demo, "/private")?.location, "/", "not without a login");

    browser.log_in(&demo, "Ada")?;
    assert_ne!(browser.cookie, before.cookie, "the token changes with the rights");
    let logged_in = browser.clone();
    assert_eq!(browser.get(&demo, "/")?.user(), Some("Ada"));
    let private = browser.get(&demo, "/private")?;
    assert_eq!((private.user(), &*private.cache_control), (Some("Ada"), "no-store"));
    let mut fixated = before.clone();
    assert_eq!(fixated.get(&demo, "/")?.user(), None, "the old token is dead");
    assert_eq!(fixated.get(&demo, "/private")?.status, 303, "and stays it");

    browser.post(&demo, "/logout", &[])?;
    assert_ne!(browser.cookie, logged_in.cookie, "the message is in a session of its own");
    let page = browser.get(&demo, "/")?;
    assert_eq!((page.user(), page.flash()), (None, Some("Logged out.")));
    assert_eq!(logged_in.clone().get(&demo, "/")?.user(), None, "it is destroyed");
    assert_eq!(logged_in.clone().get(&demo, "/private")?.status, 303);
    assert_eq!(browser.get(&demo, "/nowhere")?.status, 404);
    Ok(())
}

#[test]
fn next_person_at_the_same_browser_does_not_get_the_notes() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    browser.post(&demo, "/note", &[("note", "mine")])?;
    browser.log_in(&demo, "Ada")?;
    assert_eq!(browser.get(&demo, "/")?.note(), Some("mine"));
    browser.log_in(&demo, "Grace")?;
    let page = browser.get(&demo, "/")?;
    assert_eq!((page.user(), page.note()), (Some("Grace"), None));
    Ok(())
}

#[test]
fn kept_log_in_has_a_cookie_that_outlives_the_browser() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    let kept = browser.post(&demo, "/login", &[("user", "Ada"), ("remember", "on")])?.set_cookie;
    let seconds = kept.split("Max-Age=").nth(1).and_then(|rest| rest.split(';').next());
    let days =
        seconds.and_then(|seconds| seconds.parse::<u32>().ok()).map(|seconds| seconds / 86_400);
    assert!(matches!(days, Some(29 | 30)), "{kept}");
    let plain = browser.post(&demo, "/login", &[("user", "Ada")])?.set_cookie;
    assert!(!plain.is_empty() && !plain.contains("Max-Age"), "{plain}");
    Ok(())
}

#[test]
fn message_is_shown_once() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    assert_eq!(browser.get(&demo, "/")?.flash(), None);
    browser.post(&demo, "/note", &[("note", "milk")])?;
    assert_eq!(browser.get(&demo, "/")?.flash(), Some("Saved."));
    assert_eq!(browser.get(&demo, "/")?.flash(), None);
    browser.log_in(&demo, "Ada")?;
    assert_eq!(browser.get(&demo, "/")?.flash(), Some("Logged in."));
    assert_eq!(browser.get(&demo, "/")?.flash(), None);
    Ok(())
}

#[test]
fn other_sessions_of_a_user_can_be_listed_and_ended() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let mut here = Browser::new();
    let mut phone = Browser::named("Mozilla/5.0 (iPhone; CPU iPhone OS 18_5) Safari/604.1");
    let mut tablet = Browser::named("Mozilla/5.0 (Linux; Android 15) Chrome/137.0.0.0 Safari/537");
    let mut stranger = Browser::new();
    for browser in [&mut here, &mut phone, &mut tablet] {
        browser.log_in(&demo, "Ada")?;
    }
    stranger.log_in(&demo, "Grace")?;

    let page = here.get(&demo, "/")?;
    let sessions = page.sessions();
    assert_eq!(sessions.len(), 3, "{}", page.page);
    assert!(sessions[0].contains("Firefox on Linux") && sessions[0].contains("this one"));
    assert!(!sessions[0].contains("<form"), "this one is ended by logging out");
    let of_phone = sessions.iter().find(|line| line.contains("Safari on iPhone"));
    let id =
        of_phone.and_then(|line| line.split("name=\"session\" value=\"").nth(1)?.split('"').next());
    let id = id.expect("it can be ended");

    let token = ("csrf_token", page.form_token());

    Browser::new().log_in(&demo, "Grace")?;
    let strangers = stranger.get(&demo, "/")?;
    let strangers = ("csrf_token", strangers.form_token());
    assert_eq!(stranger.post(&demo, "/sessions/end", &[("session", id), token])?.status, 403);
    assert_eq!(stranger.post(&demo, "/sessions/end", &[("session", id), strangers])?.status, 303);
    assert_eq!(phone.get(&demo, "/")?.user(), Some("Ada"), "not by somebody else");
    for (path, fields) in [
        ("/sessions/end", &[("session", id)][..]),
        ("/sessions/end", &[("session", id), strangers]),
        ("/sessions/end-others", &[]),
        ("/sessions/end-others", &[strangers]),
    ] {
        assert_eq!(here.post(&demo, path, fields)?.status, 403, "{path}: a forged form");
    }
    assert_eq!(phone.get(&demo, "/")?.user(), Some("Ada"), "not by a forged form");
    assert_eq!(here.post(&demo, "/sessions/end", &[("session", id), token])?.status, 303);
    assert_eq!(phone.get(&demo, "/")?.user(), None);
    assert_eq!(tablet.get(&demo, "/")?.user(), Some("Ada"));

    here.post(&demo, "/sessions/end-others", &[token])?;
    assert_eq!(tablet.get(&demo, "/")?.user(), None);
    assert_eq!(stranger.get(&demo, "/")?.user(), Some("Grace"));
    let page = here.get(&demo, "/")?;
    assert_eq!((page.user(), page.sessions().len()), (Some("Ada"), 1));
    assert_eq!(page.flash(), Some("Logged out everywhere else."));
    Ok(())
}

#[test]
fn what_is_too_long_or_no_form_is_refused() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    // Each takes twelve bytes in a form.
    let longest = "🥚".repeat(200);
    assert_eq!(browser.post(&demo, "/note", &[("note", &longest)])?.status, 303);
    let user = "🦀".repeat(40);
    browser.log_in(&demo, &user)?;
    let page = browser.get(&demo, "/")?;
    assert_eq!((page.user(), page.note()), (Some(&*user), Some(&*longest)));

    for (path, fields, status) in [
        ("/note", [("note", &*"a".repeat(201))], 400),
        ("/note", [("note", &*"a".repeat(5_000))], 413),
        ("/note", [("note", &*"a".repeat(5_000_000))], 413),
        ("/note", [("note", "a\0b")], 400),
        ("/note", [("text", "no such field")], 400),
        ("/login", [("user", &*"a".repeat(41))], 400),
        ("/login", [("user", " ")], 400),
        ("/login", [("name", "no such field")], 400),
    ] {
        let answer = browser.post(&demo, path, &fields)?;
        assert_eq!(answer.status, status, "{path}");
    }
    let page = browser.get(&demo, "/")?;
    assert_eq!((page.user(), page.note()), (Some(&*user), Some(&*longest)), "all is as before");
    Ok(())
}

#[test]
fn what_is_wrong_stands_at_its_field_and_the_text_stays() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    browser.get(&demo, "/")?;
    let too_long = "a".repeat(201);
    for (path, field, text, message) in [
        ("/login", "user", " ", "A name is needed."),
        ("/login", "user", "<b>\u{1}", "Letters, digits and the like, please."),
        ("/login", "user", &too_long, "At most 40 characters, please."),
        ("/note", "note", &too_long, "At most 200 characters, please."),
        ("/note", "user", "Ada", "This field is missing in the form."),
    ] {
        let page = browser.post(&demo, path, &[(field, text)])?;
        let field = path.trim_start_matches('/').replace("login", "user");
        let input = page.between(&format!("<input id=\"{field}-field\""), ">").unwrap_or_default();
        let described = format!("aria-invalid=\"true\" aria-describedby=\"{field}-problem\"");
        assert!(page.status == 400 && input.contains(&described), "{field}: {input}");
        let start = format!("<p class=\"problem\" id=\"{field}-problem\">");
        assert_eq!(page.between(&start, "</p>"), Some(message), "{}", page.page);
        let kept = text.trim().replace('<', "&lt;").replace('>', "&gt;");
        let is_kept = kept == "Ada" || input.contains(&format!("value=\"{kept}"));
        assert!(is_kept, "{input}");
        assert_eq!(page.page.matches("aria-invalid").count(), 1, "the other field is fine");
        assert_eq!(page.visits(), 1, "and it is no visit");
    }
    Ok(())
}

#[test]
fn scripts_and_styles_are_files_and_files_are_no_visits() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    for (path, status, start) in [
        ("/script.js", 200, "//"),
        ("/style.css", 200, ":root"),
        ("/icon.svg", 200, "<svg"),
        ("/favicon.ico", 404, ""),
    ] {
        let answer = browser.get(&demo, path)?;
        assert!(answer.status == status && answer.page.starts_with(start), "{path}");
        assert_eq!(answer.set_cookie, "", "{path} begins no session");
        assert_ne!(answer.cache_control, "no-store", "{path}");
    }
    let start = browser.get(&demo, "/")?;
    assert_eq!(start.visits(), 1);
    browser.log_in(&demo, "Ada")?;
    for answer in [
        start,
        browser.get(&demo, "/favicon.ico")?,
        browser.get(&demo, "/")?,
        browser.get(&demo, "/private")?,
        browser.get(&demo, "/nowhere")?,
        browser.post(&demo, "/login", &[("user", "")])?,
        browser.post(&demo, "/sessions/end", &[])?,
    ] {
        assert!(answer.policy.contains("default-src 'none'; script-src 'self'; style-src 'self';"));
        assert!(!answer.policy.contains("unsafe"));
        let scripts = answer.page.matches("<script").count();
        let files = answer.page.matches("<script src=\"/script.js\" defer></script>").count();
        assert_eq!(scripts, files, "a script in the page wouldn't run: {}", answer.page);
        assert!(!answer.page.contains("<style") && !answer.page.contains("style=\""));
    }
    assert_eq!(browser.get(&demo, "/")?.visits(), 3);
    Ok(())
}

#[test]
fn form_of_another_site_is_refused_and_sets_no_cookie() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let own = demo.url.clone();
    for (name, value, status) in [
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Sec-Fetch-Site", "same-site", 403),
        ("Origin", "https://evil.example", 403),
        ("Origin", "null", 403),
        ("Sec-Fetch-Site", "same-origin", 303),
        ("Origin", &*own, 303),
    ] {
        let mut browser = Browser::new();
        let answer = browser.post_with(&demo, "/login", &[(name, value)], &[("user", "Eve")])?;
        assert_eq!(answer.status, status, "{name}: {value}");
        assert_eq!(answer.set_cookie.is_empty(), status == 403, "{name}: {value}");
    }
    Ok(())
}

#[test]
fn no_connection_waits_for_the_end_of_another() -> TestResult {
    const CONNECTIONS: usize = 64;
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let address = demo.url.trim_start_matches("http://");
    let request = format!("GET /icon.svg HTTP/1.1\r\nHost: {address}\r\n\r\n");
    // All at once, and all stay open, as those of browsers do.
    let connections = (0..CONNECTIONS).map(|_| TcpStream::connect(address));
    let mut connections: Vec<_> = connections.collect::<Result<_, _>>()?;
    for connection in &mut connections {
        connection.write_all(request.as_bytes())?;
    }
    for connection in &mut connections {
        // Only ends what hangs.
        connection.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut start = [0; 15];
        connection.read_exact(&mut start)?;
        assert_eq!(&start, b"HTTP/1.1 200 OK");
    }
    Ok(())
}

#[test]
fn a_thousand_concurrent_requests_lose_nothing() -> TestResult {
    const REQUESTS: usize = 1_000;
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    browser.get(&demo, "/")?;

    let left = AtomicUsize::new(REQUESTS);
    thread::scope(|scope| -> TestResult {
        let threads: Vec<_> = (0..16)
            .map(|_| {
                let (mut browser, demo, left) = (browser.clone(), &demo, &left);
                scope.spawn(move || -> TestResult {
                    let take = |left: usize| left.checked_sub(1);
                    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                        let answer = browser.get(demo, "/")?;
                        assert_eq!(answer.status, 200, "{}", answer.page);
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no assertion fails"))
    })?;
    assert_eq!(browser.get(&demo, "/")?.visits(), REQUESTS + 2);
    Ok(())
}

//! The demo as its visitors see it: over HTTP, through a crash, and a thousand requests at once.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, thread};

type TestResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The running example; killed when dropped.
struct Demo {
    process: Child,
    url: String,
}

impl Demo {
    fn start(database: &Path) -> TestResult<Self> {
        // Cargo builds examples beside the directory of the tests.
        let mut binary: PathBuf = env::current_exe()?;
        binary.pop();
        binary.pop();
        binary.push(format!("examples/demo{}", env::consts::EXE_SUFFIX));
        assert!(
            binary.exists(),
            "build it first: cargo build --package sync-session-store-sqlite --examples"
        );
        let mut process =
            Command::new(binary).arg("127.0.0.1:0").arg(database).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.expect("the demo says where it listens").trim_end_matches('/').to_owned();
        Ok(Self { process, url })
    }

    /// SIGKILL, as `kill -9` sends it.
    fn kill(mut self) -> TestResult {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A browser with one cookie.
#[derive(Clone)]
struct Browser {
    agent: ureq::Agent,
    user_agent: &'static str,
    cookie: String,
}

impl Browser {
    fn new() -> Self {
        Self::named("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    }

    fn named(user_agent: &'static str) -> Self {
        let config = ureq::Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            // What doesn't answer for so long hangs.
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self { agent: config.into(), user_agent, cookie: String::new() }
    }

    fn get(&mut self, demo: &Demo, path: &str) -> TestResult<Answer> {
        let request = self.agent.get(format!("{}{path}", demo.url));
        let response =
            request.header("Cookie", &self.cookie).header("User-Agent", self.user_agent).call()?;
        self.keep(response)
    }

    fn post(&mut self, demo: &Demo, path: &str, fields: &[(&str, &str)]) -> TestResult<Answer> {
        self.post_with(demo, path, &[], fields)
    }

    fn post_with(
        &mut self,
        demo: &Demo,
        path: &str,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> TestResult<Answer> {
        let mut request = self.agent.post(format!("{}{path}", demo.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request
            .header("Cookie", &self.cookie)
            .header("User-Agent", self.user_agent)
            .send_form(fields.iter().copied())?;
        self.keep(response)
    }

    fn log_in(&mut self, demo: &Demo, user: &str) -> TestResult {
        assert_eq!(self.post(demo, "/login", &[("user", user)])?.status, 303);
        Ok(())
    }

    fn keep(&mut self, mut response: ureq::http::Response<ureq::Body>) -> TestResult<Answer> {
        let header = |name: &str| -> TestResult<String> {
            let value = response.headers().get(name).map(|value| value.to_str()).transpose()?;
            Ok(value.unwrap_or_default().to_owned())
        };
        let set_cookie = header("Set-Cookie")?;
        let (location, cache_control) = (header("Location")?, header("Cache-Control")?);
        if !set_cookie.is_empty() {
            set_cookie.split(';').next().unwrap_or_default().clone_into(&mut self.cookie);
        }
        let status = response.status().as_u16();
        let page = response.body_mut().read_to_string()?;
        Ok(Answer { status, set_cookie, location, cache_control, page })
    }
}

struct Answer {
    status: u16,
    set_cookie: String,
    location: String,
    cache_control: String,
    page: String,
}

impl Answer {
    /// What stands in the page after `start` and before `end`.
    fn between(&self, start: &str, end: &str) -> Option<&str> {
        Some(self.page.split_once(start)?.1.split_once(end)?.0)
    }

    fn visits(&self) -> usize {
        let number = self.between("<span id=\"visits\">", "</span>");
        number.and_then(|number| number.parse().ok()).expect("the page shows the visits")
    }

    fn user(&self) -> Option<&str> {
        self.between("<span id=\"user\">", "</span>")
    }

    fn note(&self) -> Option<&str> {
        self.between("<blockquote id=\"note\">", "</blockquote>")
    }

    fn flash(&self) -> Option<&str> {
        self.between("<p class=\"flash\" role=\"status\">", "</p>")
    }

    /// The lines of “Your sessions”.
    fn sessions(&self) -> Vec<&str> {
        let list = self.between("<ul id=\"sessions\">", "</ul>").unwrap_or_default();
        list.split("<li>").skip(1).collect()
    }
}

#[test]
fn sessions_go_on_after_kill_9_and_a_restart() -> TestResult {
    let directory = tempfile::tempdir()?;
    let database = directory.path().join("demo.db");
    let mut browser = Browser::new();

    let demo = Demo::start(&database)?;
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

    let demo = Demo::start(&database)?;
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
    let demo = Demo::start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    browser.get(&demo, "/")?;
    let before = browser.clone();
    assert_eq!(browser.get(&demo, "/private")?.location, "/", "not without a log in");

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
    let demo = Demo::start(&directory.path().join("demo.db"))?;
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
    let demo = Demo::start(&directory.path().join("demo.db"))?;
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
    let demo = Demo::start(&directory.path().join("demo.db"))?;
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
    let demo = Demo::start(&directory.path().join("demo.db"))?;
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
    let id = of_phone.and_then(|line| line.split("value=\"").nth(1)?.split('"').next());
    let id = id.expect("it can be ended");

    stranger.post(&demo, "/sessions/end", &[("session", id)])?;
    assert_eq!(phone.get(&demo, "/")?.user(), Some("Ada"), "not by somebody else");
    assert_eq!(here.post(&demo, "/sessions/end", &[("session", id)])?.status, 303);
    assert_eq!(phone.get(&demo, "/")?.user(), None);
    assert_eq!(tablet.get(&demo, "/")?.user(), Some("Ada"));

    here.post(&demo, "/sessions/end-others", &[])?;
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
    let demo = Demo::start(&directory.path().join("demo.db"))?;
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
fn form_of_another_site_is_refused_and_sets_no_cookie() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = Demo::start(&directory.path().join("demo.db"))?;
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
fn a_thousand_concurrent_requests_lose_nothing() -> TestResult {
    const REQUESTS: usize = 1_000;
    let directory = tempfile::tempdir()?;
    let demo = Demo::start(&directory.path().join("demo.db"))?;
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

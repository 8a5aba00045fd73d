//! The demo as its visitors see it: over HTTP, through a crash, and a thousand requests at once.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
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
        assert!(binary.exists(), "build it first: cargo build --package store-sqlite --examples");
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
    cookie: String,
}

impl Browser {
    fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            .build();
        Self { agent: config.into(), cookie: String::new() }
    }

    /// Gives the status, the Set-Cookie header and the page.
    fn get(&mut self, demo: &Demo, path: &str) -> TestResult<(u16, String, String)> {
        let url = format!("{}{path}", demo.url);
        let response = self.agent.get(url).header("Cookie", &self.cookie).call()?;
        self.keep(response)
    }

    fn post(
        &mut self,
        demo: &Demo,
        path: &str,
        fields: &[(&str, &str)],
    ) -> TestResult<(u16, String)> {
        let url = format!("{}{path}", demo.url);
        let request = self.agent.post(url).header("Cookie", &self.cookie);
        let response = request.send_form(fields.iter().copied())?;
        let (status, set_cookie, _) = self.keep(response)?;
        Ok((status, set_cookie))
    }

    fn keep(
        &mut self,
        mut response: ureq::http::Response<ureq::Body>,
    ) -> TestResult<(u16, String, String)> {
        let mut set_cookie = String::new();
        if let Some(header) = response.headers().get("set-cookie") {
            header.to_str()?.clone_into(&mut set_cookie);
            set_cookie.split(';').next().unwrap_or_default().clone_into(&mut self.cookie);
        }
        let page = response.body_mut().read_to_string()?;
        Ok((response.status().as_u16(), set_cookie, page))
    }
}

fn visits(page: &str) -> usize {
    let number =
        page.split("<strong id=\"visits\">").nth(1).and_then(|rest| rest.split('<').next());
    number.and_then(|number| number.parse().ok()).expect("the page shows the visits")
}

#[test]
fn sessions_go_on_after_kill_9_and_a_restart() -> TestResult {
    let directory = tempfile::tempdir()?;
    let database = directory.path().join("demo.db");
    let mut browser = Browser::new();

    let demo = Demo::start(&database)?;
    let (status, set_cookie, page) = browser.get(&demo, "/")?;
    assert_eq!((status, visits(&page)), (200, 1));
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=86400"] {
        assert!(set_cookie.contains(attribute), "{set_cookie}");
    }
    browser.post(&demo, "/note", &[("note", "<b>milk & \"eggs\"</b>")])?;
    browser.post(&demo, "/login", &[("user", "Ada")])?;
    assert_eq!(visits(&browser.get(&demo, "/")?.2), 2);
    demo.kill()?;

    let demo = Demo::start(&database)?;
    let (_, _, page) = browser.get(&demo, "/")?;
    assert_eq!(visits(&page), 3);
    assert!(page.contains("Hello, Ada"), "{page}");
    assert!(page.contains("&lt;b&gt;milk &amp; &quot;eggs&quot;&lt;/b&gt;"), "{page}");
    assert_eq!(visits(&Browser::new().get(&demo, "/")?.2), 1, "another browser, another session");
    Ok(())
}

#[test]
fn log_in_renews_and_log_out_is_final() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = Demo::start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    browser.get(&demo, "/")?;
    let before = browser.clone();

    let (status, _) = browser.post(&demo, "/login", &[("user", "Ada")])?;
    assert_eq!(status, 303);
    assert_ne!(browser.cookie, before.cookie, "the token changes with the rights");
    let logged_in = browser.clone();
    assert!(browser.get(&demo, "/")?.2.contains("Hello, Ada"));
    let mut fixated = before.clone();
    assert!(fixated.get(&demo, "/")?.2.contains("Hello, stranger"), "the old token is dead");
    assert_ne!(fixated.cookie, before.cookie, "and is not adopted");

    let (_, set_cookie) = browser.post(&demo, "/logout", &[])?;
    assert!(set_cookie.contains("Max-Age=0"), "{set_cookie}");
    assert!(logged_in.clone().get(&demo, "/")?.2.contains("Hello, stranger"), "it is destroyed");
    assert_eq!(browser.post(&demo, "/login", &[("name", "no such field")])?.0, 400);
    assert_eq!(browser.get(&demo, "/nowhere")?.0, 404);
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
                        let (status, _, page) = browser.get(demo, "/")?;
                        assert_eq!(status, 200, "{page}");
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no assertion fails"))
    })?;
    assert_eq!(visits(&browser.get(&demo, "/")?.2), REQUESTS + 2);
    Ok(())
}

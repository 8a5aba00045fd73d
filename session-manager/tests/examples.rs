//! The examples as their visitors see them.

use std::env;
use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

type TestResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// A running example; killed when dropped.
struct Example {
    process: Child,
    url: String,
}

impl Example {
    fn start(name: &str) -> TestResult<Self> {
        // Cargo builds examples next to the directory of the tests.
        let mut binary: PathBuf = env::current_exe()?;
        binary.pop();
        binary.pop();
        binary.push(format!("examples/{name}{}", env::consts::EXE_SUFFIX));
        assert!(
            binary.exists(),
            "build it first: cargo build --package sync-session-manager --examples --all-features"
        );
        // Not every server can say which port it was given, so it is told a free one. If another
        // program takes that first, another one is tried.
        for _ in 0..10 {
            let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
            let process = Command::new(&binary).arg(&address).stdout(Stdio::piped()).spawn()?;
            let mut example = Self { process, url: format!("http://{address}/") };
            let output = example.process.stdout.take().expect("it is piped");
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line)?;
            if line.split_whitespace().any(|word| word == example.url) {
                return Ok(example);
            }
        }
        Err(format!("{name} doesn't say where it listens").into())
    }

    /// The cookie and the page.
    fn get(&self, cookie: &str) -> TestResult<(Option<String>, String)> {
        let mut response = agent().get(&self.url).header("Cookie", cookie).call()?;
        let set_cookie = response.headers().get("set-cookie").map(|value| value.to_str());
        let set_cookie = set_cookie.transpose()?.map(str::to_owned);
        Ok((set_cookie, response.body_mut().read_to_string()?))
    }

    /// The status.
    fn post_from_another_site(&self) -> TestResult<u16> {
        let request = agent().post(&self.url).header("Origin", "https://evil.example");
        Ok(request.send_empty()?.status().as_u16())
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn agent() -> ureq::Agent {
    // What doesn't answer for so long hangs.
    let patience = Some(Duration::from_secs(60));
    let config = ureq::Agent::config_builder().proxy(None).timeout_global(patience);
    config.http_status_as_error(false).build().into()
}

fn assert_visits_are_counted(name: &str) -> TestResult {
    let example = Example::start(name)?;
    let (set_cookie, page) = example.get("theme=dark")?;
    assert_eq!(page, "visit 1", "{name}");
    let set_cookie = set_cookie.expect("it is new");
    assert!(set_cookie.ends_with("; HttpOnly; SameSite=Lax; Path=/"), "{name}: {set_cookie}");
    let cookie = set_cookie.split(';').next().unwrap_or_default();
    for visit in 2..5 {
        assert_eq!(example.get(cookie)?, (None, format!("visit {visit}")), "{name}");
    }
    assert_eq!(example.get("")?.1, "visit 1", "{name}: another browser, another session");
    assert_eq!(example.post_from_another_site()?, 403, "{name}");
    Ok(())
}

#[test]
fn rouille_example_counts_visits() -> TestResult {
    assert_visits_are_counted("rouille")
}

#[test]
fn oxhttp_example_counts_visits() -> TestResult {
    assert_visits_are_counted("oxhttp")
}

#[test]
fn tiny_http_example_counts_visits() -> TestResult {
    assert_visits_are_counted("tiny_http")
}

/// A browser that keeps the cookie, and the lines of the page that it sees.
struct Visitor<'e> {
    example: &'e Example,
    name: &'static str,
    cookie: String,
    set_cookie: String,
    lines: Vec<String>,
}

impl<'e> Visitor<'e> {
    fn new(example: &'e Example, name: &'static str) -> TestResult<Self> {
        let mut visitor = Self {
            example,
            name,
            cookie: String::new(),
            set_cookie: String::new(),
            lines: Vec::new(),
        };
        visitor.look()?;
        Ok(visitor)
    }

    fn keep(&mut self, headers: &ureq::http::HeaderMap) -> TestResult {
        for set_cookie in headers.get_all("set-cookie") {
            set_cookie.to_str()?.clone_into(&mut self.set_cookie);
            let pair = self.set_cookie.split(';').next().unwrap_or_default();
            pair.clone_into(&mut self.cookie);
        }
        Ok(())
    }

    fn look(&mut self) -> TestResult {
        let mut response = agent().get(&self.example.url).header("Cookie", &self.cookie).call()?;
        self.keep(response.headers())?;
        let page = response.body_mut().read_to_string()?;
        self.lines = page.lines().map(str::to_owned).collect();
        Ok(())
    }

    /// Sends a form, with the token of the page, and looks at the page after it. Returns the
    /// status.
    fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> TestResult<u16> {
        let token = self.line("token: ").to_owned();
        let form = fields.iter().copied().chain([("token", &*token)]);
        let config = agent().post(format!("{}{path}", self.example.url)).config();
        let request = config.max_redirects(0).build().header("User-Agent", self.name);
        let response = request.header("Cookie", &self.cookie).send_form(form)?;
        self.keep(response.headers())?;
        self.look()?;
        Ok(response.status().as_u16())
    }

    /// What follows this at the beginning of a line.
    fn line(&self, beginning: &str) -> &str {
        let mut found = self.lines.iter().filter_map(|line| line.strip_prefix(beginning));
        found.next().unwrap_or_default()
    }

    fn sees(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }
}

#[test]
fn accounts_example_has_logins_devices_and_roles() -> TestResult {
    let example = Example::start("accounts")?;
    let mut ada = Visitor::new(&example, "laptop")?;
    assert_eq!(ada.send("login", &[("user", "ada")])?, 303);
    assert_eq!(ada.line("user: "), "ada, editor");
    assert!(ada.sees("Welcome.") && ada.sees("on laptop, this one"), "{:?}", ada.lines);
    assert!(!ada.set_cookie.contains("Max-Age"), "{}", ada.set_cookie);
    ada.look()?;
    assert!(!ada.sees("Welcome."), "it is shown once");

    let mut phone = Visitor::new(&example, "telephone")?;
    phone.send("login", &[("user", "ada"), ("remember", "on")])?;
    let month = ["Max-Age=2592000", "Max-Age=2591999"];
    assert!(month.iter().any(|age| phone.set_cookie.contains(age)), "{}", phone.set_cookie);

    // An administrator takes the role away: no session has it from then on.
    let mut root = Visitor::new(&example, "console")?;
    root.send("login", &[("user", "root")])?;
    assert_eq!(ada.send("demote", &[("user", "root")])?, 403);
    assert_eq!(root.send("demote", &[("user", "ada")])?, 303);
    assert!(root.sees("2 sessions have a reader's role now."), "{:?}", root.lines);
    for visitor in [&mut ada, &mut phone] {
        visitor.look()?;
        assert_eq!(visitor.line("user: "), "ada, reader");
    }

    // She has lost the telephone, and nobody else can end what isn't theirs.
    let lost = ada.lines.iter().find(|line| line.ends_with(" on telephone"));
    let lost = lost.and_then(|line| line.split(' ').nth(1)).expect("it is in the list").to_owned();
    root.send("end", &[("session", &lost)])?;
    assert!(root.sees("It had ended before."), "{:?}", root.lines);
    assert_eq!(ada.send("end", &[("session", "the telephone's")])?, 400);
    ada.send("end", &[("session", &lost)])?;
    assert!(ada.sees("It has ended."), "{:?}", ada.lines);
    phone.look()?;
    assert_eq!(phone.line("user: "), "");

    // She proves again who she is, as she is asked to some minutes later.
    let before = ada.cookie.clone();
    assert_eq!(ada.send("login", &[("user", "ada")])?, 303);
    assert_ne!(ada.cookie, before, "it counts");

    // A form of another session, one without a field, and a logout.
    assert_eq!(ada.send("login", &[])?, 400);
    ada.lines = root.lines.clone();
    assert_eq!(ada.send("login", &[("user", "root")])?, 403);
    ada.send("logout", &[])?;
    assert!(ada.sees("Logged out."));
    assert_eq!(ada.line("user: "), "");
    Ok(())
}

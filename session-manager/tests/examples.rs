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

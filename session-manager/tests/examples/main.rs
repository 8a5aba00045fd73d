//! The examples as their visitors see them.

mod accounts;

mod device_bound;

mod shop;

mod api;

use std::env;
use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ureq::AsSendBody;
use ureq::http::{HeaderMap, Request};

type TestResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// What doesn't answer for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The headers of a connection's last request.
const LAST: &str = "Host: a\r\nConnection: close\r\n";

/// A running example; killed when dropped.
struct Example {
    process: Child,
    url: String,
}

impl Example {
    fn start(name: &str, arguments: &[&str]) -> TestResult<Self> {
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
            let mut command = Command::new(&binary);
            let process = command.arg(&address).args(arguments).stdout(Stdio::piped()).spawn()?;
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

    /// Asserts that nothing comes after the headers of the answer to a `HEAD` of each path.
    fn expect_heads_without_bodies(&self, paths: &[&str]) -> TestResult {
        for path in paths {
            let reply = self.head(path)?;
            assert!(reply.ends_with("\r\n\r\n"), "{reply}");
        }
        Ok(())
    }

    /// All that comes back for a `HEAD`: clients pass over a body that shouldn't be there.
    fn head(&self, path: &str) -> TestResult<String> {
        self.exchange(&format!("HEAD /{path} HTTP/1.1\r\n{LAST}\r\n"))
    }

    /// All that comes back on a connection until the server closes it.
    fn exchange(&self, requests: &str) -> TestResult<String> {
        let address = self.url.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(requests.as_bytes())?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What comes back.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    /// The first header of a name; empty if there is none.
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().proxy(None).timeout_global(Some(PATIENCE));
    config.http_status_as_error(false).max_redirects(0).build().into()
}

/// A browser that keeps the cookie and the connection, and goes where no response sends it.
#[derive(Clone)]
struct Browser<'e> {
    example: &'e Example,
    agent: ureq::Agent,
    name: &'static str,
    cookie: String,
    /// The last one.
    set_cookie: String,
}

impl<'e> Browser<'e> {
    fn new(example: &'e Example, name: &'static str) -> Self {
        Self { example, agent: agent(), name, cookie: String::new(), set_cookie: String::new() }
    }

    fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsSendBody,
    ) -> TestResult<Reply> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.example.url))
            .header("User-Agent", self.name)
            .header("Cookie", &self.cookie);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self.agent.run(request.body(body)?)?;
        for set_cookie in response.headers().get_all("set-cookie") {
            set_cookie.to_str()?.clone_into(&mut self.set_cookie);
            let pair = self.set_cookie.split(';').next().unwrap_or_default();
            pair.clone_into(&mut self.cookie);
        }
        let body = response.body_mut().read_to_string()?;
        let headers = response.headers().clone();
        Ok(Reply { status: response.status().as_u16(), headers, body })
    }

    /// For how many seconds the cookie stays, rounded up to a minute.
    fn max_age_rounded(&self) -> Option<u64> {
        let max_age = self.set_cookie.split("; ").find_map(|part| part.strip_prefix("Max-Age="));
        Some(max_age?.parse::<u64>().ok()?.next_multiple_of(60))
    }

    fn get(&mut self, path: &str) -> TestResult<Reply> {
        self.send("GET", path, &[], ())
    }

    fn post_form(&mut self, path: &str, fields: &[(&str, &str)]) -> TestResult<Reply> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let content_type = ("Content-Type", "application/x-www-form-urlencoded");
        self.send("POST", path, &[content_type], form)
    }
}

#[test]
fn rouille_example_counts_visits() -> TestResult {
    let example = Example::start("rouille", &[])?;
    let mut browser = Browser { cookie: "theme=dark".to_owned(), ..Browser::new(&example, "one") };
    assert_eq!(browser.get("")?.body, "visit 1");
    let set_cookie = &browser.set_cookie;
    assert!(set_cookie.ends_with("; HttpOnly; SameSite=Lax; Path=/"), "{set_cookie}");
    for visit in 2..5 {
        let reply = browser.get("")?;
        assert_eq!((&*reply.body, reply.header("Set-Cookie")), (&*format!("visit {visit}"), ""));
    }
    assert_eq!(Browser::new(&example, "another").get("")?.body, "visit 1");
    let forged = browser.send("POST", "", &[("Origin", "https://evil.example")], ())?;
    assert_eq!(forged.status, 403);
    Ok(())
}

/// What a server leaves of a body, it takes for the next request, and a proxy gives the response to
/// whoever comes next on the connection. (oxhttp reads all of it, and no requests sent at once.)
#[test]
fn bodies_in_chunks_are_never_taken_for_requests() -> TestResult {
    let hidden = "HIDE /hidden HTTP/1.1\r\n\r\n";
    let long = format!("{}{}", "x".repeat(4096), hidden.repeat(2));
    let long = format!("{:x}\r\n{long}\r\n", long.len());
    let (same, cross) = ("same-origin", "cross-site");
    for (name, path, site) in [
        ("rouille", "", same),
        ("rouille", "", cross),
        ("accounts", "login", cross),
        ("device_bound", "device-session", same),
        ("shop", "logout", same),
        ("shop", "logout", cross),
    ] {
        let example = Example::start(name, &[])?;
        // The size of a chunk can be followed by what makes it a request's first line.
        for body in ["", "4;HIDE /hidden HTTP/1.1\r\n\r\n\r\n\r\n", &long] {
            let refused =
                format!("Host: a\r\nSec-Fetch-Site: {site}\r\nTransfer-Encoding: chunked");
            let first = format!("POST /{path} HTTP/1.1\r\n{refused}\r\n\r\n{body}0\r\n\r\n");
            let second = format!("GET / HTTP/1.1\r\n{LAST}\r\n");
            let replies = example.exchange(&format!("{first}{second}"))?;
            let statuses = replies.split("HTTP/1.1 ").skip(1).map(|reply| &reply[..3]);
            let statuses: Vec<_> = statuses.collect();
            assert!(statuses.len() == 2 && statuses[1] != "400", "{name} {body:?}: {replies}");
        }
    }
    Ok(())
}

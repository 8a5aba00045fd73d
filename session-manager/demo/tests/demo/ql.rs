//! The demo on this store: through a crash, and with a second process. What its pages do is
//! tested in `store-sqlite`, whose application it is.

use std::env;
use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

type TestResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Cargo builds examples next to the directory of the tests.
fn example() -> TestResult<PathBuf> {
    let mut binary = env::current_exe()?;
    binary.pop();
    binary.pop();
    binary.push(format!("examples/demo-ql{}", env::consts::EXE_SUFFIX));
    assert!(
        binary.exists(),
        "build it first: cargo build --package sync-session-store-ql-compat --examples"
    );
    Ok(binary)
}

/// The running example; killed when dropped.
struct Demo {
    process: Child,
    url: String,
}

impl Demo {
    fn start(database: &Path) -> TestResult<Self> {
        let mut process = Command::new(example()?)
            .arg("127.0.0.1:0")
            .arg(database)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.expect("the demo says where it listens").to_owned();
        Ok(Self { process, url })
    }

    /// Visits the page, and returns the number of visits that it shows.
    fn visit(&self, cookie: &mut String) -> TestResult<String> {
        let config = ureq::Agent::config_builder()
            .proxy(None)
            // What doesn't answer for so long hangs.
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        let agent = ureq::Agent::from(config);
        let mut response = agent.get(&self.url).header("Cookie", &*cookie).call()?;
        if let Some(set) = response.headers().get("Set-Cookie") {
            set.to_str()?.split(';').next().unwrap_or_default().clone_into(cookie);
        }
        let page = response.body_mut().read_to_string()?;
        let visits =
            page.split("<span id=\"visits\">").nth(1).and_then(|rest| rest.split('<').next());
        Ok(visits.expect("the page shows the visits").to_owned())
    }
}

impl Drop for Demo {
    /// SIGKILL, as `kill -9` sends it.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn sessions_go_on_after_kill_9_and_a_second_process_is_told_why_it_can_not() -> TestResult {
    let directory = tempfile::tempdir()?;
    let database = directory.path().join("demo.redb");
    let mut cookie = String::new();

    let demo = Demo::start(&database)?;
    assert_eq!(demo.visit(&mut cookie)?, "1");
    assert_eq!(demo.visit(&mut cookie)?, "2");
    let second = Command::new(example()?).arg("127.0.0.1:0").arg(&database).output()?;
    let said = String::from_utf8(second.stderr)?;
    assert!(!second.status.success() && said.contains("open already"), "{said}");
    drop(demo);

    let demo = Demo::start(&database)?;
    assert_eq!(demo.visit(&mut cookie)?, "3");
    assert_eq!(demo.visit(&mut String::new())?, "1", "another browser, another session");
    Ok(())
}

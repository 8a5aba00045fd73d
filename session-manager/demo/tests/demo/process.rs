//! The demo as a process.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::TestResult;

/// The running demo; killed when dropped.
pub(crate) struct Demo {
    process: Child,
    /// Without a slash at the end.
    pub(crate) url: String,
}

impl Demo {
    /// Starts the demo on a free port, with its sessions in the file.
    pub(crate) fn start(store: &str, database: &Path) -> TestResult<Self> {
        let mut process = Self::command(store, database).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.expect("the demo says where it listens").trim_end_matches('/').to_owned();
        Ok(Self { process, url })
    }

    pub(crate) fn command(store: &str, database: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessions-demo"));
        command.args([store, "127.0.0.1:0"]).arg(database);
        command
    }

    /// Kills the demo with SIGKILL, as `kill -9` does.
    pub(crate) fn kill(mut self) -> TestResult {
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

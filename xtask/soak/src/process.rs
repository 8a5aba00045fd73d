//! The demo as a process, and what the system says of it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Result;

/// The running demo; killed when dropped.
pub(crate) struct Demo {
    process: Child,
    /// Without a slash at the end.
    pub(crate) url: String,
}

/// What the system says of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Memory that is in use, in KiB.
    pub(crate) memory: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
}

impl Demo {
    /// Starts the demo on a free port.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let process = command.stdout(Stdio::piped()).spawn()?;
        let mut demo = Self { process, url: String::new() };
        let mut line = String::new();
        if let Some(out) = demo.process.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.ok_or("the demo doesn't say where it listens")?;
        url.trim_end_matches('/').clone_into(&mut demo.url);
        Ok(demo)
    }

    /// Ends the demo with SIGKILL; fails if it has ended by itself.
    pub(crate) fn kill(mut self) -> Result {
        if let Some(status) = self.process.try_wait()? {
            return Err(format!("the demo ended by itself, with {status}").into());
        }
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        let directory = Path::new("/proc").join(self.process.id().to_string());
        let status = fs::read_to_string(directory.join("status"))?;
        let number = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            Ok(number.ok_or("the demo has ended by itself")?.parse()?)
        };
        Ok(Usage {
            memory: number("VmRSS:")?,
            threads: number("Threads:")?,
            descriptors: fs::read_dir(directory.join("fd"))?.count() as u64,
        })
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

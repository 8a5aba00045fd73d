//! A server as a process that ends with the process that started it, however that ends.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

const SCRIPT: &str = include_str!("supervisor.sh");

/// Only ends what hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A shell that runs [`SCRIPT`]: the server's parent, which outlives this process until it has
/// cleaned up.
///
/// It ends when its standard input is closed, which the system does even if neither `Drop` nor a
/// signal handler runs. It is in a process group of its own, so that an interrupt at the terminal
/// reaches neither the shell nor the server.
#[derive(Debug)]
pub(crate) struct Supervisor {
    directory: PathBuf,
    shell: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<Answer>,
    server: Option<Pid>,
}

#[derive(Debug)]
enum Answer {
    Started(Pid),
    Ended,
}

impl Supervisor {
    /// Makes a directory, and the shell that removes it in the end.
    ///
    /// Without a parent directory it is made where temporary files are.
    pub(crate) fn new(parent_directory: Option<&Path>) -> Result<Self> {
        let directory = new_directory(parent_directory)?;
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "supervisor"])
            .arg(directory.path())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (sender, answers) = mpsc::channel();
        let output = shell.stdout.take().ok_or("the shell has no output")?;
        thread::Builder::new().name("server supervisor".to_owned()).spawn(move || {
            for line in BufReader::new(output).lines().map_while(std::io::Result::ok) {
                let pid = line.strip_prefix("started ").and_then(|pid| pid.parse().ok());
                let answer = pid.and_then(Pid::from_raw).map_or(Answer::Ended, Answer::Started);
                // The supervisor may have been dropped.
                let _ = sender.send(answer);
            }
        })?;
        let orders = shell.stdin.take();
        Ok(Self { directory: directory.keep(), shell, orders, answers, server: None })
    }

    /// The server's directory, which is removed with it.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts the server, if none runs, with the command's program, arguments and variables.
    pub(crate) fn start(&mut self, command: &Command) -> Result {
        if self.is_running() {
            return Err("the server is running already".into());
        }
        let assignments = command.get_envs().map(|(name, value)| {
            let mut assignment = name.to_owned();
            assignment.push("=");
            assignment.push(value.unwrap_or_default());
            assignment
        });
        let words = std::iter::once(OsString::from("env"))
            .chain(assignments)
            .chain([command.get_program().to_owned()])
            .chain(command.get_args().map(ToOwned::to_owned));
        let mut order = b"start\n".to_vec();
        for word in words {
            let bytes = word.into_vec();
            if bytes.is_empty() || bytes.contains(&b'\n') {
                return Err("an argument of a server is empty or has more than one line".into());
            }
            order.extend(bytes);
            order.push(b'\n');
        }
        order.push(b'\n');
        self.orders.as_mut().ok_or("the supervisor has ended")?.write_all(&order)?;
        match self.answers.recv_timeout(TIMEOUT)? {
            Answer::Started(pid) => self.server = Some(pid),
            Answer::Ended => return Err("the server ended before it started".into()),
        }
        Ok(())
    }

    /// Whether the server runs. It may be frozen.
    pub(crate) fn is_running(&mut self) -> bool {
        match self.answers.try_recv() {
            Err(TryRecvError::Empty) => {}
            Ok(_) | Err(TryRecvError::Disconnected) => self.server = None,
        }
        self.server.is_some()
    }

    /// Sends the server a signal, if it runs.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result {
        match self.is_running().then_some(self.server).flatten() {
            Some(pid) => Ok(kill_process(pid, signal)?),
            None => Err("the server isn't running".into()),
        }
    }

    /// Stops the server with SIGSTOP, and waits until each of its threads has stopped, which takes
    /// a moment on a busy machine.
    pub(crate) fn freeze(&mut self) -> Result {
        self.signal(Signal::STOP)?;
        let Some(pid) = self.server else { return Ok(()) };
        let tasks = Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join("task");
        let started = Instant::now();
        while !tasks.read_dir()?.all(|task| task.is_ok_and(|task| is_stopped(&task.path()))) {
            if started.elapsed() > TIMEOUT {
                return Err("the server doesn't stop".into());
            }
            thread::yield_now();
        }
        Ok(())
    }

    /// Sends a signal that ends the server, and waits until it has. Does nothing if it isn't
    /// running.
    pub(crate) fn end(&mut self, signal: Signal) -> Result {
        if !self.is_running() {
            return Ok(());
        }
        self.signal(signal)?;
        self.answers
            .recv_timeout(TIMEOUT)
            .map_err(|_| format!("the server doesn't end after {signal:?}"))?;
        self.server = None;
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.orders.take());
        let started = Instant::now();
        while matches!(self.shell.try_wait(), Ok(None)) && started.elapsed() < TIMEOUT {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A new directory that servers of other users may enter, with a path short enough for a socket in
/// it.
fn new_directory(parent: Option<&Path>) -> Result<tempfile::TempDir> {
    /// The path of a socket has 107 bytes at most, some of them for the names in the directory.
    const MAX_PARENT: usize = 85;
    /// With some to spare: there is an alternative.
    const MAX_DEFAULT: usize = 60;
    let parent = match parent {
        Some(parent) => parent.canonicalize()?,
        None => Some(env::temp_dir())
            .filter(|usual| usual.as_os_str().len() < MAX_DEFAULT)
            .unwrap_or_else(|| PathBuf::from("/tmp")),
    };
    if parent.as_os_str().len() > MAX_PARENT {
        return Err(format!("{} is too long a path for a server's socket", parent.display()).into());
    }
    let directory = tempfile::Builder::new().prefix("mysql-").tempdir_in(parent)?;
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    Ok(directory)
}

/// Whether a thread is stopped, or gone. The state follows the name, which is in parentheses.
fn is_stopped(task: &Path) -> bool {
    let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['T', 'Z', 'X']))
}

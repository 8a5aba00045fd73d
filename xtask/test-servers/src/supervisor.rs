//! A server as a process that ends with its owner, however that ends.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Result;

const SCRIPT: &str = include_str!("supervisor.sh");

/// Only ends what hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A shell that runs [`SCRIPT`]: a parent of the server that outlives us for as long as it takes to clean up.
///
/// What holds it is a pipe, whose end the system closes even where neither `Drop` nor a handler runs.
/// The shell is in a process group of its own, so that an interrupt at the terminal doesn't reach it
/// or the server.
#[derive(Debug)]
pub(super) struct Supervisor {
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
    /// It is in `place`, or else where temporary files go.
    pub(super) fn new(place: Option<&Path>) -> Result<Self> {
        let directory = temporary_directory(place)?;
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
                let pid = pid.and_then(Pid::from_raw);
                // Nobody may be listening any more.
                let _ = sender.send(pid.map_or(Answer::Ended, Answer::Started));
            }
        })?;
        let orders = shell.stdin.take();
        Ok(Self { directory: directory.keep(), shell, orders, answers, server: None })
    }

    /// The directory of the server, which goes when it goes.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts the server, where none runs, with the command's program, arguments and variables.
    pub(super) fn start(&mut self, command: &Command) -> Result {
        if self.is_running() {
            return Err("the server is running already".into());
        }
        let mut order = b"start\nenv\n".to_vec();
        for (name, value) in command.get_envs() {
            let mut word = name.to_owned();
            word.push("=");
            word.push(value.unwrap_or_default());
            push_word(&mut order, word)?;
        }
        push_word(&mut order, command.get_program().to_owned())?;
        for argument in command.get_args() {
            push_word(&mut order, argument.to_owned())?;
        }
        order.push(b'\n');
        self.orders.as_mut().ok_or("the supervisor has ended")?.write_all(&order)?;
        match self.answers.recv_timeout(TIMEOUT)? {
            Answer::Started(pid) => self.server = Some(pid),
            Answer::Ended => return Err("the server ended before it started".into()),
        }
        Ok(())
    }

    /// Whether the server runs, be it frozen.
    pub(super) fn is_running(&mut self) -> bool {
        match self.answers.try_recv() {
            Err(TryRecvError::Empty) => {}
            Ok(_) | Err(TryRecvError::Disconnected) => self.server = None,
        }
        self.server.is_some()
    }

    /// Sends the server a signal, if it runs.
    pub(super) fn signal(&mut self, signal: Signal) -> Result {
        match self.is_running().then_some(self.server).flatten() {
            Some(pid) => Ok(kill_process(pid, signal)?),
            None => Err("the server isn't running".into()),
        }
    }

    /// Stops the server, and waits until each of its threads has stopped, which on a busy machine
    /// takes a moment.
    pub(super) fn freeze(&mut self) -> Result {
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

    /// Sends a signal that ends the server, and waits until it has. A server that isn't running is no error.
    pub(super) fn end(&mut self, signal: Signal) -> Result {
        if !self.is_running() {
            return Ok(());
        }
        self.signal(signal)?;
        match self.answers.recv_timeout(TIMEOUT) {
            Ok(_) => {
                self.server = None;
                Ok(())
            }
            Err(_) => Err(format!("the server doesn't end after {signal:?}").into()),
        }
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

fn push_word(order: &mut Vec<u8>, word: OsString) -> Result {
    let bytes = word.into_vec();
    if bytes.is_empty() || bytes.contains(&b'\n') {
        return Err("an argument of a server is empty or has more than one line".into());
    }
    order.extend(bytes);
    order.push(b'\n');
    Ok(())
}

/// A new directory that servers of other users may enter, under a path short enough for a socket in it.
fn temporary_directory(chosen: Option<&Path>) -> Result<TempDir> {
    /// Sockets are limited to 107 bytes, of which some are for the names in the directory.
    const LONGEST: usize = 60;
    /// With nothing to spare.
    const LONGEST_CHOSEN: usize = 85;
    let usual = env::temp_dir();
    let is_short = usual.as_os_str().len() < LONGEST;
    let place = match chosen {
        Some(place) => place.canonicalize()?,
        None if is_short => usual,
        None => PathBuf::from("/tmp"),
    };
    if chosen.is_some() && place.as_os_str().len() > LONGEST_CHOSEN {
        return Err(format!("{} is too long a path for a server's socket", place.display()).into());
    }
    let directory = tempfile::Builder::new().prefix("mysql-").tempdir_in(place)?;
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    Ok(directory)
}

/// Whether a thread is stopped, or gone. The state follows the name, which is in parentheses.
fn is_stopped(task: &Path) -> bool {
    let stat = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['T', 'Z', 'X']))
}

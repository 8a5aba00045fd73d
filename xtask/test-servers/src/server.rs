//! A private server.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, fs, thread};

use rustix::process::Signal;

use crate::program::{self, tail};
use crate::supervisor::Supervisor;
use crate::{Installation, Product, Result, ports, template};

/// Only ends what hangs.
const TIMEOUT: Duration = Duration::from_secs(90);

/// For a greeting, which a server that works sends at once.
const GREETING_TIMEOUT: Duration = Duration::from_secs(1);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How a [`PrivateServer`] is to be started.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    arguments: Vec<String>,
    address: Ipv4Addr,
    port: Option<u16>,
    parent_directory: Option<PathBuf>,
    /// Whose process the server is, if not its starter's.
    pub(crate) user: Option<&'static str>,
}

impl ServerOptions {
    /// A free port of 127.0.0.1, and no arguments besides those that every server gets.
    pub fn new() -> Self {
        Self {
            arguments: Vec::new(),
            address: Ipv4Addr::LOCALHOST,
            port: None,
            parent_directory: None,
            user: None,
        }
    }

    /// Adds an argument of the server, such as `--default-time-zone=+05:30`. The time zones
    /// `America/New_York`, `Asia/Kolkata` and `Europe/Berlin` are known by name. Default: none.
    #[must_use]
    pub fn with_arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The address to listen on. Default: 127.0.0.1.
    #[must_use]
    pub fn with_address(mut self, address: Ipv4Addr) -> Self {
        self.address = address;
        self
    }

    /// The port to listen on. Default: one that is free.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Where the server's own directory is made, which has its data: a benchmark chooses the disk
    /// that it measures. Default: the directory for temporary files, which may be in memory.
    #[must_use]
    pub fn with_parent_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.parent_directory = Some(directory.into());
        self
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A server with new data, on which root needs no password.
///
/// It ends when it is dropped, and also when the process that started it ends in any other way: by
/// a panic, `process::exit`, an interrupt or SIGKILL. Its directory is removed with it.
pub struct PrivateServer {
    pub(crate) installation: Installation,
    process: Mutex<Process>,
    address: SocketAddr,
    user: Option<&'static str>,
}

struct Process {
    supervisor: Supervisor,
    arguments: Vec<String>,
}

impl PrivateServer {
    /// Starts a server, and waits until it greets clients. If it doesn't, the error has the end of
    /// its log.
    pub fn start(installation: &Installation, options: ServerOptions) -> Result<Self> {
        /// Another program may take the free port before the server does.
        const RETRIES: usize = 4;
        let ServerOptions { arguments, address, port: chosen, parent_directory, user } = options;
        let free = || ports::free::<1>(address).map(|[port]| port);
        let port = chosen.map_or_else(free, Ok)?;
        let supervisor = Supervisor::new(parent_directory.as_deref())?;
        let directory = supervisor.directory();
        template::copy(installation, &directory.join("data"))?;
        if let Some(user) = user {
            program::run(Command::new("chown").args(["-R", user]).arg(directory))?;
        }
        let mut server = Self {
            installation: installation.clone(),
            address: (address, port).into(),
            user,
            process: Mutex::new(Process { supervisor, arguments }),
        };
        let mut retries = 0..RETRIES;
        loop {
            let started = server.launch();
            let is_port_taken = || server.log_tail().contains("Address already in use");
            let is_bad_luck = started.is_err() && chosen.is_none() && is_port_taken();
            if !is_bad_luck || retries.next().is_none() {
                return started.map(|()| server);
            }
            server.address.set_port(free()?);
        }
    }

    /// Whose server it is.
    pub fn product(&self) -> Product {
        self.installation.product()
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port that it listens on, which stays the same when it is restarted.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of the server, which names no database: `mysql://root@127.0.0.1:15432`.
    pub fn url(&self) -> String {
        format!("mysql://root@{}", self.address)
    }

    /// The socket that it listens on.
    pub(crate) fn socket(&self) -> PathBuf {
        self.process().supervisor.directory().join("socket")
    }

    /// Runs statements as root, with the product's own client, and returns the resulting rows, one
    /// a line, with tabs between columns.
    pub fn execute(&self, sql: &str) -> Result<String> {
        let mut client = self.installation.program(self.installation.client())?;
        client.args(["--no-defaults", "--user=root", "--protocol=tcp", "--connect-timeout=2"]);
        client.arg(format!("--host={}", self.address.ip())).arg(format!("--port={}", self.port()));
        client.args(["--batch", "--skip-column-names", "--execute", sql]);
        program::read(&mut client)
    }

    /// Ends the server with SIGKILL, as a crash does, and waits until it is gone. Its data stay.
    pub fn kill(&self) -> Result {
        self.process().supervisor.end(Signal::KILL)
    }

    /// Shuts the server down, and waits until it is gone. Its data stay.
    pub fn stop(&self) -> Result {
        self.process().supervisor.end(Signal::TERM)
    }

    /// Starts the server again, on the same data and port. If it runs, it is shut down first.
    pub fn restart(&self) -> Result {
        self.stop()?;
        self.launch()
    }

    /// Like [`restart`](Self::restart), with other arguments. The rest of the options is ignored:
    /// address and port stay what they are.
    pub fn restart_with(&self, options: ServerOptions) -> Result {
        self.stop()?;
        self.process().arguments = options.arguments;
        self.launch()
    }

    /// Stops the server with SIGSTOP: connections stay open, and nothing answers.
    pub fn freeze(&self) -> Result {
        self.process().supervisor.freeze()
    }

    /// Continues a frozen server.
    pub fn thaw(&self) -> Result {
        self.process().supervisor.signal(Signal::CONT)
    }

    /// Whether the server has a process, which may be frozen.
    pub fn is_running(&self) -> bool {
        self.process().supervisor.is_running()
    }

    /// The end of the server's log.
    pub fn log_tail(&self) -> String {
        log_tail(self.process().supervisor.directory())
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        // A panic leaves it complete, so poisoning means nothing.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn launch(&self) -> Result {
        let mut process = self.process();
        let Process { supervisor, arguments } = &mut *process;
        let mut command = self.installation.server(self.user)?;
        for (option, name) in [
            ("--datadir", "data"),
            ("--socket", "socket"),
            ("--pid-file", "pid"),
            ("--log-error", "error.log"),
            ("--tmpdir", ""),
        ] {
            command.arg(format!("{option}={}", supervisor.directory().join(name).display()));
        }
        command
            .arg(format!("--bind-address={}", self.address.ip()))
            .arg(format!("--port={}", self.port()))
            .arg("--innodb-buffer-pool-size=32M")
            // A commit is written at once, which is enough for a killed server, and flushed to the
            // disk every second.
            .arg("--innodb-flush-log-at-trx-commit=2")
            .args(template::options(self.installation.release()))
            .args(arguments);
        supervisor.start(&command)?;
        wait_for_greeting(supervisor, self.address)
    }
}

impl fmt::Debug for PrivateServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PrivateServer").field("url", &self.url()).finish_non_exhaustive()
    }
}

fn log_tail(directory: &Path) -> String {
    let log = |name| fs::read(directory.join(name)).unwrap_or_default();
    let both = [log("output.log"), log("error.log")].concat();
    tail(&String::from_utf8_lossy(&both))
}

/// Waits until the server greets on its socket, which can't be another server's, and then at its
/// address.
pub(crate) fn wait_for_greeting(supervisor: &mut Supervisor, address: SocketAddr) -> Result {
    let started = Instant::now();
    let socket = supervisor.directory().join("socket");
    let mut greets_on_socket = false;
    let problem = loop {
        if !supervisor.is_running() {
            break "the server ended";
        }
        greets_on_socket = greets_on_socket || reads_greeting(|| connect_to_socket(&socket));
        if greets_on_socket && reads_greeting(|| connect(address)) {
            return Ok(());
        }
        if started.elapsed() > TIMEOUT {
            supervisor.end(Signal::KILL)?;
            break "the server doesn't greet";
        }
        thread::sleep(POLL_INTERVAL);
    };
    Err(format!("{problem}:\n{}", log_tail(supervisor.directory())).into())
}

fn connect_to_socket(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
    Ok(stream)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, GREETING_TIMEOUT)?;
    stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
    Ok(stream)
}

/// Whether the first packet is a greeting: its number is 0, and the protocol's version 10.
fn reads_greeting<S: Read>(connect: impl FnOnce() -> io::Result<S>) -> bool {
    let mut header = [0; 5];
    let read = connect().and_then(|mut stream| stream.read_exact(&mut header));
    read.is_ok() && header[3] == 0 && header[4] == 10
}

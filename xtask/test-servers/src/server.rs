//! A server of one's own.

use std::fmt;
use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::program::{self, tail};
use super::supervisor::Supervisor;
use super::{Installation, Product, ports, template};
use crate::Result;

/// Only ends what hangs.
const TIMEOUT: Duration = Duration::from_secs(90);

const PAUSE: Duration = Duration::from_millis(5);

/// How a [`PrivateServer`] is to be started.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    arguments: Vec<String>,
    address: Ipv4Addr,
    port: Option<u16>,
    place: Option<PathBuf>,
    pub(super) user: Option<&'static str>,
}

impl ServerOptions {
    /// A free port of 127.0.0.1, and no arguments besides those that every server gets.
    #[must_use]
    pub fn new() -> Self {
        Self {
            arguments: Vec::new(),
            address: Ipv4Addr::LOCALHOST,
            port: None,
            place: None,
            user: None,
        }
    }

    /// One more argument of the server, such as `--default-time-zone=+05:30`. `America/New_York`,
    /// `Asia/Kolkata` and `Europe/Berlin` are known by their names. None by default.
    #[must_use]
    pub fn with_arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The address to listen on, 127.0.0.1 by default.
    #[must_use]
    pub fn with_address(mut self, address: Ipv4Addr) -> Self {
        self.address = address;
        self
    }

    /// The directory in which the server's own is made, with its data: on the disk that is to be
    /// measured, say. By default it is where temporary files go, which may be memory.
    #[must_use]
    pub fn with_place(mut self, place: impl Into<PathBuf>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// The port to listen on. By default it is one that is free.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A server of one's own, with new data, where root needs no password.
///
/// It ends when it is dropped, and also when the process that started it ends in any other way: by a panic,
/// `process::exit`, an interrupt or SIGKILL. Its directory goes with it.
pub struct PrivateServer {
    pub(super) installation: Installation,
    process: Mutex<Process>,
    address: SocketAddr,
    user: Option<&'static str>,
}

struct Process {
    supervisor: Supervisor,
    arguments: Vec<String>,
}

impl PrivateServer {
    /// Starts a server, and waits until it greets clients.
    ///
    /// # Errors
    ///
    /// It doesn't start. The error has the end of the server's log.
    pub fn start(installation: &Installation, options: ServerOptions) -> Result<Self> {
        /// Somebody else may take the free port before the server does.
        const ATTEMPTS: usize = 5;
        let ServerOptions { arguments, address, port: chosen, place, user } = options;
        let free = || ports::free::<1>(address).map(|[port]| port);
        let port = chosen.map_or_else(free, Ok)?;
        let supervisor = Supervisor::new(place.as_deref())?;
        let directory = supervisor.directory();
        template::copy(installation, &directory.join("data"))?;
        if let Some(user) = user {
            give(directory, user)?;
        }
        let mut server = Self {
            installation: installation.clone(),
            address: (address, port).into(),
            user,
            process: Mutex::new(Process { supervisor, arguments }),
        };
        for _ in 1..ATTEMPTS {
            match server.launch() {
                Ok(()) => return Ok(server),
                Err(error) if chosen.is_some() => return Err(error),
                Err(_) if server.log_tail().contains("Address already in use") => {
                    server.address.set_port(free()?);
                }
                Err(error) => return Err(error),
            }
        }
        server.launch()?;
        Ok(server)
    }

    /// Whose server it is.
    #[must_use]
    pub fn product(&self) -> Product {
        self.installation.product()
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port that it listens on, which stays the same when it is restarted.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of the server, which names no database: `mysql://root@127.0.0.1:15432`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mysql://root@{}", self.address())
    }

    /// Has the product's own client run statements as root, and gives the rows that come of them, one
    /// a line, with tabs between columns.
    ///
    /// # Errors
    ///
    /// The server can't be reached, or refuses a statement.
    pub fn execute(&self, sql: &str) -> Result<String> {
        let name = match self.product() {
            Product::MariaDb => "mariadb",
            Product::MySql => "mysql",
        };
        let mut client = self.installation.program(name)?;
        client.args(["--no-defaults", "--user=root", "--protocol=tcp", "--connect-timeout=2"]);
        client.arg(format!("--host={}", self.address.ip())).arg(format!("--port={}", self.port()));
        client.args(["--batch", "--skip-column-names", "--execute", sql]);
        program::read(&mut client)
    }

    /// Ends the server with SIGKILL, as a crash does, and waits until it is gone. Its data stay.
    ///
    /// # Errors
    ///
    /// It doesn't end.
    pub fn kill(&self) -> Result {
        self.process().supervisor.end(Signal::KILL)
    }

    /// Ends the server in an orderly way, and waits until it is gone. Its data stay.
    ///
    /// # Errors
    ///
    /// It doesn't end.
    pub fn stop(&self) -> Result {
        self.process().supervisor.end(Signal::TERM)
    }

    /// Starts the server again on its data and port. One that runs is ended in an orderly way before.
    ///
    /// # Errors
    ///
    /// It doesn't end, or doesn't start.
    pub fn restart(&self) -> Result {
        self.stop()?;
        self.launch()
    }

    /// The same with other arguments than before. Address and port stay what they are, whatever the
    /// options say.
    ///
    /// # Errors
    ///
    /// It doesn't end, or doesn't start.
    pub fn restart_with(&self, options: ServerOptions) -> Result {
        self.stop()?;
        self.process().arguments = options.arguments;
        self.launch()
    }

    /// Stops the server in its tracks: connections stay open, and nothing answers.
    ///
    /// # Errors
    ///
    /// It isn't running.
    pub fn freeze(&self) -> Result {
        self.process().supervisor.freeze()
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    ///
    /// It isn't running.
    pub fn thaw(&self) -> Result {
        self.process().supervisor.signal(Signal::CONT)
    }

    /// Whether there is a process, be it frozen.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process().supervisor.is_running()
    }

    /// The end of the server's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        log_tail(self.process().supervisor.directory())
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        // It is whole after every step.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn launch(&self) -> Result {
        let mut process = self.process();
        let Process { supervisor, arguments } = &mut *process;
        let directory = supervisor.directory().to_owned();
        let in_directory =
            |option: &str, name: &str| format!("{option}={}", directory.join(name).display());
        let product = self.installation.product();
        let mut command = self.installation.server(self.user)?;
        command
            .arg(in_directory("--datadir", "data"))
            .arg(in_directory("--socket", "socket"))
            .arg(in_directory("--pid-file", "pid"))
            .arg(in_directory("--log-error", "error.log"))
            .arg(in_directory("--tmpdir", ""))
            .arg(format!("--bind-address={}", self.address.ip()))
            .arg(format!("--port={}", self.port()))
            .arg("--innodb-buffer-pool-size=32M")
            // Commits are with the system at once, which is what a killed server needs, and with the
            // disk every second.
            .arg("--innodb-flush-log-at-trx-commit=2")
            .args(template::options(product))
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

/// Makes a directory and everything in it another user's.
fn give(directory: &Path, user: &str) -> Result {
    program::run(Command::new("chown").args(["-R", user]).arg(directory))
}

fn log_tail(directory: &Path) -> String {
    let log = |name| fs::read(directory.join(name)).unwrap_or_default();
    let both = [log("output.log"), log("error.log")].concat();
    tail(&String::from_utf8_lossy(&both))
}

/// Waits until the server greets on its socket, which can't be anybody else's, and then at its address.
fn wait_for_greeting(supervisor: &mut Supervisor, address: SocketAddr) -> Result {
    let started = Instant::now();
    let socket = supervisor.directory().join("socket");
    let mut has_socket = false;
    loop {
        if !supervisor.is_running() {
            return Err(format!("the server ended:\n{}", log_tail(supervisor.directory())).into());
        }
        has_socket = has_socket || greets_on_socket(&socket);
        if has_socket && greets(address) {
            return Ok(());
        }
        if started.elapsed() > TIMEOUT {
            supervisor.end(Signal::KILL)?;
            return Err(
                format!("the server doesn't greet:\n{}", log_tail(supervisor.directory())).into()
            );
        }
        thread::sleep(PAUSE);
    }
}

fn greets_on_socket(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok_and(|mut stream| {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        is_greeting(|header| stream.read_exact(header))
    })
}

fn greets(address: SocketAddr) -> bool {
    const TIMEOUT: Duration = Duration::from_secs(1);
    TcpStream::connect_timeout(&address, TIMEOUT).is_ok_and(|mut stream| {
        let _ = stream.set_read_timeout(Some(TIMEOUT));
        is_greeting(|header| stream.read_exact(header))
    })
}

/// A packet with the number 0, and version 10 of the protocol.
fn is_greeting(read: impl FnOnce(&mut [u8]) -> std::io::Result<()>) -> bool {
    let mut header = [0; 5];
    read(&mut header).is_ok() && header[3] == 0 && header[4] == 10
}

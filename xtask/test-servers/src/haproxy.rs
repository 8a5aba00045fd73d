//! `HAProxy` between clients and servers, which passes bytes on and knows nothing of the protocol.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::packaged_program::PackagedProgram;
use crate::packages::PackageSet;
use crate::supervisor::Supervisor;
use crate::{Result, ports, server};

const HAPROXY: PackagedProgram = PackagedProgram {
    name: "haproxy",
    directory: "usr/sbin",
    package: PackageSet::HAPROXY,
    how_to_get_it: "Debian: apt-get install haproxy",
};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// An `HAProxy` that ends with the process that started it, however that ends.
///
/// It uses the first of its servers that takes connections. Servers are named by their index, from
/// 0.
#[derive(Debug)]
pub struct HaProxy {
    address: SocketAddr,
    // It ends the proxy when it is dropped.
    supervisor: Supervisor,
}

impl HaProxy {
    /// Gets the program if it isn't there: Debian's package is unpacked below the target directory.
    pub fn obtain() -> Result {
        HAPROXY.obtain()
    }

    /// Starts the program, and waits until a server's greeting comes through it. Connections that
    /// are silent for `idle` are closed.
    pub fn start(servers: &[SocketAddr], idle: Duration) -> Result<Self> {
        let mut command = HAPROXY.find().ok_or(
            "there is no HAProxy here; `cargo xtask test-proxies` gets it and runs the tests",
        )?;
        let [port] = ports::free(Ipv4Addr::LOCALHOST)?;
        let mut supervisor = Supervisor::new(None)?;
        let directory = supervisor.directory();
        let configuration = directory.join("haproxy.cfg");
        fs::write(&configuration, configure(directory, port, servers, idle)?)?;
        supervisor.start(command.arg("-f").arg(configuration))?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        server::wait_for_greeting(&mut supervisor, address)?;
        Ok(Self { address, supervisor })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes a server out of use, and closes the connections to it.
    pub fn take_out(&self, index: usize) -> Result {
        self.tell(&format!("set server mysql/{index} state maint"))?;
        self.tell(&format!("shutdown sessions server mysql/{index}")).map(drop)
    }

    /// Puts a server to use again.
    pub fn put_back(&self, index: usize) -> Result {
        self.tell(&format!("set server mysql/{index} state ready")).map(drop)
    }

    /// Waits until no connection goes through it.
    pub fn wait_until_unused(&self) -> Result {
        while self.connections()? > 0 {
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// How many connections go through it.
    pub fn connections(&self) -> Result<usize> {
        const CURRENT_SESSIONS: usize = 4;
        let statistics = self.tell("show stat mysql 1 -1")?;
        let row = statistics.lines().find(|row| row.starts_with("mysql,FRONTEND,"));
        let field = row.and_then(|row| row.split(',').nth(CURRENT_SESSIONS));
        Ok(field.ok_or("its statistics have no sessions")?.parse()?)
    }

    /// Gives a command to the running proxy, and returns its answer.
    fn tell(&self, command: &str) -> Result<String> {
        let mut stream = UnixStream::connect(self.supervisor.directory().join("admin"))?;
        writeln!(stream, "{command}")?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

fn configure(
    directory: &Path,
    port: u16,
    servers: &[SocketAddr],
    idle: Duration,
) -> Result<String> {
    let (directory, idle) = (directory.display(), idle.as_millis());
    let mut lines = format!(
        "global
    stats socket {directory}/admin level admin
defaults
    mode tcp
    timeout connect 2s
    timeout client {idle}ms
    timeout server {idle}ms
    timeout check 1s
listen mysql
    bind 127.0.0.1:{port}
    bind unix@{directory}/socket
    default-server check inter 200ms fall 2 rise 2 on-marked-down shutdown-sessions
"
    );
    for (index, server) in servers.iter().enumerate() {
        let role = if index == 0 { "" } else { " backup" };
        writeln!(lines, "    server {index} {server}{role}")?;
    }
    Ok(lines)
}

//! TiDB, as one process with its storage in memory or in files, which is built from its source.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::go::GoProgram;
use crate::supervisor::Supervisor;
use crate::{Result, ports, server};

const TIDB_SERVER: GoProgram = GoProgram {
    engine: "tidb",
    module: "github.com/pingcap/tidb",
    package: "cmd/tidb-server",
    // The Go release that this TiDB accepts; it reads it from the program and panics on others.
    linker_flags: "-X runtime.buildVersion=go1.25.8",
};

/// A TiDB that ends with the process that started it, however that ends.
#[derive(Debug)]
pub struct TidbServer {
    address: SocketAddr,
    // It ends the server when it is dropped.
    _supervisor: Supervisor,
}

impl TidbServer {
    /// Returns the server's program, which is built below the target directory if it isn't there.
    pub fn obtain_program() -> Result<PathBuf> {
        TIDB_SERVER.obtain()
    }

    /// Starts the program, and waits until it greets clients.
    pub fn start(program: &Path) -> Result<Self> {
        let [port, status_port] = ports::free::<2>(Ipv4Addr::LOCALHOST)?;
        let mut supervisor = Supervisor::new(None)?;
        let path = |name: &str| supervisor.directory().join(name).display().to_string();
        let mut command = Command::new(program);
        command
            .arg("--store=unistore")
            .arg(format!("--path={}", path("data")))
            .arg(format!("--temp-dir={}", path("temporary")))
            .arg(format!("--socket={}", path("socket")))
            .arg(format!("--log-file={}", path("error.log")))
            .arg(format!("--log-slow-query={}", path("slow.log")))
            .args(["--host=127.0.0.1", "--status-host=127.0.0.1", "-L=error"])
            .args([format!("-P={port}"), format!("--status={status_port}")]);
        supervisor.start(&command)?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        server::wait_for_greeting(&mut supervisor, address)?;
        Ok(Self { address, _supervisor: supervisor })
    }

    /// The URL of the server, which names no database.
    pub fn url(&self) -> String {
        format!("mysql://root@{}", self.address)
    }
}

//! TiDB, as one process with its storage in memory or in files, which is built from its source.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::make_once;
use crate::supervisor::Supervisor;
use crate::{Result, ports, program, server};

/// The Go module that requires the release.
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../engines/tidb");

/// The package of the server.
const PACKAGE: &str = "github.com/pingcap/tidb/cmd/tidb-server";

/// The Go release that this TiDB accepts; it reads it from the program and panics on others.
const GO_RELEASE: &str = "go1.25.8";

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
        let name = format!("tidb-{}", version()?);
        let directory = make_once(&name, |directory| {
            if program::run(Command::new("go").arg("version")).is_err() {
                return Err("TiDB is a Go program: `go`, 1.25 or newer, must be in the PATH".into());
            }
            let flags = format!("-ldflags=-s -w -X runtime.buildVersion={GO_RELEASE}");
            let mut build = Command::new("go");
            build.current_dir(MODULE).args(["build", "-buildvcs=false", &flags, "-o"]);
            program::run(build.arg(directory).arg(PACKAGE))
        })?;
        Ok(directory.join("tidb-server"))
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

/// The version that the module requires.
fn version() -> Result<String> {
    let manifest = fs::read_to_string(Path::new(MODULE).join("go.mod"))?;
    let mut words =
        manifest.split_whitespace().skip_while(|word| *word != "github.com/pingcap/tidb");
    words.nth(1).map(str::to_owned).ok_or_else(|| "go.mod requires no TiDB".into())
}

//! Vitess, as one process over a MySQL, which is built from its source.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::getuid;

use crate::go::GoProgram;
use crate::supervisor::Supervisor;
use crate::{Installation, PrivateServer, Result, ServerOptions, ports, program, server};

/// All components of Vitess in one program, as its own tests use it.
const VTCOMBO: GoProgram = GoProgram {
    engine: "vitess",
    module: "vitess.io/vitess",
    package: "go/cmd/vtcombo",
    linker_flags: "",
};

/// Vitess refuses to be root's process.
const USER: &str = "nobody";

/// As whom Vitess is a client of its MySQL, for each of its purposes.
const ROLES: [&str; 7] = ["allprivs", "app", "appdebug", "dba", "erepl", "filtered", "repl"];

/// A cell, and a keyspace, without which clients that ask for variables are disconnected.
const TOPOLOGY: &str =
    r#"--json-topo={"cells":["test"],"keyspaces":[{"name":"first","shards":[{"name":"0"}]}]}"#;

/// A Vitess that ends with the process that started it, however that ends.
///
/// A database of it is a keyspace of one shard, which CREATE DATABASE makes.
#[derive(Debug)]
pub struct VitessServer {
    address: SocketAddr,
    // It ends the server when it is dropped, before that server's MySQL.
    _supervisor: Supervisor,
    mysql: PrivateServer,
}

impl VitessServer {
    /// Returns the server's program, which is built below the target directory if it isn't there.
    pub fn obtain_program() -> Result<PathBuf> {
        VTCOMBO.obtain()
    }

    /// Starts a MySQL, and the program over it, and waits until that greets clients.
    pub fn start(program: &Path, mysql: &Installation) -> Result<Self> {
        let arguments = [
            "--log-bin=binlog",
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            // Each keyspace has tablets, and each tablet has pools.
            "--max-connections=5000",
        ];
        let options = arguments.into_iter().fold(ServerOptions::new(), ServerOptions::with_arg);
        let mysql = PrivateServer::start(mysql, options)?;
        mysql.execute("CREATE DATABASE vt_first_0")?;
        let [port, status_port] = ports::free::<2>(Ipv4Addr::LOCALHOST)?;
        let mut supervisor = Supervisor::new(None)?;
        let directory = supervisor.directory().to_owned();
        let mut command = Command::new(program);
        if getuid().is_root() {
            program::run(Command::new("chown").arg(USER).arg(&directory))?;
            command = Command::new("setpriv");
            command.args(["--clear-groups", "--regid=nogroup"]).arg(format!("--reuid={USER}"));
            command.arg(program);
        }
        command
            .env("VTDATAROOT", &directory)
            .args([TOPOLOGY, "--dbddl-plugin=vttest"])
            // How soon it finds the tablets of a new keyspace.
            .arg("--tablet-refresh-interval=50ms")
            .arg(format!("--db-socket={}", mysql.socket().display()))
            .args(ROLES.map(|role| format!("--db-{role}-user=root")))
            .args(["--mysql-auth-server-impl=none", "--mysql-server-bind-address=127.0.0.1"])
            .arg(format!("--mysql-server-port={port}"))
            .arg(format!("--mysql-server-socket-path={}", directory.join("socket").display()))
            .args(["--bind-address=127.0.0.1".to_owned(), format!("--port={status_port}")]);
        supervisor.start(&command)?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        server::wait_for_greeting(&mut supervisor, address)?;
        Ok(Self { address, _supervisor: supervisor, mysql })
    }

    /// The URL of the server, which names no database.
    pub fn url(&self) -> String {
        format!("mysql://root@{}", self.address)
    }

    /// The MySQL under it.
    pub fn mysql(&self) -> &PrivateServer {
        &self.mysql
    }
}

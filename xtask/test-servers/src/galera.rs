//! Three nodes of MariaDB that are one database.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use rustix::process::getuid;

use crate::{Installation, PrivateServer, Result, ServerOptions, ports};

/// Only ends what hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A lost node is noticed after two seconds instead of six. With less than that, nodes of a busy
/// machine suspect each other, and two survivors that also lose each other are no cluster any more.
const FAST_DETECTION: &str =
    "evs.keepalive_period=PT0.2S;evs.inactive_check_period=PT0.2S;evs.suspect_timeout=PT2S";

/// A Galera cluster of three nodes on 127.0.0.1, 127.0.0.2 and 127.0.0.3, which ends as a
/// [`PrivateServer`] does.
///
/// Nodes are named by their index, from 0; a method panics if there is no such node.
#[derive(Debug)]
pub struct GaleraCluster {
    nodes: Vec<PrivateServer>,
    members: Vec<Member>,
}

/// The address and ports on which the other nodes reach a node.
#[derive(Debug)]
struct Member {
    address: Ipv4Addr,
    group: u16,
    incremental: u16,
    transfer: u16,
}

impl GaleraCluster {
    /// Starts three nodes on free ports, and waits until all of them are one cluster. If one
    /// doesn't start or join, the error has the end of its log.
    pub fn start() -> Result<Self> {
        let installation = Installation::find_with_galera()?.ok_or(
            "there is no MariaDB with Galera here; `cargo xtask test-galera` gets it and runs the tests",
        )?;
        let user = user(&installation)?;
        let mut cluster = Self { nodes: Vec::new(), members: Vec::new() };
        let mut sql_ports = Vec::new();
        for address in [1, 2, 3].map(|last| Ipv4Addr::new(127, 0, 0, last)) {
            let [sql, group, incremental, transfer] = ports::free(address)?;
            cluster.members.push(Member { address, group, incremental, transfer });
            sql_ports.push(sql);
        }
        for (index, port) in sql_ports.into_iter().enumerate() {
            // The first founds the cluster, so it has no others to find.
            let seeds = if index == 0 { String::new() } else { cluster.seeds() };
            let mut options = cluster.options(&installation, index, &seeds)?.with_port(port);
            options.user = user;
            let node = PrivateServer::start(&installation, options)
                .map_err(|error| format!("node {index}: {error}"))?;
            cluster.nodes.push(node);
            for earlier in 0..=index {
                cluster.wait_for_members(earlier, index + 1)?;
            }
        }
        Ok(cluster)
    }

    /// The URLs of the nodes, which name no database.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(PrivateServer::url).collect()
    }

    /// A node as a server.
    pub fn node(&self, index: usize) -> &PrivateServer {
        &self.nodes[index]
    }

    /// Ends a node with SIGKILL, and waits until it is gone. The others notice after two or three
    /// seconds.
    pub fn kill(&self, index: usize) -> Result {
        self.nodes[index].kill()
    }

    /// Starts a node again, and waits until it has joined the others, of which a majority must run.
    /// If it runs, it is shut down first.
    pub fn restart(&self, index: usize) -> Result {
        let node = &self.nodes[index];
        node.restart_with(self.options(&node.installation, index, &self.seeds())?)?;
        self.wait_until_joined(index)
    }

    /// Stops a node with SIGSTOP: connections stay open, and nothing answers. The others notice as
    /// if it were gone.
    pub fn freeze(&self, index: usize) -> Result {
        self.nodes[index].freeze()
    }

    /// Continues a frozen node, and waits until it has joined the others again.
    pub fn thaw(&self, index: usize) -> Result {
        self.nodes[index].thaw()?;
        self.wait_until_joined(index)
    }

    /// Waits until a node takes statements, and sees this number of members in its cluster, itself
    /// included.
    pub fn wait_for_members(&self, index: usize, members: usize) -> Result {
        self.wait_until(index, |state| state.is_synced && state.members == members)
    }

    /// Waits until a node takes statements, and is in the same cluster as all others that answer. A
    /// node that was frozen has yet to notice that they went on without it.
    fn wait_until_joined(&self, index: usize) -> Result {
        self.wait_until(index, |state| {
            let others = self.nodes.iter().filter(|node| node.is_running());
            let mut others = others.filter_map(|node| State::read(node).ok());
            state.is_synced && others.all(|other| other.configuration == state.configuration)
        })
    }

    fn wait_until(&self, index: usize, is_reached: impl Fn(&State) -> bool) -> Result {
        let node = &self.nodes[index];
        let started = Instant::now();
        loop {
            let state = State::read(node);
            if state.as_ref().is_ok_and(&is_reached) {
                return Ok(());
            }
            if started.elapsed() > TIMEOUT {
                let log = node.log_tail();
                return Err(format!("node {index} doesn't join: {state:?}\n{log}").into());
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// The addresses at which a node looks for the cluster.
    fn seeds(&self) -> String {
        let seed = |member: &Member| format!("{}:{}", member.address, member.group);
        self.members.iter().map(seed).collect::<Vec<_>>().join(",")
    }

    fn options(
        &self,
        installation: &Installation,
        index: usize,
        seeds: &str,
    ) -> Result<ServerOptions> {
        let provider = installation.galera().ok_or("the installation has no Galera")?.display();
        let Member { address, group, incremental, transfer } = &self.members[index];
        // Part of the cluster's name, so that two clusters of one machine never merge.
        let cluster = self.members[0].group;
        let arguments = [
            "--binlog-format=ROW".to_owned(),
            "--innodb-autoinc-lock-mode=2".to_owned(),
            "--wsrep-on=ON".to_owned(),
            format!("--wsrep-provider={provider}"),
            format!("--wsrep-cluster-name=test-{cluster}"),
            format!("--wsrep-node-name=node-{index}"),
            format!("--wsrep-node-address={address}"),
            format!("--wsrep-cluster-address=gcomm://{seeds}"),
            "--wsrep-sst-method=rsync".to_owned(),
            format!("--wsrep-sst-receive-address={address}:{transfer}"),
            format!(
                "--wsrep-provider-options=base_host={address};base_port={group};\
                 gmcast.listen_addr=tcp://{address}:{group};ist.recv_addr={address}:{incremental};\
                 gcache.size=16M;{FAST_DETECTION}"
            ),
        ];
        let options = ServerOptions::new().with_address(*address);
        Ok(arguments.into_iter().fold(options, ServerOptions::with_arg))
    }
}

/// A node's own view of the cluster.
#[derive(Debug)]
struct State {
    is_synced: bool,
    members: usize,
    /// The number of the cluster's present membership, and the history in which that number grows.
    configuration: [String; 2],
}

impl State {
    fn read(node: &PrivateServer) -> Result<Self> {
        let rows = node.execute("SHOW STATUS LIKE 'wsrep_%'")?;
        let value = |name: &str| {
            let mut rows = rows.lines().filter_map(|row| row.split_once('\t'));
            rows.find(|(own, _)| *own == name).map_or("", |(_, value)| value)
        };
        Ok(Self {
            is_synced: value("wsrep_ready") == "ON"
                && value("wsrep_local_state_comment") == "Synced",
            members: value("wsrep_cluster_size").parse().unwrap_or(0),
            configuration: ["wsrep_cluster_conf_id", "wsrep_cluster_state_uuid"]
                .map(|name| value(name).to_owned()),
        })
    }
}

/// The user for the nodes' processes, if this is root: rsync, started by root, writes as nobody,
/// and the transfer of a state fails.
fn user(installation: &Installation) -> Result<Option<&'static str>> {
    if !getuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let exists = |name: &&str| users.lines().any(|line| line.split(':').next() == Some(*name));
    let user =
        ["mysql", "nobody"].into_iter().find(exists).ok_or("there is no user for the nodes")?;
    let is_closed = |path: &&Path| {
        let metadata = path.metadata();
        metadata.is_ok_and(|metadata| metadata.is_dir() && metadata.permissions().mode() & 1 == 0)
    };
    for path in [installation.galera().unwrap_or(Path::new("/")), &env::temp_dir()] {
        if let Some(closed) = path.ancestors().find(is_closed) {
            let closed = closed.display();
            return Err(format!(
                "as root, the nodes of a cluster run as {user}, who may not enter {closed}: \
                 run this as another user, or say `chmod o+x {closed}`"
            )
            .into());
        }
    }
    Ok(Some(user))
}

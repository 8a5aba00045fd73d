//! Three nodes of MariaDB that are one database.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use rustix::process::getuid;

use super::{Installation, PrivateServer, ServerOptions, ports};
use crate::Result;

/// Only ends what hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A node that is gone is noticed after two seconds instead of six. With less than that, nodes of a
/// busy machine suspect each other, and two survivors who fall out as well are no cluster any more.
const FAST: &str =
    "evs.keepalive_period=PT0.2S;evs.inactive_check_period=PT0.2S;evs.suspect_timeout=PT2S";

/// A Galera cluster of three nodes on 127.0.0.1, 127.0.0.2 and 127.0.0.3, which ends as a
/// [`PrivateServer`] does.
///
/// Nodes are named by their number, from 0.
#[derive(Debug)]
pub struct GaleraCluster {
    nodes: Vec<PrivateServer>,
    members: Vec<Member>,
}

/// Where a node is for the other nodes.
#[derive(Debug)]
struct Member {
    address: Ipv4Addr,
    group: u16,
    incremental: u16,
    transfer: u16,
}

impl GaleraCluster {
    /// Starts three nodes on free ports, and waits until all of them are one cluster.
    ///
    /// # Errors
    ///
    /// A cluster's programs aren't on this machine, or a node doesn't start or join. The error says
    /// what to do, or has the end of the node's log.
    pub fn start() -> Result<Self> {
        let installation = Installation::find_with_galera()?.ok_or(
            "there is no MariaDB with Galera here; `cargo xtask test-galera` gets it and runs the tests",
        )?;
        let user = user(&installation)?;
        let mut members = Vec::new();
        let mut sql_ports = Vec::new();
        for address in [1, 2, 3].map(|last| Ipv4Addr::new(127, 0, 0, last)) {
            let [sql, group, incremental, transfer] = ports::free(address)?;
            members.push(Member { address, group, incremental, transfer });
            sql_ports.push(sql);
        }
        let mut cluster = Self { nodes: Vec::new(), members };
        for (index, port) in sql_ports.into_iter().enumerate() {
            // The first founds the cluster, so it looks for nobody.
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
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(PrivateServer::url).collect()
    }

    /// A node as a server.
    ///
    /// # Panics
    ///
    /// There is no node of this number.
    #[must_use]
    pub fn node(&self, index: usize) -> &PrivateServer {
        &self.nodes[index]
    }

    /// Ends a node with SIGKILL, and waits until it is gone. The others notice after two seconds or three.
    ///
    /// # Errors
    ///
    /// It doesn't end.
    ///
    /// # Panics
    ///
    /// There is no node of this number.
    pub fn kill(&self, index: usize) -> Result {
        self.nodes[index].kill()
    }

    /// Starts a node again, and waits until it has joined the others, of which a majority must be
    /// there. One that runs is ended in an orderly way before.
    ///
    /// # Errors
    ///
    /// It doesn't end, start or join.
    ///
    /// # Panics
    ///
    /// There is no node of this number.
    pub fn restart(&self, index: usize) -> Result {
        let node = &self.nodes[index];
        node.restart_with(self.options(&node.installation, index, &self.seeds())?)?;
        self.wait_until_joined(index)
    }

    /// Stops a node in its tracks: connections stay open, and nothing answers. The others notice as
    /// if it were gone.
    ///
    /// # Errors
    ///
    /// It isn't running.
    ///
    /// # Panics
    ///
    /// There is no node of this number.
    pub fn freeze(&self, index: usize) -> Result {
        self.nodes[index].freeze()
    }

    /// Lets a frozen node go on, and waits until it has joined the others again.
    ///
    /// # Errors
    ///
    /// It isn't running, or doesn't join.
    ///
    /// # Panics
    ///
    /// There is no node of this number.
    pub fn thaw(&self, index: usize) -> Result {
        self.nodes[index].thaw()?;
        self.wait_until_joined(index)
    }

    /// Waits until a node takes statements, and sees as many members in its cluster, itself included.
    ///
    /// # Errors
    ///
    /// That doesn't come about.
    ///
    /// # Panics
    ///
    /// There is no node of this number.
    pub fn wait_for_members(&self, index: usize, members: usize) -> Result {
        self.wait_until(index, |state| state.is_synced && state.members == members)
    }

    /// Waits until a node takes statements, and is in the same cluster as all others that answer. One
    /// that was frozen has yet to notice that they went on without it.
    fn wait_until_joined(&self, index: usize) -> Result {
        self.wait_until(index, |state| {
            let others = self.nodes.iter().filter(|node| node.is_running());
            let mut others = others.filter_map(|node| self::state(node).ok());
            state.is_synced && others.all(|other| other.configuration == state.configuration)
        })
    }

    fn wait_until(&self, index: usize, is_so: impl Fn(&State) -> bool) -> Result {
        let node = &self.nodes[index];
        let started = Instant::now();
        loop {
            let state = state(node);
            if state.as_ref().is_ok_and(&is_so) {
                return Ok(());
            }
            if started.elapsed() > TIMEOUT {
                let log = node.log_tail();
                return Err(format!("node {index} doesn't join: {state:?}\n{log}").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn seeds(&self) -> String {
        let member = |member: &Member| format!("{}:{}", member.address, member.group);
        self.members.iter().map(member).collect::<Vec<_>>().join(",")
    }

    fn options(
        &self,
        installation: &Installation,
        index: usize,
        seeds: &str,
    ) -> Result<ServerOptions> {
        let provider = installation.galera().ok_or("the installation has no Galera")?;
        let Member { address, group, incremental, transfer } = &self.members[index];
        Ok(ServerOptions::new()
            .with_address(*address)
            .with_arg("--binlog-format=ROW")
            .with_arg("--innodb-autoinc-lock-mode=2")
            .with_arg("--wsrep-on=ON")
            .with_arg(format!("--wsrep-provider={}", provider.display()))
            // Two clusters of one machine don't merge, should they ever meet.
            .with_arg(format!("--wsrep-cluster-name=test-{}", self.members[0].group))
            .with_arg(format!("--wsrep-node-name=node-{index}"))
            .with_arg(format!("--wsrep-node-address={address}"))
            .with_arg(format!("--wsrep-cluster-address=gcomm://{seeds}"))
            .with_arg("--wsrep-sst-method=rsync")
            .with_arg(format!("--wsrep-sst-receive-address={address}:{transfer}"))
            .with_arg(format!(
                "--wsrep-provider-options=base_host={address};base_port={group};\
                 gmcast.listen_addr=tcp://{address}:{group};ist.recv_addr={address}:{incremental};\
                 gcache.size=16M;{FAST}"
            )))
    }
}

#[derive(Debug)]
struct State {
    is_synced: bool,
    members: usize,
    /// The number of the cluster's present membership, and of a history in which that number grows.
    configuration: [String; 2],
}

/// What a node says of itself.
fn state(node: &PrivateServer) -> Result<State> {
    let rows = node.execute("SHOW STATUS LIKE 'wsrep_%'")?;
    let value = |name: &str| {
        let mut rows = rows.lines().filter_map(|row| row.split_once('\t'));
        rows.find(|(own, _)| *own == name).map_or("", |(_, value)| value)
    };
    let is_synced = value("wsrep_ready") == "ON" && value("wsrep_local_state_comment") == "Synced";
    let members = value("wsrep_cluster_size").parse().unwrap_or(0);
    let configuration =
        ["wsrep_cluster_conf_id", "wsrep_cluster_state_uuid"].map(|name| value(name).to_owned());
    Ok(State { is_synced, members, configuration })
}

/// Whose processes nodes have to be: rsync, started by root, writes as nobody, and the transfer of a
/// state fails.
fn user(installation: &Installation) -> Result<Option<&'static str>> {
    if !getuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let has = |name: &&str| users.lines().any(|line| line.split(':').next() == Some(*name));
    let user = ["mysql", "nobody"].into_iter().find(has).ok_or("there is no user for the nodes")?;
    for path in [installation.galera().unwrap_or(Path::new("/")), &env::temp_dir()] {
        let is_closed = |place: &&Path| {
            place
                .metadata()
                .is_ok_and(|about| about.is_dir() && about.permissions().mode() & 0o001 == 0)
        };
        if let Some(place) = path.ancestors().find(is_closed) {
            let place = place.display();
            return Err(format!(
                "as root, the nodes of a cluster run as {user}, who may not enter {place}: \
                 run this as another user, or say `chmod o+x {place}`"
            )
            .into());
        }
    }
    Ok(Some(user))
}

//! The servers that tests start: they run, and they end whatever becomes of the test.
//!
//! `STORE_MYSQL_SERVER` chooses the server, as for the tests that use the servers.

use std::env;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use test_servers::{
    Installation, PrivateServer, Release, SERVER_VARIABLE, ServerOptions, URL_VARIABLE,
    private_server, shared_server,
};

/// Only ends what hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The product's programs. Whether they may be absent, and how that is reported, is the shared
/// server's business.
fn installation() -> Option<Installation> {
    shared_server()?;
    let release = Release::from_env().expect("a product");
    Installation::find(release).expect("programs that run")
}

/// Whether a client is greeted within a second.
fn greets(server: &PrivateServer) -> bool {
    let Ok(mut stream) = TcpStream::connect(server.address()) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    stream.read_exact(&mut [0; 5]).is_ok()
}

/// The processes that have the text in their command line, without those that have ended.
fn processes_with(text: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has_text = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    };
    pids.filter(has_text).collect()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < TIMEOUT, "{what}: not in {TIMEOUT:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_server_greets_where_it_says() {
    let Some(server) = private_server(ServerOptions::new()) else { return };
    assert!(server.is_running());
    assert!(greets(&server));
    assert_eq!(server.url(), format!("mysql://root@127.0.0.1:{}", server.port()));
    assert_eq!(server.execute("SELECT 1, 'a'").expect("a row"), "1\ta\n");
    let error = server.execute("SELECT nothing").expect_err("there is no such column");
    assert!(error.to_string().contains("nothing"), "{error}");
}

#[test]
fn a_killed_server_is_gone_and_comes_back_where_it_was() {
    let Some(server) = private_server(ServerOptions::new()) else { return };
    let url = server.url();
    server.execute("CREATE DATABASE kept").expect("a database");
    server.kill().expect("an end");
    assert!(!server.is_running());
    assert!(!greets(&server));
    server.kill().expect("nothing to do");

    server.restart().expect("a start");
    assert!(server.is_running());
    assert!(greets(&server));
    assert_eq!(server.url(), url);
    assert_eq!(server.execute("SHOW DATABASES LIKE 'kept'").expect("a row").trim(), "kept");
}

#[test]
fn a_running_server_is_restarted_in_an_orderly_way() {
    let Some(server) = private_server(ServerOptions::new()) else { return };
    server.restart().expect("a restart");
    assert!(greets(&server));
    let log = server.log_tail();
    assert!(log.contains("hutdown complete"), "{log}");
}

#[test]
fn a_frozen_server_accepts_and_says_nothing_until_it_is_thawed() {
    let Some(server) = private_server(ServerOptions::new()) else { return };
    server.freeze().expect("a freeze");
    assert!(server.is_running());
    assert!(!greets(&server));
    server.thaw().expect("a thaw");
    assert!(greets(&server));
}

#[test]
fn a_frozen_server_can_be_killed_and_dropped() {
    let Some(server) = private_server(ServerOptions::new()) else { return };
    server.freeze().expect("a freeze");
    server.kill().expect("an end");
    server.restart().expect("a start");
    assert!(greets(&server));
    server.freeze().expect("a freeze");
    let socket = format!("--port={}", server.port());
    assert_eq!(processes_with(&socket).len(), 1);
    drop(server);
    assert_eq!(processes_with(&socket), Vec::<u32>::new());
}

#[test]
fn two_servers_run_at_once() {
    let Some(first) = private_server(ServerOptions::new()) else { return };
    let Some(second) = private_server(ServerOptions::new()) else { return };
    assert_ne!(first.port(), second.port());
    assert!(greets(&first) && greets(&second));
    drop(first);
    assert!(greets(&second));
}

#[test]
fn zones_are_known_by_offset_and_by_name() {
    // When it was noon in summer in UTC.
    let options = ServerOptions::new().with_arg("--default-time-zone=+05:30");
    let Some(server) = private_server(options) else { return };
    let noon = || server.execute("SELECT FROM_UNIXTIME(1718280000)").expect("a time");
    assert_eq!(noon().trim(), "2024-06-13 17:30:00");

    for (zone, time) in [("America/New_York", "08:00:00"), ("UTC", "12:00:00")] {
        let options = ServerOptions::new().with_arg(format!("--default-time-zone={zone}"));
        server.restart_with(options).expect("a restart");
        assert_eq!(noon().trim(), format!("2024-06-13 {time}"));
    }
}

#[test]
fn address_and_port_can_be_chosen() {
    let Some(port) = private_server(ServerOptions::new()).map(|server| server.port()) else {
        return;
    };
    let address = Ipv4Addr::new(127, 0, 0, 2);
    let options = ServerOptions::new().with_address(address).with_port(port);
    let Some(server) = private_server(options) else { return };
    assert_eq!(server.address(), (address, port).into());
    assert!(greets(&server));
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let Some(installation) = installation() else { return };
    let options = ServerOptions::new().with_arg("--no-such-option=1");
    let error = PrivateServer::start(&installation, options).expect_err("no such option");
    assert!(error.to_string().contains("no-such-option"), "{error}");
}

#[test]
fn a_taken_port_is_an_error_where_it_was_chosen() {
    let Some(first) = private_server(ServerOptions::new()) else { return };
    let options = ServerOptions::new().with_port(first.port());
    let error = PrivateServer::start(&installation().expect("programs"), options);
    let error = error.expect_err("the port is taken").to_string();
    assert!(error.contains("Address already in use"), "{error}");
}

#[test]
fn all_tests_share_one_server() {
    let Some(first) = shared_server() else { return };
    let Some(second) = shared_server() else { return };
    assert_eq!(first.url(), second.url());
    assert!(first.private().is_some() || env::var_os(URL_VARIABLE).is_some());
}

/// What the tests below run as a process of its own: it starts servers, says where they are, and
/// ends in the way that its variable says.
#[test]
#[ignore = "other tests run it"]
fn holder() {
    let Ok(end) = env::var("HOLDER_ENDS") else { return };
    let frozen = private_server(ServerOptions::new()).expect("a server");
    frozen.freeze().expect("a freeze");
    // A static, which is never dropped.
    let shared = shared_server().expect("a server").url().to_owned();
    let shared = shared.rsplit(':').next().expect("a port");
    writeln!(io::stdout(), "ports {} {shared}", frozen.port()).expect("a reader");
    match end.as_str() {
        "exit" => std::process::exit(0),
        "panic" => panic!("as it was told"),
        _ => thread::sleep(TIMEOUT),
    }
}

struct Holder {
    process: Child,
    ports: Vec<String>,
    directories: Vec<PathBuf>,
}

impl Holder {
    fn start(end: &str) -> Option<Self> {
        installation()?;
        let release = Release::from_env().expect("a product");
        let mut process = Command::new(env::current_exe().expect("this program"))
            .args(["holder", "--exact", "--ignored", "--nocapture"])
            .env("HOLDER_ENDS", end)
            .env(SERVER_VARIABLE, release.name())
            .env_remove(URL_VARIABLE)
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let mut lines = output.lines().map_while(Result::ok);
        let line = lines.find_map(|line| Some(line.split_once("ports ")?.1.to_owned()));
        let ports = line.expect("ports").split(' ').map(|port| format!("--port={port}")).collect();
        let mut holder = Self { process, ports, directories: Vec::new() };
        if end == "wait" {
            holder.look();
        }
        Some(holder)
    }

    /// Finds the directories of the servers.
    fn look(&mut self) {
        for port in &self.ports {
            let pids = processes_with(port);
            assert_eq!(pids.len(), 1, "{port}");
            let line = fs::read(format!("/proc/{}/cmdline", pids[0])).expect("a command line");
            let line = String::from_utf8(line).expect("text");
            let data = line.split('\0').find_map(|word| word.strip_prefix("--datadir="));
            let directory = Path::new(data.expect("a directory")).parent().expect("its parent");
            assert!(directory.exists());
            self.directories.push(directory.to_owned());
        }
        assert_eq!(self.directories.len(), 2);
    }

    /// Nothing is left of the servers.
    fn assert_clean(mut self) {
        self.process.wait().expect("an end");
        for port in &self.ports {
            wait_until("a server ends", || processes_with(port).is_empty());
        }
        for directory in &self.directories {
            wait_until("a directory goes", || !directory.exists());
            let name = directory.to_str().expect("text");
            wait_until("a supervisor ends", || processes_with(name).is_empty());
        }
    }
}

#[test]
fn servers_end_with_a_killed_process() {
    let Some(mut holder) = Holder::start("wait") else { return };
    holder.process.kill().expect("a kill");
    holder.assert_clean();
}

#[test]
fn servers_end_with_a_terminated_group_of_processes() {
    let Some(mut holder) = Holder::start("wait") else { return };
    // As a terminal does it by SIGINT, which processes in the background may ignore.
    let group = i32::try_from(holder.process.id()).ok().and_then(Pid::from_raw);
    kill_process_group(group.expect("a group"), Signal::TERM).expect("a signal");
    let ended = holder.process.wait().expect("an end");
    assert_eq!(ended.signal(), Some(Signal::TERM.as_raw()));
    holder.assert_clean();
}

#[test]
fn servers_end_with_a_process_that_exits() {
    let Some(holder) = Holder::start("exit") else { return };
    holder.assert_clean();
}

#[test]
fn servers_end_with_a_process_that_panics() {
    let Some(holder) = Holder::start("panic") else { return };
    holder.assert_clean();
}

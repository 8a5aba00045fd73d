//! A proxy between a store and its server, which counts what is asked and can hold replies back.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use store_mysql::mysql::Opts;
use test_servers::Database;

/// The first byte of a command that executes a prepared statement.
const COM_STMT_EXECUTE: u8 = 0x17;

/// What all connections through a proxy share.
#[derive(Default)]
pub(crate) struct Traffic {
    /// Commands that clients have sent.
    pub(crate) commands: AtomicU64,
    /// Prepared statements that clients have executed.
    pub(crate) executions: AtomicU64,
    /// Every how many executions a reply is held back; zero for never.
    pub(crate) hold_every: AtomicU64,
    /// How long it is held back, in milliseconds.
    pub(crate) hold_for: AtomicU64,
    /// Replies that were held back.
    pub(crate) held: AtomicU64,
    /// Whether connections are cut after the next command has reached the server, before its reply.
    pub(crate) cut_next_reply: AtomicBool,
    /// Of how many commands from now on the last one is cut off; zero for none.
    cut_in: AtomicU64,
    /// Whether that one reaches the server, so that only its reply is lost.
    cut_delivers: AtomicBool,
    /// Whether the server's side of a connection stays when the client's is cut, until this proxy
    /// ends.
    pub(crate) keeps_server: AtomicBool,
    is_over: AtomicBool,
    clients: Mutex<Vec<TcpStream>>,
}

impl Traffic {
    /// Counts a command towards the one that is to be cut off.
    fn is_cut_here(&self) -> bool {
        let left = self
            .cut_in
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        left == Ok(1)
    }
}

/// A proxy that ends with this value.
pub(crate) struct Proxy {
    pub(crate) traffic: Arc<Traffic>,
    address: SocketAddr,
}

impl Proxy {
    /// A proxy to the server of a database.
    pub(crate) fn to_database(database: &Database) -> Self {
        let opts = Opts::from_url(&database.url()).expect("a URL");
        let host = opts.get_ip_or_hostname().into_owned();
        let address = (host.as_str(), opts.get_tcp_port())
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next());
        Self::to(address.expect("the server has an address"))
    }

    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let traffic = Arc::<Traffic>::default();
        thread::spawn({
            let traffic = Arc::clone(&traffic);
            move || {
                for client in listener.incoming() {
                    if traffic.is_over.load(Ordering::Acquire) {
                        break;
                    }
                    let Ok(client) = client else { continue };
                    let Ok(server) = TcpStream::connect(server) else { continue };
                    if let Ok(client) = client.try_clone() {
                        traffic.clients.lock().expect("no panic").push(client);
                    }
                    let traffic = Arc::clone(&traffic);
                    thread::spawn(move || relay(&client, &server, &traffic));
                }
            }
        });
        Self { traffic, address }
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        for client in self.traffic.clients.lock().expect("no panic").drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// Cuts a connection at the command after `passed` others, which reaches the server or not.
    pub(crate) fn cut_at(&self, passed: u64, is_delivered: bool) {
        self.traffic.cut_delivers.store(is_delivered, Ordering::Release);
        self.traffic.cut_in.store(passed + 1, Ordering::Release);
    }

    /// Ends what [`cut_at`](Self::cut_at) began, and returns whether the command has come.
    pub(crate) fn takes_cut_back(&self) -> bool {
        self.traffic.cut_in.swap(0, Ordering::AcqRel) == 0
    }

    /// The same URL, through the proxy.
    pub(crate) fn url(&self, direct: &str) -> String {
        let (scheme, rest) = direct.split_once("://").expect("a URL");
        let (authority, path) = rest.split_once('/').expect("a URL with a database");
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        format!("{scheme}://{user}@{}/{path}", self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.traffic.is_over.store(true, Ordering::Release);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

fn relay(client: &TcpStream, server: &TcpStream, traffic: &Traffic) {
    for stream in [client, server] {
        let _ = stream.set_nodelay(true);
    }
    // Numbers of commands whose replies the other direction has to hold back or cut.
    let hold = AtomicBool::new(false);
    let cut = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = pass_commands(client, server, traffic, &hold, &cut);
            if !traffic.keeps_server.load(Ordering::Acquire) {
                let _ = server.shutdown(Shutdown::Write);
            }
        });
        let _ = pass_replies(server, client, traffic, &hold, &cut);
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
}

/// A command is a packet with the number 0: three bytes of length, the number, and what the command
/// is.
fn pass_commands(
    mut client: &TcpStream,
    mut server: &TcpStream,
    traffic: &Traffic,
    hold: &AtomicBool,
    cut: &AtomicBool,
) -> io::Result<()> {
    loop {
        let mut header = [0; 4];
        client.read_exact(&mut header)?;
        let length =
            usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
        let mut packet = header.to_vec();
        packet.resize(4 + length, 0);
        client.read_exact(&mut packet[4..])?;
        if header[3] == 0 {
            traffic.commands.fetch_add(1, Ordering::AcqRel);
            if packet.get(4) == Some(&COM_STMT_EXECUTE) {
                let number = traffic.executions.fetch_add(1, Ordering::AcqRel) + 1;
                let every = traffic.hold_every.load(Ordering::Acquire);
                if every > 0 && number.is_multiple_of(every) {
                    traffic.held.fetch_add(1, Ordering::AcqRel);
                    hold.store(true, Ordering::Release);
                }
            }
            if traffic.cut_next_reply.swap(false, Ordering::AcqRel) {
                cut.store(true, Ordering::Release);
            }
            if traffic.is_cut_here() {
                if !traffic.cut_delivers.load(Ordering::Acquire) {
                    return client.shutdown(Shutdown::Both);
                }
                cut.store(true, Ordering::Release);
            }
        }
        server.write_all(&packet)?;
    }
}

fn pass_replies(
    mut server: &TcpStream,
    mut client: &TcpStream,
    traffic: &Traffic,
    hold: &AtomicBool,
    cut: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = server.read(&mut buffer)?;
        if read == 0 || cut.load(Ordering::Acquire) {
            return Ok(());
        }
        if hold.swap(false, Ordering::AcqRel) {
            thread::sleep(Duration::from_millis(traffic.hold_for.load(Ordering::Acquire)));
        }
        client.write_all(&buffer[..read])?;
    }
}

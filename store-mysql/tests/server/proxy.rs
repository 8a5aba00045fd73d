//! A proxy between a store and its server, which counts what is asked, can hold replies back, and
//! can be what is between machines: a network that forgets connections, a name that moves.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
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
    /// Of how many commands from now on the last one is cut off; zero for none.
    cut_in: AtomicU64,
    /// Whether that one reaches the server, so that only its reply is lost.
    cut_delivers: AtomicBool,
    /// Whether the server's side of a connection stays when the client's is cut, until this proxy
    /// ends.
    pub(crate) keeps_server: AtomicBool,
    /// How many connections there have been.
    connections: AtomicU64,
    /// The first so many connections swallow what is sent on them, in both directions.
    forgotten: AtomicU64,
    /// Commands that were swallowed.
    pub(crate) swallowed: AtomicU64,
    /// How many of the next connections are asked by this proxy to prove their passwords by a
    /// method for which the driver needs a feature that is off.
    pub(crate) bad_greetings: AtomicU64,
    /// Whether the next COMMIT is answered by this proxy as if it had been interrupted, and doesn't
    /// reach the server.
    pub(crate) interrupt_next_commit: AtomicBool,
    /// By how many seconds the server's clock is made to look fast.
    pub(crate) clock_ahead: AtomicU64,
    is_over: AtomicBool,
    clients: Mutex<Vec<Weak<TcpStream>>>,
}

/// What MariaDB greets with: the protocol, the version, the connection's number, eight bytes of a
/// challenge, capabilities, the character set, the status, more capabilities, the length of the
/// challenge, a gap, the rest of it, and the method by which most passwords are proven.
const GREETING: &[u8] =
    b"\x0a5.5.5-10.11.0-MariaDB\x00\x01\x00\x00\x00abcdefgh\x00\xfe\xf7\x2d\x02\x00\
    \xff\x81\x15\x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00abcdefghijkl\x00mysql_native_password\x00";

/// What it says if this account's password is proven by another method, and its challenge.
const SWITCH: &[u8] = b"\xfeclient_ed25519\x00abcdefghijklmnopqrstuvwxyz012345";

/// A packet of the protocol: three bytes of length, a number, and the contents.
fn packet(number: u8, contents: &[u8]) -> Vec<u8> {
    let length = u8::try_from(contents.len()).expect("it is short");
    [&[length, 0, 0, number], contents].concat()
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
    server: Arc<Mutex<SocketAddr>>,
}

impl Proxy {
    /// A proxy to the server of a database.
    pub(crate) fn to_database(database: &Database) -> Self {
        Self::to(address_of(database))
    }

    /// Leads new connections to the server of another database.
    pub(crate) fn move_to(&self, database: &Database) {
        *self.server.lock().expect("no panic") = address_of(database);
    }

    /// Swallows from now on what is sent on the connections that there are, as a network that has
    /// forgotten them.
    pub(crate) fn forget_connections(&self) {
        let connections = self.traffic.connections.load(Ordering::Acquire);
        self.traffic.forgotten.store(connections, Ordering::Release);
    }

    /// Swallows from now on whatever is sent, as a host without power.
    pub(crate) fn forget_everything(&self) {
        self.traffic.forgotten.store(u64::MAX, Ordering::Release);
    }

    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let traffic = Arc::<Traffic>::default();
        let server = Arc::new(Mutex::new(server));
        thread::spawn({
            let (traffic, server) = (Arc::clone(&traffic), Arc::clone(&server));
            move || {
                for client in listener.incoming() {
                    if traffic.is_over.load(Ordering::Acquire) {
                        break;
                    }
                    let Ok(mut client) = client else { continue };
                    let is_bad = |left: u64| left.checked_sub(1);
                    let bad = traffic.bad_greetings.fetch_update(
                        Ordering::AcqRel,
                        Ordering::Acquire,
                        is_bad,
                    );
                    if bad.is_ok() {
                        // Until the client goes.
                        let greeted =
                            client.write_all(&[packet(0, GREETING), packet(2, SWITCH)].concat());
                        let _ = greeted.and_then(|()| io::copy(&mut client, &mut io::sink()));
                        continue;
                    }
                    let server = *server.lock().expect("no panic");
                    let Ok(server) = TcpStream::connect(server) else { continue };
                    let client = Arc::new(client);
                    {
                        let mut clients = traffic.clients.lock().expect("no panic");
                        // Sockets are few: an ordinary user's process has 1,024 of them.
                        clients.retain(|client| client.strong_count() > 0);
                        clients.push(Arc::downgrade(&client));
                    }
                    let number = traffic.connections.fetch_add(1, Ordering::AcqRel);
                    let traffic = Arc::clone(&traffic);
                    thread::spawn(move || relay(&client, &server, &traffic, number));
                }
            }
        });
        Self { traffic, address, server }
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        for client in self.traffic.clients.lock().expect("no panic").drain(..) {
            if let Some(client) = client.upgrade() {
                let _ = client.shutdown(Shutdown::Both);
            }
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

fn address_of(database: &Database) -> SocketAddr {
    let opts = Opts::from_url(&database.url()).expect("a URL");
    let host = opts.get_ip_or_hostname().into_owned();
    let address = (host.as_str(), opts.get_tcp_port())
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next());
    address.expect("the server has an address")
}

fn relay(client: &TcpStream, server: &TcpStream, traffic: &Traffic, number: u64) {
    for stream in [client, server] {
        let _ = stream.set_nodelay(true);
    }
    // Numbers of commands whose replies the other direction has to hold back or cut.
    let hold = AtomicBool::new(false);
    let cut = AtomicBool::new(false);
    let is_forgotten = || number < traffic.forgotten.load(Ordering::Acquire);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = pass_commands(client, server, traffic, &is_forgotten, &hold, &cut);
            if !traffic.keeps_server.load(Ordering::Acquire) && !is_forgotten() {
                let _ = server.shutdown(Shutdown::Write);
            }
        });
        let _ = pass_replies(server, client, traffic, &is_forgotten, &hold, &cut);
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
    is_forgotten: &impl Fn() -> bool,
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
        if is_forgotten() {
            traffic.swallowed.fetch_add(1, Ordering::AcqRel);
            continue;
        }
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
            if packet[4..] == *b"\x03COMMIT"
                && traffic.interrupt_next_commit.swap(false, Ordering::AcqRel)
            {
                // Error 1317.
                client.write_all(&self::packet(1, b"\xff\x25\x05#70100interrupted"))?;
                continue;
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
    is_forgotten: &impl Fn() -> bool,
    hold: &AtomicBool,
    cut: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = server.read(&mut buffer)?;
        if read == 0 || cut.load(Ordering::Acquire) {
            return Ok(());
        }
        if is_forgotten() {
            continue;
        }
        set_clock_ahead(&mut buffer[..read], traffic.clock_ahead.load(Ordering::Acquire));
        if hold.swap(false, Ordering::AcqRel) {
            thread::sleep(Duration::from_millis(traffic.hold_for.load(Ordering::Acquire)));
        }
        client.write_all(&buffer[..read])?;
    }
}

/// Moves each time in a reply that is written as seconds since the epoch with six digits of the
/// next one, which nothing but a look at the clock is.
fn set_clock_ahead(reply: &mut [u8], seconds: u64) {
    const SECONDS: usize = 10;
    const LENGTH: usize = SECONDS + 7;
    if seconds == 0 || reply.len() < LENGTH {
        return;
    }
    for start in 0..=reply.len() - LENGTH {
        let time = &mut reply[start..start + LENGTH];
        let is_digit = |at: usize| at == SECONDS || time[at].is_ascii_digit();
        if time[SECONDS] == b'.' && (0..LENGTH).all(is_digit) {
            let text = str::from_utf8(&time[..SECONDS]).expect("digits");
            let moved = text.parse::<u64>().expect("ten digits") + seconds;
            time[..SECONDS].copy_from_slice(moved.to_string().as_bytes());
        }
    }
}

//! A remedy for the HTTP server under rouille.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::thread::{self, Thread};
use std::time::Duration;

/// How often a connection is opened at least, and how long it is until the next one.
const INTERVAL: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// Opens connections to the server, and closes them at once.
///
/// The server, `tiny_http`, lends each connection a thread until it is closed. If several are
/// opened at the same time, as by a browser with many requests, some can stay in a queue until a
/// thread has nothing else to do; and browsers keep connections open for minutes. The thread of a
/// connection that is closed at once takes one of them from there. Its request leads to the next
/// such connection, until none is left.
#[derive(Default)]
pub(crate) struct Connections {
    opener: OnceLock<Thread>,
}

impl Connections {
    /// Others may be waiting that came together with the connection of this request.
    pub(crate) fn request_came(&self) {
        if let Some(opener) = self.opener.get() {
            opener.unpark();
        }
    }

    /// Opens connections from now on, for as long as the process runs.
    pub(crate) fn keep_moving(&self, mut server: SocketAddr) -> io::Result<()> {
        match server.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => server.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => server.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let opener = thread::Builder::new().name("connections".to_owned()).spawn(move || {
            loop {
                thread::park_timeout(INTERVAL);
                // If there are too many connections for one more, some will be closed.
                let _ = TcpStream::connect(server);
                thread::sleep(PAUSE);
            }
        })?;
        self.opener.get_or_init(|| opener.thread().clone());
        Ok(())
    }
}

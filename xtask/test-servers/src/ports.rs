//! Free ports.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use crate::Result;

/// Below the ports that the system uses for outgoing connections (from 32768 on Linux, from 49152
/// elsewhere). Otherwise a client that tries to reach a stopped server could take the server's
/// port, or be connected to itself.
const RANGE: Range<u16> = 15_000..32_000;

/// Returns ports that nobody listens on at this address. Another program may take one before it is
/// used.
pub(crate) fn free<const COUNT: usize>(address: Ipv4Addr) -> Result<[u16; COUNT]> {
    const ATTEMPTS: usize = 1_000;
    let listen = |_| TcpListener::bind((address, fastrand::u16(RANGE))).ok();
    // All of them stay open until the last is found, so that no two are the same.
    let listeners: Vec<_> = (0..ATTEMPTS).filter_map(listen).take(COUNT).collect();
    let port = |listener: &TcpListener| Ok(listener.local_addr()?.port());
    let ports = listeners.iter().map(port).collect::<io::Result<Vec<_>>>()?;
    ports.try_into().map_err(|_| format!("{address} has no {COUNT} free ports").into())
}

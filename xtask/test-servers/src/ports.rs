//! Ports that are free.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use crate::Result;

/// Below those that the system gives to outgoing connections (32768 and up on Linux, 49152
/// elsewhere). Otherwise a client that tries to reach a server which is down could take the server's
/// port, or be connected to itself.
const RANGE: Range<u16> = 15_000..32_000;

/// Ports that nobody listens on at this address. Somebody may by the time they are used.
pub(super) fn free<const COUNT: usize>(address: Ipv4Addr) -> Result<[u16; COUNT]> {
    const ATTEMPTS: usize = 1_000;
    let mut listeners = Vec::with_capacity(COUNT);
    for _ in 0..ATTEMPTS {
        // Those that were found stay open until all are, so that no two are the same.
        if let Ok(listener) = TcpListener::bind((address, fastrand::u16(RANGE))) {
            listeners.push(listener);
        }
        if listeners.len() == COUNT {
            break;
        }
    }
    let mut ports = [0; COUNT];
    if listeners.len() < COUNT {
        return Err(format!("{address} has no {COUNT} free ports").into());
    }
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

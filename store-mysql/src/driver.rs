//! The driver's connection, which only the process that made it may use, or even end.

use std::mem;
use std::ops::{Deref, DerefMut};

use mysql::Conn;
use store_core::backend::OwnerProcess;

/// The driver's connection.
///
/// In a process that was forked since, dropping it leaves the connection open: it is the parent's,
/// and to end it the driver would send `COM_QUIT` through the socket that both have.
pub(crate) struct Driver {
    /// There until it is dropped.
    connection: Option<Conn>,
    owner: OwnerProcess,
}

impl Driver {
    pub(crate) fn new(connection: Conn) -> Self {
        Self { connection: Some(connection), owner: OwnerProcess::current() }
    }

    /// Whether this process was forked from the one that connected.
    pub(crate) fn is_forked(&self) -> bool {
        self.owner.is_forked()
    }
}

impl Deref for Driver {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.connection.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Driver {
    fn deref_mut(&mut self) -> &mut Conn {
        self.connection.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.is_forked() {
            mem::forget(self.connection.take());
        }
    }
}

//! What threads share and wait for, named once.
//!
//! Applications get the standard library's primitives and crossbeam's channels. In a build with
//! `--cfg shuttle`, which only `cargo xtask schedules` makes, shuttle's take their places: they let
//! one thread run at a time, switch threads at every use, and choose the next one by a seed. So
//! the models of `xtask/schedules` try this crate's own code under a great many schedules, each of
//! which can be repeated.

#[cfg(shuttle)]
mod model;

#[cfg(shuttle)]
pub(crate) use self::model::{
    AtomicBool, Condvar, Instant, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    channel, thread,
};

#[cfg(not(shuttle))]
pub(crate) use std::{
    sync::atomic::AtomicBool,
    sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
    time::Instant,
};

pub(crate) use std::sync::atomic::Ordering;
pub(crate) use std::sync::{Arc, PoisonError};

/// Channels without a buffer: a message is handed over, or isn't sent.
#[cfg(not(shuttle))]
pub(crate) mod channel {
    use std::convert::Infallible;

    pub(crate) use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
    use crossbeam_channel::{RecvError, select_biased};

    pub(crate) fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
        crossbeam_channel::bounded(0)
    }

    /// Waits for a message, or for the end of the other channel: then it returns `None`.
    pub(crate) fn recv_until_closed<T>(
        receiver: &Receiver<T>,
        closed: &Receiver<Infallible>,
    ) -> Option<Result<T, RecvError>> {
        select_biased! {
            recv(closed) -> _ => None,
            recv(receiver) -> message => Some(message),
        }
    }
}

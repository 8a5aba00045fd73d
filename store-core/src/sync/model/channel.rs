//! Channels without a buffer, as crossbeam's: a sender waits until its message is taken.
//!
//! All channels of an execution share one lock and one condition, which tells of every change, so
//! that a receiver can wait for two channels.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use shuttle::sync::{Condvar, Mutex, MutexGuard};

use super::{times_out, wait_out};

#[derive(Default)]
struct Monitor {
    lock: Mutex<()>,
    changed: Condvar,
}

shuttle::lazy_static! {
    static ref MONITOR: Monitor = Monitor::default();
}

impl Monitor {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change of any channel.
    fn wait<'a>(&self, guard: MutexGuard<'a, ()>) -> MutexGuard<'a, ()> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }
}

/// One channel. It changes only under the monitor's lock.
struct Channel<T> {
    /// Messages that nobody has taken, each with its number.
    offers: VecDeque<(u64, T)>,
    next_number: u64,
    has_sender: bool,
    receivers: usize,
}

type Shared<T> = Arc<std::sync::Mutex<Channel<T>>>;

/// Runs without a switch of threads.
fn with<T, R>(channel: &Shared<T>, run: impl FnOnce(&mut Channel<T>) -> R) -> R {
    run(&mut channel.lock().unwrap_or_else(PoisonError::into_inner))
}

pub(crate) struct Sender<T>(Shared<T>);

pub(crate) struct Receiver<T>(Shared<T>);

#[derive(Debug)]
pub(crate) struct Disconnected;

#[derive(Debug)]
pub(crate) enum RecvTimeoutError {
    Timeout,
    Disconnected,
}

#[derive(Debug)]
pub(crate) enum TrySendError<T> {
    Full(T),
    Disconnected(T),
}

pub(crate) fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
    let channel =
        Channel { offers: VecDeque::new(), next_number: 0, has_sender: true, receivers: 1 };
    let channel = Arc::new(std::sync::Mutex::new(channel));
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

impl<T> Sender<T> {
    pub(crate) fn send(&self, message: T) -> Result<(), Disconnected> {
        let mut guard = MONITOR.lock();
        let number = with(&self.0, |channel| {
            channel.next_number += 1;
            channel.offers.push_back((channel.next_number, message));
            channel.next_number
        });
        MONITOR.changed.notify_all();
        loop {
            let sent = with(&self.0, |channel| {
                let offer = channel.offers.iter().position(|(own, _)| *own == number);
                match offer {
                    None => Some(Ok(())),
                    Some(offer) if channel.receivers == 0 => {
                        channel.offers.remove(offer);
                        Some(Err(Disconnected))
                    }
                    Some(_) => None,
                }
            });
            match sent {
                Some(sent) => return sent,
                None => guard = MONITOR.wait(guard),
            }
        }
    }

    /// Sends nothing: under another schedule, the receiver isn't waiting yet.
    pub(crate) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let _guard = MONITOR.lock();
        Err(match with(&self.0, |channel| channel.receivers) {
            0 => TrySendError::Disconnected(message),
            _ => TrySendError::Full(message),
        })
    }
}

impl<T> Receiver<T> {
    pub(crate) fn recv(&self) -> Result<T, Disconnected> {
        let mut guard = MONITOR.lock();
        loop {
            match self.take() {
                Some(taken) => return taken,
                None => guard = MONITOR.wait(guard),
            }
        }
    }

    pub(crate) fn recv_timeout(&self, time: Duration) -> Result<T, RecvTimeoutError> {
        let guard = MONITOR.lock();
        if let Some(taken) = self.take() {
            return taken.map_err(|Disconnected| RecvTimeoutError::Disconnected);
        }
        drop(guard);
        if times_out() {
            wait_out(time);
            return Err(RecvTimeoutError::Timeout);
        }
        self.recv().map_err(|Disconnected| RecvTimeoutError::Disconnected)
    }

    /// Takes a message, or the news that none will come, with the lock held.
    fn take(&self) -> Option<Result<T, Disconnected>> {
        let taken = with(&self.0, |channel| match channel.offers.pop_front() {
            Some((_, message)) => Some(Ok(message)),
            None if channel.has_sender => None,
            None => Some(Err(Disconnected)),
        });
        if matches!(taken, Some(Ok(_))) {
            MONITOR.changed.notify_all();
        }
        taken
    }
}

pub(crate) fn recv_until_closed<T>(
    receiver: &Receiver<T>,
    closed: &Receiver<Infallible>,
) -> Option<Result<T, Disconnected>> {
    let mut guard = MONITOR.lock();
    loop {
        if closed.take().is_some() {
            return None;
        }
        match receiver.take() {
            Some(taken) => return Some(taken),
            None => guard = MONITOR.wait(guard),
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        with(&self.0, |channel| channel.receivers += 1);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let _guard = MONITOR.lock();
        with(&self.0, |channel| channel.receivers -= 1);
        MONITOR.changed.notify_all();
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let _guard = MONITOR.lock();
        with(&self.0, |channel| channel.has_sender = false);
        MONITOR.changed.notify_all();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

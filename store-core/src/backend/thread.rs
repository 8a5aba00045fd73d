//! A thread of a store's own, and how it ends.

use std::convert::Infallible;
use std::fmt;
use std::mem;
use std::time::Duration;

use super::lock::lock;
use super::process::OwnerProcess;
use crate::Error;
use crate::sync::channel::{Receiver, RecvTimeoutError, Sender, rendezvous};
use crate::sync::thread::{self, JoinHandle, ThreadId};
use crate::sync::{Mutex, PoisonError};

/// The handle of a thread that works until it is stopped. Dropping it stops the thread.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use std::time::Duration;
/// use store_core::backend::BackgroundThread;
///
/// let ticks = Arc::new(AtomicU32::new(0));
/// let thread = BackgroundThread::start("ticker", {
///     let ticks = Arc::clone(&ticks);
///     move |stop| {
///         while !stop.wait_timeout(Duration::from_secs(60)) {
///             ticks.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// })?;
/// thread.stop(); // doesn't wait for the tick
/// thread.stop(); // harmless
/// assert_eq!(ticks.load(Ordering::Relaxed), 0);
/// # Ok::<(), store_core::Error>(())
/// ```
pub struct BackgroundThread {
    /// Dropping the sender ends the thread. It is a lock of its own so that the thread itself, in a
    /// hook of the application, can ask for the end while another thread waits for it.
    stop: Mutex<Option<Sender<Infallible>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    id: Option<ThreadId>,
    /// The process that has the thread: one that is forked from it hasn't.
    pub(super) owner: OwnerProcess,
}

/// Tells a thread that it is to end.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use store_core::backend::BackgroundThread;
///
/// let thread = BackgroundThread::start("ticker", |stop| {
///     while !stop.wait_timeout(Duration::from_secs(60)) {}
/// })?;
/// thread.stop();
/// # Ok::<(), store_core::Error>(())
/// ```
#[derive(Debug)]
pub struct StopSignal(pub(crate) Receiver<Infallible>);

impl BackgroundThread {
    /// A handle without a thread.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::BackgroundThread;
    ///
    /// assert!(!BackgroundThread::inactive().is_running());
    /// ```
    #[must_use]
    pub fn inactive() -> Self {
        Self {
            stop: Mutex::new(None),
            thread: Mutex::new(None),
            id: None,
            owner: OwnerProcess::current(),
        }
    }

    /// Starts a thread, which returns soon after the signal. Linux shows at most 15 bytes of its
    /// name.
    ///
    /// # Errors
    /// [`Error::SpawnThread`] if the operating system refuses a thread.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_core::backend::BackgroundThread;
    ///
    /// let thread = BackgroundThread::start("ticker", |stop| {
    ///     while !stop.wait_timeout(Duration::from_secs(60)) {}
    /// })?;
    /// assert!(thread.is_running());
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn start(name: &str, run: impl FnOnce(StopSignal) + Send + 'static) -> Result<Self, Error> {
        let (stop, stopped) = rendezvous();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(StopSignal(stopped)))
            .map_err(|error| Error::SpawnThread { source: error.into() })?;
        let id = Some(thread.thread().id());
        Ok(Self {
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
            id,
            owner: OwnerProcess::current(),
        })
    }

    /// Ends the thread and returns once it has ended.
    ///
    /// It returns at once where there is no thread, may be called any number of times and from many
    /// threads at once, each of which returns when the thread has ended. Called on the
    /// thread itself, by the application's hook, it returns at once and the thread ends after
    /// the hook. In a process that was forked since the thread was started, there is no thread.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_core::backend::BackgroundThread;
    ///
    /// let thread = BackgroundThread::start("ticker", |stop| {
    ///     while !stop.wait_timeout(Duration::from_secs(60)) {}
    /// })?;
    /// thread.stop();
    /// thread.stop(); // harmless
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn stop(&self) {
        self.request_stop();
        if self.is_current() || self.owner.is_forked() {
            return;
        }
        // Held while joining, so that every caller waits for the end, not only the first.
        let mut thread = lock(&self.thread);
        if let Some(thread) = thread.take() {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                log::error!("the thread {name} ended by a panic");
            }
        }
    }

    /// Asks the thread to end, and doesn't wait for it.
    ///
    /// If a store has several threads, a hook on one of them mustn't wait for another, whose hook
    /// may do the same.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_core::backend::BackgroundThread;
    ///
    /// let thread = BackgroundThread::start("ticker", |stop| {
    ///     while !stop.wait_timeout(Duration::from_secs(60)) {}
    /// })?;
    /// thread.request_stop();
    /// assert!(!thread.is_running());
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn request_stop(&self) {
        // After a fork a lock may stay locked forever, by a thread that the process doesn't have.
        if !self.owner.is_forked() {
            drop(lock(&self.stop).take());
        }
    }

    /// Returns whether this is called on the thread itself.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_core::backend::BackgroundThread;
    ///
    /// let thread = BackgroundThread::start("ticker", |stop| {
    ///     while !stop.wait_timeout(Duration::from_secs(60)) {}
    /// })?;
    /// assert!(!thread.is_current());
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.id == Some(thread::current().id())
    }

    /// Returns whether there is a thread that hasn't been asked to end.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_core::backend::BackgroundThread;
    ///
    /// let thread = BackgroundThread::start("ticker", |stop| {
    ///     while !stop.wait_timeout(Duration::from_secs(60)) {}
    /// })?;
    /// assert!(thread.is_running());
    /// thread.stop();
    /// assert!(!thread.is_running());
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.owner.is_forked() && lock(&self.stop).is_some()
    }
}

impl StopSignal {
    /// Waits for the signal for at most `time`; returns whether the thread is to end.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_core::backend::BackgroundThread;
    ///
    /// let thread = BackgroundThread::start("ticker", |stop| {
    ///     // Once a minute, until the handle is dropped.
    ///     while !stop.wait_timeout(Duration::from_secs(60)) {
    ///         println!("tick");
    ///     }
    /// })?;
    /// # drop(thread);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn wait_timeout(&self, time: Duration) -> bool {
        match self.0.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
            Ok(never) => match never {},
        }
    }
}

impl Drop for BackgroundThread {
    fn drop(&mut self) {
        if self.owner.is_forked() {
            // Even to drop the sender takes a lock, which the parent's thread may have held.
            mem::forget(self.stop.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        } else {
            self.stop();
        }
    }
}

impl fmt::Debug for BackgroundThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundThread")
            .field("is_running", &self.is_running())
            .finish_non_exhaustive()
    }
}

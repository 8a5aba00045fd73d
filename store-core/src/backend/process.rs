//! The process that made a store, and what other processes do with it.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// The process that made a store, or a part of one.
///
/// A fork, as of a program that becomes a daemon, copies a store into a process that has neither
/// its threads nor those that held its locks at the time, and that shares files and connections
/// with the original. The only thing to do with the copy is nothing: each operation asks
/// [`check`](Self::check) before it takes a lock, and what [`is_forked`](Self::is_forked) is leaked
/// instead of dropped.
///
/// # Examples
/// ```
/// use store_core::Error;
/// use store_core::backend::OwnerProcess;
///
/// struct Store {
///     owner: OwnerProcess,
/// }
///
/// impl Store {
///     fn find(&self) -> Result<(), Error> {
///         self.owner.check()?;
///         // Here it may take locks, and a connection.
///         Ok(())
///     }
/// }
///
/// let store = Store { owner: OwnerProcess::current() };
/// assert!(store.find().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerProcess {
    id: u32,
}

impl OwnerProcess {
    /// Returns the process that calls this.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::OwnerProcess;
    ///
    /// assert_eq!(OwnerProcess::current(), OwnerProcess::current());
    /// ```
    #[must_use]
    pub fn current() -> Self {
        Self { id: process::id() }
    }

    /// Returns whether the process that calls this is another one, which was forked since.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::OwnerProcess;
    ///
    /// assert!(!OwnerProcess::current().is_forked());
    /// ```
    #[must_use]
    pub fn is_forked(self) -> bool {
        self != Self::current()
    }

    /// Fails in a process that was forked since.
    ///
    /// # Errors
    /// [`Error::Forked`].
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::OwnerProcess;
    ///
    /// OwnerProcess::current().check()?;
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn check(self) -> Result<(), Error> {
        if self.is_forked() { Err(Error::Forked) } else { Ok(()) }
    }
}

/// An open store, as long as it lives: a process that is forked in the meantime can't open any.
///
/// Such a process has no thread but one, but the libraries under a store don't know that. SQLite
/// takes the parent's locks on a file for its own, so that a session which the child commits can
/// be lost; and the locks of a pool, `parking_lot`'s, have lists of waiting threads, which are the
/// parent's and lead to memory that the child's new threads use. Both were seen.
///
/// # Examples
/// ```
/// use store_core::Error;
/// use store_core::backend::OpenStore;
///
/// struct Store {
///     pool: Vec<String>,
///     // Dropped after the pool.
///     _open: OpenStore,
/// }
///
/// fn open() -> Result<Store, Error> {
///     let open = OpenStore::new()?;
///     Ok(Store { pool: vec!["a connection".to_owned()], _open: open })
/// }
/// assert_eq!(open()?.pool.len(), 1);
/// # Ok::<(), store_core::Error>(())
/// ```
#[derive(Debug)]
pub struct OpenStore {
    owner: OwnerProcess,
}

/// The process that has opened stores, and how many are open. Not a lock, which could be held at
/// the moment of a fork.
static OPEN: AtomicU64 = AtomicU64::new(0);

fn pack(owner: OwnerProcess, stores: u32) -> u64 {
    u64::from(owner.id) << 32 | u64::from(stores)
}

fn unpack(state: u64) -> (OwnerProcess, u32) {
    let half = |shift: u32| u32::try_from(state >> shift & u64::from(u32::MAX)).unwrap_or_default();
    (OwnerProcess { id: half(32) }, half(0))
}

impl OpenStore {
    /// Counts a store, before it opens anything.
    ///
    /// # Errors
    /// [`Error::Forked`] if the process was forked from one that had a store open.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::OpenStore;
    ///
    /// let open = OpenStore::new()?;
    /// drop(open);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn new() -> Result<Self, Error> {
        let this = OwnerProcess::current();
        let counted =
            OPEN.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| match unpack(state) {
                (_, 0) => Some(pack(this, 1)),
                (owner, stores) if owner == this => Some(pack(this, stores + 1)),
                _ => None,
            });
        counted.map_or(Err(Error::Forked), |_| Ok(Self { owner: this }))
    }

    /// Returns the process that has the store.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::{OpenStore, OwnerProcess};
    ///
    /// assert_eq!(OpenStore::new()?.owner(), OwnerProcess::current());
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn owner(&self) -> OwnerProcess {
        self.owner
    }
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        // The copy in a process that was forked since stays, and keeps others from opening.
        if !self.owner.is_forked() {
            OPEN.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

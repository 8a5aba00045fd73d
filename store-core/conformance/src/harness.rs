//! How the kit gets at the store under test.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

use store_core::{CleanupOptions, Limits, Store};
use tempfile::TempDir;

/// How the kit gets at the store under test.
///
/// Each test makes a harness of its own, so a new harness stands for a new, empty database.
///
/// The kit needs memory for a few times the largest data that the store takes, and is the only
/// logger of its test binary, because it looks for secrets in the log.
pub trait Harness: 'static {
    /// The store under test.
    type Store: Store + fmt::Debug + 'static;

    /// Opens a store with this cleanup on the harness's database.
    fn store(&self, cleanup: CleanupOptions) -> Self::Store;

    /// The limits that the store states.
    fn limits(&self) -> Limits;

    /// How long to wait before what doesn't return counts as hanging. Nothing is timed but that.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// A [`Harness`] whose database outlives the process that writes it.
pub trait DurableHarness: Harness + Sized {
    /// Where the database is: a path or an address.
    fn location(&self) -> String;

    /// A harness on the database of another process, which is not emptied and not removed on drop.
    fn attach(location: &str) -> Self;
}

/// How a store opens a file, from which [`TempFile`] makes a harness.
///
/// # Examples
/// ```
/// use std::path::Path;
/// use store_conformance::{FileStore, Harness, TempFile};
/// use store_core::{CleanupOptions, MemoryOptions, MemoryStore};
///
/// /// Stands for a store on a file.
/// struct Opened;
///
/// impl FileStore for Opened {
///     type Store = MemoryStore;
///
///     fn open(_path: &Path, cleanup: CleanupOptions) -> MemoryStore {
///         MemoryOptions::new().with_cleanup(cleanup).build().expect("a thread starts")
///     }
/// }
///
/// let harness = TempFile::<Opened>::new();
/// let store = harness.store(CleanupOptions::disabled());
/// # drop(store);
/// ```
pub trait FileStore: 'static {
    /// The store under test.
    type Store: Store + fmt::Debug + 'static;

    /// The limits that the store states.
    const LIMITS: Limits = Limits::DEFAULT;

    /// Opens the store in the file, which doesn't exist yet the first time.
    fn open(path: &Path, cleanup: CleanupOptions) -> Self::Store;
}

/// The [`Harness`] of a store in a file: each is a file of its own, which is removed on drop.
pub struct TempFile<F> {
    path: PathBuf,
    /// None for the file of another process.
    _directory: Option<TempDir>,
    store: PhantomData<fn() -> F>,
}

impl<F: FileStore> TempFile<F> {
    /// A path for a new file.
    ///
    /// # Panics
    /// If no temporary directory can be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another file")]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        Self {
            path: directory.path().join("sessions"),
            _directory: Some(directory),
            store: PhantomData,
        }
    }
}

impl<F: FileStore> Harness for TempFile<F> {
    type Store = F::Store;

    fn store(&self, cleanup: CleanupOptions) -> F::Store {
        F::open(&self.path, cleanup)
    }

    fn limits(&self) -> Limits {
        F::LIMITS
    }
}

impl<F: FileStore> DurableHarness for TempFile<F> {
    fn location(&self) -> String {
        self.path.to_str().expect("temporary paths are UTF-8").to_owned()
    }

    fn attach(location: &str) -> Self {
        Self { path: location.into(), _directory: None, store: PhantomData }
    }
}

impl<F> fmt::Debug for TempFile<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TempFile").field("path", &self.path).finish_non_exhaustive()
    }
}

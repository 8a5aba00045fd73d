//! A file of redb that remembers whether writes may be missing on the disk.

use std::fmt::Debug;
use std::io::{Error as IoError, ErrorKind};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{BackendError, StorageBackend};

use super::named_file::NamedFile;

/// Whether the system's cache of a file and the disk may differ, although no later sync will tell.
///
/// That is so after a failed sync: the system forgets that what it couldn't write has to be
/// written, and goes on reading it from its cache. The next sync succeeds, and the disk never gets
/// it.
#[derive(Clone, Debug, Default)]
pub(super) struct SyncFailure(Arc<AtomicBool>);

impl SyncFailure {
    pub(super) fn has_happened(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// The file was replaced by one that was never affected.
    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }

    fn record(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A file of redb that records failed syncs, and isn't written to if another has taken its place.
#[derive(Debug)]
pub(super) struct Watched<F> {
    file: F,
    failure: SyncFailure,
    named: NamedFile,
}

impl<F> Watched<F> {
    pub(super) fn new(file: F, failure: SyncFailure, named: NamedFile) -> Self {
        Self { file, failure, named }
    }

    /// A write that was refused for want of space was never in the cache. Of any other failure it
    /// is unknown what it left there, so it counts as a failed sync.
    fn watch_write(&self, outcome: Result<(), IoError>) -> Result<(), IoError> {
        outcome.inspect_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {}
            _ => self.failure.record(),
        })
    }
}

impl<F: StorageBackend> StorageBackend for Watched<F> {
    fn len(&self) -> Result<u64, IoError> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.named.check()?;
        self.watch_write(self.file.set_len(len))
    }

    fn sync_data(&self) -> Result<(), IoError> {
        self.file.sync_data().inspect_err(|_| {
            self.failure.record();
            // The system may go back to what is on the disk.
            self.named.forget_content();
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), IoError> {
        self.named.write(offset, data, || self.watch_write(self.file.write(offset, data)))
    }

    fn close(&self) -> Result<(), IoError> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

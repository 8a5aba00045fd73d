//! A disk in memory that fails as it is told.

use std::io::{Error as IoError, ErrorKind};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Builder, Database, StorageBackend};
use store_core::Error;

use crate::store::error::{catch_panic_in_open, from_database};
use crate::store::named_file::NamedFile;
use crate::store::replacement::{replace, was_closed};
use crate::store::watched::{SyncFailure, Watched};

/// A disk in memory that fails as it is told, and remembers what was synced. It has one file, which
/// can be replaced by another.
#[derive(Debug, Default)]
pub(super) struct Disk {
    content: Mutex<Content>,
    /// How many writes succeed before all fail, until the disk is repaired.
    writes_left: Mutex<Option<u64>>,
    /// Whether only syncs fail, and writes succeed.
    pub(super) only_syncs_fail: AtomicBool,
    /// How often a sync was asked for.
    pub(super) syncs: AtomicU64,
    /// The length at which it is full.
    pub(super) capacity: AtomicU64,
    failed_sync: FailedSync,
}

/// What becomes of writes whose sync fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FailedSync {
    /// The next sync writes them.
    #[default]
    Retried,
    /// They can be read as long as the system runs, but most never reach the disk. Linux does this.
    Cached,
    /// Most are gone at once: what was there before is read again.
    Dropped,
}

impl FailedSync {
    pub(super) const ALL: [Self; 3] = [Self::Retried, Self::Cached, Self::Dropped];
}

#[derive(Debug, Default)]
struct Content {
    files: Vec<DiskFile>,
    /// The index of the file that has the name, and of the one that has it on the disk.
    named: usize,
    synced_name: usize,
}

#[derive(Debug, Default)]
struct DiskFile {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// The numbers of the sectors that were written since the last sync.
    unsynced: Vec<usize>,
    is_locked: bool,
}

/// What a loss of power leaves written or not, as a whole.
const SECTOR: usize = 512;

impl DiskFile {
    fn with(bytes: Vec<u8>) -> Self {
        Self { now: bytes.clone(), synced: bytes, ..Self::default() }
    }

    fn place(&self, sector: usize) -> Range<usize> {
        sector * SECTOR..((sector + 1) * SECTOR).min(self.now.len())
    }

    fn sync(&mut self) {
        self.synced.resize(self.now.len(), 0);
        for sector in std::mem::take(&mut self.unsynced) {
            let place = self.place(sector);
            if place.start < place.end {
                self.synced[place.clone()].copy_from_slice(&self.now[place]);
            }
        }
    }

    /// Every fourth sector is written anyway.
    fn fail_to_sync(&mut self, failed_sync: FailedSync) {
        if failed_sync == FailedSync::Retried {
            return;
        }
        for sector in std::mem::take(&mut self.unsynced) {
            let place = self.place(sector);
            if place.start >= place.end {
                continue;
            }
            let mut old = vec![0; place.len()];
            let on_disk = self.synced.get(place.start..).unwrap_or_default();
            let count = on_disk.len().min(old.len());
            old[..count].copy_from_slice(&on_disk[..count]);
            if sector % 4 == 3 && place.end <= self.synced.len() {
                self.synced[place.clone()].copy_from_slice(&self.now[place]);
            } else if failed_sync == FailedSync::Dropped {
                self.now[place].copy_from_slice(&old);
            }
        }
    }
}

impl Disk {
    pub(super) fn new() -> Arc<Self> {
        Self::with(Vec::new())
    }

    pub(super) fn with_failed_sync(failed_sync: FailedSync) -> Arc<Self> {
        Arc::new(Self { failed_sync, ..Self::holding(Vec::new()) })
    }

    pub(super) fn with(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self::holding(bytes))
    }

    fn holding(bytes: Vec<u8>) -> Self {
        let files = vec![DiskFile::with(bytes)];
        let content = Mutex::new(Content { files, ..Content::default() });
        Self { content, capacity: AtomicU64::new(u64::MAX), ..Self::default() }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of the file that has the name.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let content = self.content();
        content.files[content.named].now.clone()
    }

    pub(super) fn fail_after(&self, writes: Option<u64>) {
        *self.writes_left.lock().expect("nobody panics with it") = writes;
    }

    fn fail_or(&self) -> Result<(), IoError> {
        let mut left = self.writes_left.lock().expect("nobody panics with it");
        match &mut *left {
            Some(0) => Err(IoError::from(ErrorKind::StorageFull)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn fail_write_or(&self) -> Result<(), IoError> {
        if self.only_syncs_fail.load(Ordering::Relaxed) { Ok(()) } else { self.fail_or() }
    }

    /// A disk as a loss of power leaves this one: of what wasn't synced, each sector is there or
    /// not.
    pub(super) fn after_power_loss(&self, random: &mut impl FnMut() -> u64) -> Arc<Self> {
        let content = self.content();
        let is_renamed = random().is_multiple_of(2);
        let file = &content.files[if is_renamed { content.named } else { content.synced_name }];
        let mut bytes = file.synced.clone();
        if random().is_multiple_of(2) {
            bytes.resize(file.now.len(), 0);
        }
        for &sector in &file.unsynced {
            let place = file.place(sector);
            if random().is_multiple_of(2) && place.end <= bytes.len() && place.start < place.end {
                bytes[place.clone()].copy_from_slice(&file.now[place]);
            }
        }
        Self::with(bytes)
    }

    /// As after the end of a process: nothing is locked, and the system goes on.
    pub(super) fn after_kill(&self) {
        for file in &mut self.content().files {
            file.is_locked = false;
        }
    }

    /// The disk after a proper shutdown of the system: all is written that is known to be missing.
    pub(super) fn after_shutdown(&self) -> Arc<Self> {
        let mut content = self.content();
        let named = content.named;
        content.files[named].sync();
        Self::with(content.files[named].synced.clone())
    }
}

/// An open file of a disk.
#[derive(Debug)]
struct Handle {
    disk: Arc<Disk>,
    file: usize,
}

impl Handle {
    fn with_file<T>(&self, use_it: impl FnOnce(&mut DiskFile) -> T) -> T {
        use_it(&mut self.disk.content().files[self.file])
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> Result<u64, IoError> {
        Ok(self.with_file(|file| file.now.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let start = usize::try_from(offset).expect("disks of tests are small");
        self.with_file(|file| {
            let part = file.now.get(start..start + out.len());
            out.copy_from_slice(part.ok_or_else(|| IoError::from(ErrorKind::UnexpectedEof))?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.disk.fail_write_or()?;
        if len > self.disk.capacity.load(Ordering::Relaxed) {
            return Err(IoError::from(ErrorKind::StorageFull));
        }
        self.with_file(|file| file.now.resize(usize::try_from(len).expect("small"), 0));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), IoError> {
        self.disk.syncs.fetch_add(1, Ordering::Relaxed);
        let outcome = self.disk.fail_or();
        self.with_file(|file| match &outcome {
            Ok(()) => file.sync(),
            Err(_) => file.fail_to_sync(self.disk.failed_sync),
        });
        outcome
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), IoError> {
        self.disk.fail_write_or()?;
        let start = usize::try_from(offset).expect("small");
        let end = start + data.len();
        self.with_file(|file| {
            if file.now.len() < end {
                return Err(IoError::from(ErrorKind::StorageFull));
            }
            file.now[start..end].copy_from_slice(data);
            file.unsynced.extend(start / SECTOR..end.div_ceil(SECTOR));
            Ok(())
        })
    }

    fn close(&self) -> Result<(), IoError> {
        self.with_file(|file| file.is_locked = false);
        Ok(())
    }
}

/// When a disk's database is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    First,
    AfterAnError,
}

/// Opens the database on a disk, and replaces its file if the store would.
pub(super) fn open_disk(
    disk: &Arc<Disk>,
    opening: Opening,
    failure: &SyncFailure,
    builder: &Builder,
) -> Result<Database, Error> {
    let open =
        |file| catch_panic_in_open(|| builder.create_with_backend(file).map_err(from_database));
    let handle = |file| Handle { disk: Arc::clone(disk), file };
    let watched = |file| Watched::new(handle(file), failure.clone(), NamedFile::default());
    let (old, is_replaced) = {
        let mut content = disk.content();
        let old = content.named;
        let file = &mut content.files[old];
        assert!(!std::mem::replace(&mut file.is_locked, true), "the database was closed before");
        let is_replaced = match opening {
            Opening::First => !file.now.is_empty() && !was_closed(&file.now),
            Opening::AfterAnError => failure.has_happened(),
        };
        (old, is_replaced)
    };
    if !is_replaced {
        return open(watched(old));
    }
    let new = {
        let mut content = disk.content();
        content.files.push(DiskFile { is_locked: true, ..DiskFile::default() });
        content.files.len() - 1
    };
    let publish = || {
        disk.fail_write_or()?;
        disk.content().named = new;
        disk.fail_or()?;
        disk.content().synced_name = new;
        Ok(())
    };
    let replaced = catch_panic_in_open(|| replace(&handle(old), watched(new), open, publish));
    disk.content().files[old].is_locked = false;
    replaced.inspect(|_| failure.clear())
}

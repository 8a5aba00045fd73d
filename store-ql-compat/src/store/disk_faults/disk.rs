//! A disk in memory that fails as it is told.

use std::io::{Error as IoError, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Builder, Database, StorageBackend};
use store_core::Error;

use crate::store::error::{catch_panic_in_open, from_redb};

/// A disk in memory that fails as it is told, and remembers what was synced.
#[derive(Debug, Default)]
pub(super) struct Disk {
    content: Mutex<Content>,
    /// How many writes succeed before all fail, until the disk is repaired.
    writes_left: Mutex<Option<u64>>,
    /// The length at which it is full.
    pub(super) capacity: AtomicU64,
    is_locked: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) now: Vec<u8>,
    synced: Vec<u8>,
    /// The numbers of the sectors that were written since the last sync.
    unsynced: Vec<usize>,
}

/// What a loss of power leaves written or not, as a whole.
const SECTOR: usize = 512;

impl Disk {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { capacity: AtomicU64::new(u64::MAX), ..Self::default() })
    }

    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// A disk as a loss of power leaves this one: of what wasn't synced, each sector is there or
    /// not.
    pub(super) fn after_power_loss(&self, random: &mut impl FnMut() -> u64) -> Arc<Self> {
        let content = self.content();
        let mut bytes = content.synced.clone();
        if random().is_multiple_of(2) {
            bytes.resize(content.now.len(), 0);
        }
        for &sector in &content.unsynced {
            let place = sector * SECTOR..((sector + 1) * SECTOR).min(content.now.len());
            if random().is_multiple_of(2) && place.end <= bytes.len() && place.start < place.end {
                bytes[place.clone()].copy_from_slice(&content.now[place]);
            }
        }
        Self::with(bytes)
    }

    pub(super) fn with(bytes: Vec<u8>) -> Arc<Self> {
        let disk = Self::new();
        *disk.content() = Content { now: bytes.clone(), synced: bytes, unsynced: Vec::new() };
        disk
    }
}

#[derive(Debug)]
struct Handle(Arc<Disk>);

impl StorageBackend for Handle {
    fn len(&self) -> Result<u64, IoError> {
        Ok(self.0.content().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let start = usize::try_from(offset).expect("disks of tests are small");
        let content = self.0.content();
        let part = content.now.get(start..start + out.len());
        out.copy_from_slice(part.ok_or_else(|| IoError::from(ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.0.fail_or()?;
        if len > self.0.capacity.load(Ordering::Relaxed) {
            return Err(IoError::from(ErrorKind::StorageFull));
        }
        let mut content = self.0.content();
        content.now.resize(usize::try_from(len).expect("small"), 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), IoError> {
        self.0.fail_or()?;
        let mut content = self.0.content();
        content.synced = content.now.clone();
        content.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), IoError> {
        self.0.fail_or()?;
        let start = usize::try_from(offset).expect("small");
        let end = start + data.len();
        let mut content = self.0.content();
        if content.now.len() < end {
            return Err(IoError::from(ErrorKind::StorageFull));
        }
        content.now[start..end].copy_from_slice(data);
        content.unsynced.extend(start / SECTOR..end.div_ceil(SECTOR));
        Ok(())
    }

    fn close(&self) -> Result<(), IoError> {
        self.0.is_locked.store(false, Ordering::Release);
        Ok(())
    }
}

/// Opens the database on a disk.
pub(super) fn open_disk(disk: &Arc<Disk>, builder: &Builder) -> Result<Database, Error> {
    let was_locked = disk.is_locked.swap(true, Ordering::AcqRel);
    assert!(!was_locked, "the database was closed before");
    catch_panic_in_open(|| {
        let database = builder.create_with_backend(Handle(Arc::clone(disk)));
        database.map_err(|error| from_redb(error.into()))
    })
}

//! Replaces a database file by a copy of it.
//!
//! After a failed sync, what is read from a file may be missing on the disk for good. A copy
//! consists of new writes, which a sync makes durable or fails for. What it copies is what a loss
//! of power could have left: everything that was committed durably, and of what came later each
//! page or not. redb finds the last whole commit in it.

use std::io;

use redb::{Database, StorageBackend};
use store_core::Error;

use super::error::{from_database, from_io};

/// How much is copied at a time.
const CHUNK_LEN: usize = 64 * 1024;

/// In redb's header, the byte after the magic has flags. This one is set while a database is open.
const FLAGS_OFFSET: usize = 9;
const RECOVERY_REQUIRED: u8 = 2;

/// Whether a database was closed properly, according to the beginning of its file. The one that
/// had it open last may have been killed after a failed sync, so a file that wasn't closed is
/// replaced before it is used.
pub(super) fn was_closed(first_bytes: &[u8]) -> bool {
    first_bytes.get(FLAGS_OFFSET).is_some_and(|flags| flags & RECOVERY_REQUIRED == 0)
}

/// Copies a database, opens the copy, and publishes it in the old one's place. Nothing writes to
/// the old one while this runs.
///
/// If anything fails, all of it has to be repeated, whatever was done: of a file whose sync has
/// failed nothing is known, and neither is of a directory.
pub(super) fn replace<F: StorageBackend>(
    old: &impl StorageBackend,
    new: F,
    open: impl FnOnce(F) -> Result<Database, Error>,
    publish: impl FnOnce() -> io::Result<()>,
) -> Result<Database, Error> {
    copy(old, &new).map_err(from_io)?;
    let mut database = open(new)?;
    // The old file is about to be gone. redb verifies checksums as it opens a file, but not of
    // every file.
    database.check_integrity().map_err(from_database)?;
    publish().map_err(from_io)?;
    Ok(database)
}

/// Copies a file and syncs the copy. Holes stay holes.
fn copy(old: &impl StorageBackend, new: &impl StorageBackend) -> io::Result<()> {
    let len = old.len()?;
    new.set_len(len)?;
    let mut buffer = vec![0; CHUNK_LEN];
    let mut offset = 0;
    while offset < len {
        let count = usize::try_from(len - offset).map_or(CHUNK_LEN, |rest| rest.min(CHUNK_LEN));
        let chunk = &mut buffer[..count];
        old.read(offset, chunk)?;
        if chunk.iter().any(|byte| *byte != 0) {
            new.write(offset, chunk)?;
        }
        offset += count as u64;
    }
    new.sync_data()
}
